/*
 * The words of a plan: each verdict and each finding as one line for a person, and the sums under them. Pure text;
 * colours, JSON and where it goes are plan.ts's.
 */
import type { Job } from '../job/job.js';
import type { Removal, SideName, Verdict } from '../plan/action.js';
import type { LocalPiece, RemotePiece } from '../plan/entry.js';
import { fingerprintOf, leadsToOf } from '../plan/judge.js';
import { conflictName } from '../plan/names.js';
import { TRASH } from '../plan/trash.js';
import { formatBytes } from '../report/summary.js';
import type { Finding } from '../run/sights.js';

/** What would become of a path. */
export type Word =
  | 'upload'
  | 'download'
  | 'delete'
  | 'trash'
  | 'keep-both'
  | 'move'
  | 'mkdir'
  | 'examine'
  | 'compare'
  | 'forget'
  | 'skip'
  | 'wait'
  | 'ignore'
  | 'unread'
  | 'blocked';

/** One line of a plan. */
export interface PlannedLine {
  readonly action: Word;
  readonly path: string;
  /** Size of what would be moved or deleted. */
  readonly bytes?: number | undefined;
  readonly why: string;
  /** The side that would be changed. */
  readonly side?: SideName | undefined;
  /** Where it stands on that side, where that is another path than its own. */
  readonly at?: string | undefined;
}

/** What the words hang on besides the verdict. */
export type Terms = Pick<Job, 'mode' | 'direction'> & { readonly deletes: Pick<Job['deletes'], 'policy'> };

/** The line of a verdict; undefined where there is nothing to do about the path, or a finding tells of it. */
export function lineOf(verdict: Verdict, terms: Terms): PlannedLine | undefined {
  const { path } = verdict;
  switch (verdict.kind) {
    case 'upload':
    case 'download':
      return transferLine(verdict);
    case 'remove':
      return removalLine(verdict, terms);
    case 'make-directory': {
      const { side } = verdict;
      const why = `${on(side)}${laterOf(verdict)}`;
      return { action: 'mkdir', path, why, side, at: otherPath(path, verdict[PLACES[side]]) };
    }
    case 'set-aside': {
      const { side, local, remote } = verdict;
      const at = verdict[PLACES[side]];
      const bytes = sizeOf(local) + sizeOf(remote);
      const name = conflictName(at, 0).replace(/\.conflict-\d{8}-\d{6}/, '.conflict-<date>-<time>');
      const why = `changed on both sides; the one ${on(side)} is kept as ${name}, ${formatBytes(bytes)} both`;
      return { action: 'keep-both', path, bytes, why, side, at: otherPath(path, at) };
    }
    case 'finish': {
      const { side } = verdict;
      const why = `delivered before; the source goes, ${on(side)}`;
      return { action: 'move', path, why, side, at: otherPath(path, verdict[PLACES[side]]) };
    }
    case 'examine':
      return { action: 'examine', path, why: examineWords(verdict) };
    case 'meet': {
      const why =
        verdict.proof === 'compared'
          ? 'both have it; their content decides'
          : leadsToOf(verdict.local) !== undefined
            ? 'both have this link; it is only remembered'
            : 'both have it, of the same size and time; it is only remembered';
      return { action: 'compare', path, why };
    }
    case 'remembered': {
      const { code, text } = verdict.skip;
      const told = text === '' || text === code ? code : `${code}: ${text}`;
      return {
        action: 'skip',
        path,
        why: `refused before (${told}), and neither it nor the settings have changed`,
      };
    }
    case 'forget':
      return { action: 'forget', path, why: 'gone on both sides' };
    case 'blocked': {
      // The others are told as findings, with what to do about them.
      if (verdict.why !== 'unreadable') return undefined;
      const why = `what stands in its place ${on(verdict.side)} cannot be seen`;
      return { action: 'blocked', path, why };
    }
    case 'unchanged':
    case 'left-out':
    case 'kept':
    case 'spared':
      return undefined;
  }
}

/** The line of a finding, whose own sentence says what to do. */
export function lineOfFinding(finding: Finding): PlannedLine {
  const { path, message } = finding;
  const blocked = finding.kind === 'unfit' && BLOCKED.has(finding.code);
  const action = blocked ? 'blocked' : FINDINGS[finding.kind];
  return { action, path: path === '' ? '.' : path, why: message };
}

const FINDINGS = { ignored: 'ignore', waiting: 'wait', unreadable: 'unread', unfit: 'skip' } as const;

/** Codes of findings about what stands in a file's place. */
const BLOCKED: ReadonlySet<string> = new Set(['local-differs', 'special-file']);

/** Under which name a verdict has the place on a side. */
const PLACES = { local: 'here', remote: 'there' } as const;

function transferLine(verdict: Extract<Verdict, { kind: 'upload' | 'download' }>): PlannedLine {
  const { path, reason, kind } = verdict;
  const side = kind === 'upload' ? 'remote' : 'local';
  const bytes = sizeOf(verdict.file);
  const at = otherPath(path, verdict[PLACES[side]]);
  const words = {
    new: 'new',
    changed: 'changed',
    differs: side === 'remote' ? 'the server holds something else' : 'something else stands here',
    missing: `missing ${on(side)}`,
    conflict: `changed on both sides; the one ${on(side === 'remote' ? 'local' : 'remote')} wins`,
    'tried-again': 'refused before, tried again',
  } as const;
  const place = at === undefined ? '' : `, as ${at}`;
  const why = `${words[reason]}, ${whatOf(bytes, leadsToOf(verdict.file))}${place}${laterOf(verdict)}`;
  return { action: kind, path, bytes, why, side, at };
}

/** A link's size says nothing; where it leads does. */
function whatOf(bytes: number, leadsTo: string | undefined): string {
  return leadsTo === undefined ? formatBytes(bytes) : `a link to ${leadsTo}`;
}

function sizeOf(piece: LocalPiece | RemotePiece): number {
  return fingerprintOf(piece).sizeBytes;
}

function laterOf({ after }: { readonly after?: 'deletions' | undefined }): string {
  return after === 'deletions' ? '; first what is in its place is deleted' : '';
}

function removalLine(removal: Removal, { mode, deletes }: Terms): PlannedLine {
  const { path, side, at, sizeBytes, leadsTo } = removal;
  const why = `${on(side)}: ${removalWords(removal, mode)}`;
  const there = otherPath(path, at);
  const place = there === undefined ? '' : `, ${there}`;
  // A directory goes only once it is empty, and an empty one is worth no place in the trash.
  if (path.endsWith('/')) return { action: 'delete', path, why: `${why}${place}`, side, at: there };
  const told = `${why}, ${whatOf(sizeBytes, leadsTo)}${place}`;
  const line = { path, bytes: sizeBytes, side, at: there };
  return deletes.policy === 'trash'
    ? { action: 'trash', ...line, why: `${told}, into ${TRASH}` }
    : { action: 'delete', ...line, why: told };
}

function removalWords({ known, side, baseline }: Removal, mode: Job['mode']): string {
  if (known === 'extraneous') {
    return baseline === undefined ? 'not in the source' : 'gone at the source, and changed since';
  }
  if (mode !== 'two-way') return 'gone at the source';
  return `gone ${on(side === 'local' ? 'remote' : 'local')}`;
}

function examineWords({ remote, baseline }: Extract<Verdict, { kind: 'examine' }>): string {
  if (remote !== undefined) return 'both have it; their content decides';
  // So it is in a baseline that was taken within the clock tick of a change.
  if (baseline.local.ctimeMs === 0) return 'written just before it was looked at last; its content decides';
  return 'touched; its content decides';
}

function on(side: SideName): string {
  return side === 'local' ? 'here' : 'on the server';
}

function otherPath(path: string, at: string): string | undefined {
  return at === path ? undefined : at;
}

interface Sum {
  files: number;
  bytes: number;
}

/** What the lines of a plan come to. */
export class Sums {
  readonly #terms: Terms;
  /** By word, and by side where the word alone does not say enough. */
  readonly #sums = new Map<string, Sum>();
  #unchanged = 0;
  #kept = 0;
  #replaced = 0;

  constructor(terms: Terms) {
    this.#terms = terms;
  }

  /** Counts what no line tells of a verdict. */
  count(verdict: Verdict): void {
    if (verdict.kind === 'unchanged' && !verdict.path.endsWith('/')) this.#unchanged += 1;
    if (verdict.kind === 'kept') this.#kept += 1;
    if (replaces(verdict)) this.#replaced += 1;
  }

  /** Counts a line. */
  add({ action, path, bytes = 0, side }: PlannedLine): void {
    const sum = this.#sum(keyOf(action, path, side));
    sum.files += 1;
    sum.bytes += bytes;
  }

  /** True where something would be deleted, be it into the trash. */
  get deletes(): boolean {
    return [...this.#sums.keys()].some((key) => /^(delete|trash) /.test(key));
  }

  /** The sums as one or two sentences. */
  get sentence(): string {
    const { mode, direction, deletes } = this.#terms;
    const verbs = new Set<string>(mode === 'two-way' ? [] : [direction === 'push' ? 'upload' : 'download']);
    const done = VERBS.flatMap(([key, words]) => {
      const sum = this.#sums.get(key) ?? { files: 0, bytes: 0 };
      return sum.files > 0 || verbs.has(key) ? [words(sum)] : [];
    });
    const rest = [
      `${this.#unchanged} unchanged`,
      ...RESTS.flatMap(([key, word]) => {
        const files = this.#sums.get(key)?.files ?? 0;
        return files > 0 ? [`${files} ${word}`] : [];
      }),
      ...(this.#kept > 0 ? [`${this.#kept} only at the target`] : []),
    ];
    const would = done.length === 0 ? 'change nothing' : done.join(', ');
    const more = [
      ...(deletes.policy === 'trash' && this.#replaced > 0 ? [` What is replaced goes into ${TRASH}.`] : []),
      ...(mode === 'move' && this.#moved > 0 ? [' Each source goes once its file has arrived.'] : []),
    ];
    return `A run would ${would}; ${rest.join(', ')}.${more.join('')}`;
  }

  /** The sums for a program: files and bytes by word, and what no line tells. */
  get json(): object {
    const words = new Map<string, Sum>();
    for (const [key, { files, bytes }] of this.#sums) {
      const word = key.split(' ')[0] ?? key;
      const before = words.get(word) ?? { files: 0, bytes: 0 };
      words.set(word, { files: before.files + files, bytes: before.bytes + bytes });
    }
    return { ...Object.fromEntries(words), unchanged: this.#unchanged, kept: this.#kept };
  }

  get #moved(): number {
    return (this.#sums.get('upload')?.files ?? 0) + (this.#sums.get('download')?.files ?? 0);
  }

  #sum(key: string): Sum {
    const found = this.#sums.get(key);
    if (found !== undefined) return found;
    const sum = { files: 0, bytes: 0 };
    this.#sums.set(key, sum);
    return sum;
  }
}

/** True where the other side has something that this would take the place of. */
function replaces(verdict: Verdict): boolean {
  if (verdict.kind !== 'upload' && verdict.kind !== 'download') return false;
  const { reason, baseline } = verdict;
  return reason === 'tried-again' ? baseline !== undefined : reason !== 'new' && reason !== 'missing';
}

function keyOf(action: Word, path: string, side: SideName | undefined): string {
  if (action === 'delete' && path.endsWith('/')) return 'delete directories';
  return action === 'delete' || action === 'trash' ? `${action} ${side ?? ''}` : action;
}

const VERBS: ReadonlyArray<readonly [string, (sum: Sum) => string]> = [
  ['upload', (sum) => `upload ${files(sum)} (${formatBytes(sum.bytes)})`],
  ['download', (sum) => `download ${files(sum)} (${formatBytes(sum.bytes)})`],
  ['keep-both', (sum) => `keep both versions of ${files(sum)} (${formatBytes(sum.bytes)})`],
  ['trash remote', (sum) => `move ${files(sum)} on the server into the trash (${formatBytes(sum.bytes)})`],
  ['trash local', (sum) => `move ${files(sum)} here into the trash (${formatBytes(sum.bytes)})`],
  ['delete remote', (sum) => `delete ${files(sum)} on the server (${formatBytes(sum.bytes)})`],
  ['delete local', (sum) => `delete ${files(sum)} here (${formatBytes(sum.bytes)})`],
  ['delete directories', ({ files }) => `delete ${files} ${files === 1 ? 'directory' : 'directories'}`],
  ['mkdir', ({ files }) => `make ${files} ${files === 1 ? 'directory' : 'directories'}`],
  ['move', (sum) => `remove the source of ${files(sum)} delivered before`],
  ['examine', (sum) => `look into ${files(sum)}`],
  ['compare', (sum) => `compare ${files(sum)}`],
];

const RESTS: ReadonlyArray<readonly [string, string]> = [
  ['skip', 'skipped'],
  ['blocked', 'blocked'],
  ['unread', 'unreadable'],
  ['wait', 'waiting'],
  ['ignore', 'ignored'],
  ['forget', 'forgotten'],
];

function files({ files }: Sum): string {
  return `${files} ${files === 1 ? 'file' : 'files'}`;
}
