/*
 * A whole run of the benchmark as the table of the README: a row for each case, with the seconds of everybody, how
 * ferryd stands to the fastest peer that delivers every byte, and whether that is what was asked for. Made of the
 * JSON; what a peer has lost stands below the table.
 */
import { type Achievement, shown } from './alone.js';
import type { Figures, Standing } from './table.js';

/** What the JSON holds. */
export interface Results {
  readonly machine: readonly string[];
  readonly standings: readonly Standing[];
  readonly alone: readonly Achievement[];
  /** Cases that could not be played. */
  readonly failures: readonly { readonly name: string; readonly sentence: string }[];
}

/** Markdown. */
export function summaryOf({ machine, standings, alone, failures }: Results): string {
  const others = [...new Set(standings.flatMap(({ figures }) => figures.map(({ name }) => name)))].filter(
    (name) => name !== 'ferryd',
  );
  const headings = ['case', 'ferryd', ...others, 'faster', 'at least', '', 'CPU', 'server', 'MiB'];
  const rows = standings.map((it) => {
    const ours = named(it, 'ferryd');
    return [
      it.case.name,
      time(ours),
      ...others.map((name) => (name === it.fastest ? `**${time(named(it, name))}**` : time(named(it, name)))),
      it.ratio?.toFixed(2) ?? '',
      it.case.target === undefined ? '' : String(it.case.target),
      it.verdict,
      ours?.cpuS.toFixed(1) ?? '',
      ours?.serverCpuS.toFixed(1) ?? '',
      ours?.peakMiB.toFixed(0) ?? '',
    ];
  });
  const feats = alone.map(({ name, what, figure, unit, limit, verdict, note }) => [
    name,
    note === '' ? what : `${what}. ${note}`,
    shown(figure, unit),
    shown(limit, unit),
    verdict,
  ]);
  return [
    `${machine.join('; ')}.`,
    ...(rows.length === 0 ? [] : ['', ...table(headings, rows)]),
    ...(feats.length === 0 ? [] : ['', ...table(['ferryd alone', '', 'is', 'at most', ''], feats)]),
    ...list(standings.flatMap(troublesOf)),
    ...list(failures.map(({ sentence }) => sentence)),
  ].join('\n');
}

function named({ figures }: Standing, name: string): Figures | undefined {
  return figures.find((figure) => figure.name === name);
}

function time(of: Figures | undefined): string {
  if (of === undefined || of.rounds === 0) return '';
  const seconds = of.wallS.toFixed(of.wallS < 10 ? 2 : 1);
  if (of.failed === 0) return seconds;
  return of.each.some(({ measured }) => measured.ended === 'timeout') ? `over ${seconds}` : 'fails';
}

/** Whoever was only slow needs no words. */
function troublesOf({ case: { name }, figures }: Standing): string[] {
  return figures
    .filter((of) => time(of) === 'fails')
    .map((of) => `${name}, ${of.name}: ${of.failed} of ${of.rounds} rounds, ${of.trouble}`);
}

function list(sentences: readonly string[]): string[] {
  return sentences.length === 0 ? [] : ['', ...sentences.map((sentence) => `- ${sentence}`)];
}

function table(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [headings, headings.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
}
