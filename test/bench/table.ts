/*
 * From measured rounds to figures for people: medians, who is fastest of those that delivered every byte, and how
 * ferryd stands to it. Pure; the JSON that is written beside the table is made of the same.
 */
import type { Case } from './cases.js';
import type { Measured } from './measure.js';

/** So many times as long as node's own sockets on the same bytes may ferryd take. */
const YARDSTICK_LIMIT = 1.3;

/** One run of one program. */
export interface Round {
  readonly measured: Measured;
  /** Why it does not count: what it lost, or how it ended. Undefined where every byte is where it belongs. */
  readonly trouble: string | undefined;
}

export interface Entry {
  readonly name: string;
  readonly role: 'ferryd' | 'peer' | 'yardstick';
  readonly rounds: readonly Round[];
}

export interface Figures {
  readonly name: string;
  readonly role: Entry['role'];
  /** Medians. */
  readonly wallS: number;
  readonly cpuS: number;
  readonly serverCpuS: number;
  readonly peakMiB: number;
  /** Fastest and slowest round. */
  readonly rangeS: readonly [number, number];
  /** In how many rounds of all something was lost or failed, and what in the first of them. */
  readonly failed: number;
  readonly rounds: number;
  readonly each: readonly Round[];
  readonly trouble: string | undefined;
  /** How many times as long as ferryd it took: above 1 ferryd is faster. */
  readonly toFerryd: number;
}

export interface Standing {
  readonly case: Case;
  readonly figures: readonly Figures[];
  /** The fastest peer that delivered every byte in every round. */
  readonly fastest: string | undefined;
  /** How many times as fast as that peer ferryd is. */
  readonly ratio: number | undefined;
  /** How many times as long as node's own sockets ferryd takes, where they take part. */
  readonly toYardstick: number | undefined;
  /** `shown`: nothing was asked for. `alone`: no peer delivers every byte. `failed`: ferryd itself did not. */
  readonly verdict: 'met' | 'behind' | 'shown' | 'alone' | 'failed';
}

/** The middle one; of an even number, the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + high) / 2 : high;
}

/** Who stands where in a case. */
export function standing(of: Case, entries: readonly Entry[]): Standing {
  const ours = entries.find(({ role }) => role === 'ferryd');
  const ferrydS = median((ours?.rounds ?? []).map(({ measured }) => measured.wallS));
  const figures = entries.map((entry) => figuresOf(entry, ferrydS));
  const peers = figures.filter(({ role, failed }) => role === 'peer' && failed === 0);
  const fastest = peers.reduce<Figures | undefined>(
    (best, peer) => (best === undefined || peer.wallS < best.wallS ? peer : best),
    undefined,
  );
  const ratio = fastest?.toFerryd;
  const isWhole = figures.some(({ role, failed }) => role === 'ferryd' && failed === 0);
  const yardstick = figures.find(({ role, failed }) => role === 'yardstick' && failed === 0);
  // The yardstick is for what is one file.
  const toYardstick = yardstick === undefined || of.bytes === 0 ? undefined : 1 / yardstick.toFerryd;
  const verdict = isWhole ? verdictOn(of, ratio, toYardstick) : 'failed';
  return { case: of, figures, fastest: fastest?.name, ratio, toYardstick, verdict };
}

function verdictOn(
  { target }: Case,
  ratio: number | undefined,
  toYardstick: number | undefined,
): Standing['verdict'] {
  if (ratio === undefined) return 'alone';
  if (target === undefined) return 'shown';
  return ratio >= target && (toYardstick ?? 0) <= YARDSTICK_LIMIT ? 'met' : 'behind';
}

function figuresOf({ name, role, rounds }: Entry, ferrydS: number): Figures {
  const walls = rounds.map(({ measured }) => measured.wallS);
  const wallS = median(walls);
  const troubles = rounds.flatMap(({ trouble }) => (trouble === undefined ? [] : [trouble]));
  return {
    name,
    role,
    wallS,
    cpuS: median(rounds.map(({ measured }) => measured.cpuS)),
    serverCpuS: median(rounds.map(({ measured }) => measured.serverCpuS)),
    peakMiB: median(rounds.map(({ measured }) => measured.peakMiB)),
    rangeS: [Math.min(...walls), Math.max(...walls)],
    failed: troubles.length,
    rounds: rounds.length,
    each: rounds,
    trouble: troubles[0],
    toFerryd: wallS / ferrydS,
  };
}

const HEADINGS = ['', 'seconds', 'range', 'CPU s', 'server CPU s', 'peak MiB', 'ferryd is', ''] as const;

/** The standing as lines of Markdown: a sentence, and a table. */
export function tableOf(it: Standing): string {
  const rows = it.figures.map((row) => [
    row.name,
    seconds(row.wallS),
    row.rangeS.map(seconds).join('-'),
    seconds(row.cpuS),
    seconds(row.serverCpuS),
    row.peakMiB.toFixed(0),
    row.role === 'ferryd' ? '' : `${row.toFerryd.toFixed(2)} x`,
    row.trouble === undefined ? '' : `${row.failed} of ${row.rounds}: ${row.trouble}`,
  ]);
  const lines = [HEADINGS, HEADINGS.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return [`### ${titleOf(it.case)}`, '', sentenceOf(it), '', ...lines, ''].join('\n');
}

/** One line on how ferryd stands. */
export function sentenceOf({ case: of, figures, fastest, ratio, toYardstick, verdict }: Standing): string {
  if (verdict === 'failed') return 'ferryd did not deliver.';
  if (ratio === undefined) return 'No peer delivers every byte.';
  const yardstick = figures.find(({ role }) => role === 'yardstick')?.name;
  const more =
    toYardstick === undefined
      ? ''
      : `, and takes ${toYardstick.toFixed(2)} times as long as ${yardstick}; at most ${YARDSTICK_LIMIT}`;
  const asked = of.target === undefined ? '' : `; at least ${of.target}`;
  return `ferryd is ${ratio.toFixed(2)} times as fast as ${fastest}${asked}${more}: ${verdict}.`;
}

function titleOf({ name, work, files, bytes, connections }: Case): string {
  const what =
    bytes > 0 ? `${(bytes / 1024 ** 2).toLocaleString('en')} MiB` : `${files.toLocaleString('en')} files`;
  const done = work === 'unchanged' ? ', nothing to do' : '';
  return `${name}: ${what}${done}${connections === undefined ? '' : `, ${connections} connections each`}`;
}

function seconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}
