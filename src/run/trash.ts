/*
 * The trash of one side, whichever it is: what is too old goes from it, and what is in it can be looked through, each
 * path with its versions. Nothing about it is kept in the ledger: the listing of `.ferryd-trash` is the truth. Never
 * leaves that directory, and never touches what no run can have put there. Who takes files back is restore.ts.
 */
import { promises as fs } from 'node:fs';
import { codeOf, LocalError, localSentence } from '../local/error.js';
import { textAt } from '../local/link.js';
import { diskOf } from '../local/mounts.js';
import { within } from '../local/place.js';
import { makeDirectory, moveFile, removeDirectory, removeFile } from '../local/tree.js';
import { liesAt } from '../local/walk.js';
import {
  comparePaths,
  isLink,
  type LinkEntry,
  type RelativePath,
  type RemoteFile,
  type RemotePiece,
} from '../plan/entry.js';
import { fingerprintOf } from '../plan/judge.js';
import { fromNote, fromTrash, stampMs, TRASH } from '../plan/trash.js';
import type { Failure } from '../remote/decision.js';
import { judge } from '../remote/failure.js';
import type { OperationOptions, Remote, RemoteDirectory } from '../remote/remote.js';
import { Crew } from './crew.js';
import { type Patience, patiently } from './patience.js';

/** A side as the trash sees it: a remote is one, and so is the local tree. */
export type TrashPlace = Pick<Remote, 'label' | 'list' | 'move' | 'remove' | 'removeDirectory'>;

/** A side that files are put back on. */
export type RestorePlace = TrashPlace &
  Pick<Remote, 'makeDirectory'> & {
    /** Whether two paths are names of one file; left out where no file has two names. */
    readonly areOne?: (one: RelativePath, other: RelativePath) => Promise<boolean>;
  };

/** Something in the trash that could not be dealt with. */
export interface TrashProblem {
  /** Below the root of the side. */
  readonly path: RelativePath;
  readonly code: string;
  /** A sentence for a person. */
  readonly message: string;
}

/** How many files are removed, and how many dates listed, at the same time. */
const AT_ONCE = 4;

/** Deeper than any tree of people. */
const DEEPEST = 500;

/** More sentences than these help nobody. */
const MOST_PROBLEMS = 50;

/** Wide enough that the workers never wait, and no directory is copied into the queue. */
const QUEUED = 64;

/** The local side. Links are links there, and never followed. `root` is its real path, from `openRoot`. */
export function localPlace(root: string): RestorePlace {
  return {
    label: root === '' ? '/' : root,
    list: (directory) => listLocal(root, directory),
    move: async (from, to) => {
      const there = await liesAt(root, from);
      const link = typeof there !== 'string' && isLink(there) ? there : undefined;
      const moved = await moveFile(root, from, to, link);
      if (moved !== 'changed') return moved;
      throw new LocalError('CHANGED', `${from} is no regular file any more, or changed while it was moved.`);
    },
    remove: async (path) => {
      const file = await liesAt(root, path);
      if (file === 'nothing') return;
      if (file === 'other' || (await removeFile(root, path, file)) === 'changed') {
        throw new LocalError('CHANGED', `${path} is not the file any more that was to be removed.`);
      }
    },
    makeDirectory: (directory) => makeDirectory(root, directory),
    removeDirectory: (directory) => removeDirectory(root, directory),
    areOne: async (one, other) => {
      const [a, b] = await Promise.all([one, other].map((path) => fs.lstat(`${root}/${path}`).catch(absent)));
      return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev;
    },
  };
}

async function listLocal(root: string, directory: RelativePath | ''): Promise<RemoteDirectory> {
  const files: RemoteFile[] = [];
  const directories: RelativePath[] = [];
  const links: LinkEntry[] = [];
  const others: RelativePath[] = [];
  let complete = true;
  try {
    await within(root, directory, async ({ at }) => {
      for (const entry of await fs.readdir(at, { withFileTypes: true })) {
        const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
        // Not valid UTF-8: by the name that Node gives, it cannot be found.
        if (entry.name.includes('\ufffd')) complete = false;
        else if (entry.isDirectory()) directories.push(path);
        else if (entry.isSymbolicLink()) {
          const leadsTo = await textAt(diskOf(root), `${at}/${entry.name}`);
          if (leadsTo !== undefined) links.push({ path, leadsTo });
        } else if (!entry.isFile()) others.push(path);
        else {
          const stats = await fs.lstat(`${at}/${entry.name}`).catch(absent);
          if (stats === undefined) continue;
          const { size, mtimeMs, mode } = stats;
          files.push({ path, sizeBytes: size, modifiedMs: mtimeMs, permissions: mode & 0o777 });
        }
      }
    });
  } catch (error) {
    if (error instanceof LocalError) throw error;
    throw new LocalError(codeOf(error), localSentence(codeOf(error), directory), error);
  }
  return { files, directories, links, others, complete, proven: complete };
}

function piecesOf({ files, links = [] }: RemoteDirectory): readonly RemotePiece[] {
  return [...files, ...links];
}

function absent(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

/** The same side, with each operation tried again while that helps. */
export function patientPlace(place: RestorePlace, patience: Patience): RestorePlace {
  return {
    label: place.label,
    list: (directory, options) => patiently(() => place.list(directory, options), patience),
    move: (from, to, options) => patiently(() => place.move(from, to, options), patience),
    remove: (path, options) => patiently(() => place.remove(path, options), patience),
    makeDirectory: (path, options) => patiently(() => place.makeDirectory(path, options), patience),
    removeDirectory: (path, options) => patiently(() => place.removeDirectory(path, options), patience),
    ...(place.areOne === undefined ? {} : { areOne: place.areOne }),
  };
}

/**
 * The trash of a side.
 *
 * @returns undefined where there is none
 * @throws what listing it throws where it is there, or nobody can tell
 */
async function openTrash(place: TrashPlace, options: OperationOptions): Promise<RemoteDirectory | undefined> {
  try {
    return await place.list(TRASH, { ...options, links: 'told' });
  } catch (error) {
    const { decision } = judge(error);
    if (decision !== 'skip' && decision !== 'gone') throw error;
    // A server refuses alike to list what is missing and what it hides. Only the first counts as removed, or is empty.
    const end = await place.removeDirectory(TRASH, options).catch(() => 'unknown');
    if (end === 'removed') return undefined;
    throw error;
  }
}

/** The dates of a trash, oldest first. @throws what listing it throws */
export async function stampsIn(place: TrashPlace, options: OperationOptions = {}): Promise<string[]> {
  const listing = await openTrash(place, options);
  return listing === undefined ? [] : stampsOf(listing);
}

function stampsOf({ directories }: RemoteDirectory): string[] {
  const names = directories.map((path) => path.slice(TRASH.length + 1));
  return [...new Set(names.filter((name) => stampMs(name) !== undefined))].sort();
}

export interface PruneOptions extends OperationOptions {
  /** How long what was deleted or overwritten is kept. */
  readonly keepMs: number;
  readonly nowMs: number;
}

/** What became of a trash. */
export interface Pruned {
  /** Files that are gone for good, and their size. */
  readonly files: number;
  readonly bytes: number;
  /** Dates that are gone altogether. */
  readonly dates: number;
  /** What was left, and why; at most 50 of them. */
  readonly problems: readonly TrashProblem[];
  readonly problemsInAll: number;
  /** The date of the oldest that is kept, in milliseconds since 1970; undefined where there is none. */
  readonly oldestMs: number | undefined;
  /** `early`: the signal, or a server that went away, kept it from looking at the rest. */
  readonly ended: 'whole' | 'early';
}

/**
 * Empties the dates that are older than they are to be kept. Never throws: what was kept from going is told, and
 * goes the next time.
 */
export async function pruneTrash(place: TrashPlace, options: PruneOptions): Promise<Pruned> {
  const pruning = new Pruning(place, options.signal);
  try {
    await pruning.prune(options.nowMs - options.keepMs);
  } catch (error) {
    pruning.endEarly(error);
  }
  return pruning.report();
}

/** Thrown to leave a pruning; what there is to say of it was said. */
class Left extends Error {}

class Pruning {
  readonly #place: TrashPlace;
  readonly #options: OperationOptions;
  readonly #problems: TrashProblem[] = [];
  #problemsInAll = 0;
  #files = 0;
  #bytes = 0;
  #dates = 0;
  #oldestMs: number | undefined;
  #ended: Pruned['ended'] = 'whole';

  constructor(place: TrashPlace, signal: AbortSignal | undefined) {
    this.#place = place;
    this.#options = { signal };
  }

  async prune(beforeMs: number): Promise<void> {
    const trash = await this.#attempt(TRASH, () => openTrash(this.#place, this.#options));
    if (trash === undefined) return;
    const foreign = trash.directories.filter((path) => fromTrash(`${path}/x`) === undefined);
    for (const path of [...piecesOf(trash).map((piece) => piece.path), ...trash.others, ...foreign]) {
      this.#tell(path, 'foreign', 'was not put there by ferryd, and is left alone.');
    }
    if (!trash.complete) this.#tell(TRASH, 'listing', 'could not be listed completely.');
    for (const stamp of stampsOf(trash)) {
      const atMs = stampMs(stamp);
      if (atMs === undefined) continue;
      if (atMs > beforeMs) {
        this.#oldestMs = Math.min(this.#oldestMs ?? atMs, atMs);
        continue;
      }
      if (await this.#empty(`${TRASH}/${stamp}`, 1)) this.#dates += 1;
    }
  }

  /** Removes a directory with all that is in it. @returns false where something is left, which was told */
  async #empty(directory: RelativePath, depth: number): Promise<boolean> {
    const listing = await this.#attempt(directory, () =>
      this.#place.list(directory, { ...this.#options, links: 'told' }),
    );
    if (listing === undefined) return false;
    const before = this.#problemsInAll;
    for (const path of listing.others) this.#tell(path, 'special-file', 'is no regular file, and is left.');
    await this.#removeAll(piecesOf(listing).filter(({ path }) => this.#isIn(path, directory)));
    for (const path of listing.directories.filter((path) => this.#isIn(path, directory))) {
      if (depth < DEEPEST) await this.#empty(path, depth + 1);
      else this.#tell(path, 'depth', `lies deeper than ${DEEPEST} directories, and is left.`);
    }
    // What is left was told; the server's refusal would say nothing new.
    if (this.#problemsInAll > before) return false;
    const end = await this.#attempt(directory, () => this.#place.removeDirectory(directory, this.#options));
    if (end === 'not-empty')
      this.#tell(directory, 'not-empty', 'is not empty, although nothing is listed there.');
    return end === 'removed';
  }

  async #removeAll(files: readonly RemotePiece[]): Promise<void> {
    const crew = new Crew<RemotePiece>({
      workers: Math.min(AT_ONCE, files.length),
      capacity: QUEUED,
      work: async (file) => {
        const removed = await this.#attempt(file.path, async () => {
          await this.#place.remove(file.path, this.#options);
          return true;
        });
        if (removed === true) {
          this.#files += 1;
          this.#bytes += fingerprintOf(file).sizeBytes;
        }
        return 'done';
      },
      stop: this.#options.signal,
    });
    await crew.add(files);
    await crew.finish();
    if (this.#unwanted()) throw new Left();
  }

  #unwanted(): boolean {
    return this.#options.signal?.aborted === true;
  }

  /** @returns undefined where it failed, which was told @throws {Left} where nothing further would fare better */
  async #attempt<T>(path: RelativePath, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#unwanted()) throw new Left();
    try {
      return await work();
    } catch (error) {
      if (this.#unwanted()) throw new Left();
      const failure = judge(error);
      this.#tell(path, failure.code, failure.message);
      if (endsAll(failure)) throw new Left();
      return undefined;
    }
  }

  /** A listing names what is in its directory; whatever else it says leads out of the trash. */
  #isIn(path: RelativePath, directory: RelativePath): boolean {
    if (isChild(path, directory)) return true;
    this.#tell(directory, 'listing', 'was listed with a name that does not belong there.');
    return false;
  }

  #tell(path: RelativePath, code: string, words: string): void {
    this.#problemsInAll += 1;
    if (this.#problems.length >= MOST_PROBLEMS) return;
    const sentence = /^[a-z]/.test(words) ? `${path} of ${this.#place.label} ${words}` : words;
    this.#problems.push({ path, code, message: sentence });
  }

  endEarly(error: unknown): void {
    this.#ended = 'early';
    if (!(error instanceof Left)) this.#tell(TRASH, judge(error).code, judge(error).message);
  }

  report(): Pruned {
    return {
      files: this.#files,
      bytes: this.#bytes,
      dates: this.#dates,
      problems: this.#problems,
      problemsInAll: this.#problemsInAll,
      oldestMs: this.#oldestMs,
      ended: this.#ended,
    };
  }
}

function endsAll({ decision, beforeSession }: Failure): boolean {
  return beforeSession || decision === 'abort' || decision === 'hold' || decision === 'reconnect';
}

function isChild(path: RelativePath, directory: RelativePath): boolean {
  const name = path.slice(directory.length + 1);
  return path === `${directory}/${name}` && !/^\.{0,2}$|\//.test(name);
}

/** One version of a path, in a trash. */
export interface Version extends Dated {
  readonly kind: 'version';
  /** The file or the link, with its path in the trash. */
  readonly file: RemotePiece;
}

/** A note that a version was put back, and is in this place no more. */
export interface PutBack extends Dated {
  readonly kind: 'put-back';
  /** When that was. From then on it was current, until the next date of the same trash, or is so now. */
  readonly backMs: number;
}

interface Dated {
  readonly place: TrashPlace;
  /** Where it stood. */
  readonly path: RelativePath;
  readonly stamp: string;
  /** It was current until then, in milliseconds since 1970. */
  readonly untilMs: number;
}

export interface RestorableOptions extends OperationOptions {
  /** Whether a path is wanted, or something below it where it ends with `/`. All, unless told. */
  readonly wants?: (path: RelativePath) => boolean;
  /** Hears of directories that could not be looked at. */
  readonly onProblem: (problem: TrashProblem) => void;
}

/**
 * What the trashes hold: the versions of one path at a time, oldest first, paths in their order. Memory stays flat,
 * however many files there are; it grows with the number of dates.
 *
 * @throws what listing throws where nothing further can be listed
 */
export async function* restorable(
  places: readonly TrashPlace[],
  options: RestorableOptions,
): AsyncGenerator<readonly (Version | PutBack)[]> {
  const { signal } = options;
  const dates: Cursor[] = [];
  for (const [rank, place] of places.entries()) {
    for (const stamp of await stampsIn(place, { signal })) {
      dates.push(new Cursor({ place, stamp, options }, rank));
    }
  }
  try {
    for (let from = 0; from < dates.length; from += AT_ONCE) {
      await Promise.all(dates.slice(from, from + AT_ONCE).map((cursor) => cursor.advance()));
    }
    // The next one last, where it is cheap to take.
    const ahead = dates.filter(({ head }) => head !== undefined).sort((a, b) => -compareHeads(a, b));
    for (let next = ahead.at(-1); next !== undefined; next = ahead.at(-1)) {
      const path = next.head?.path;
      const versions: (Version | PutBack)[] = [];
      const read: Cursor[] = [];
      for (
        let same = ahead.at(-1);
        same?.head !== undefined && same.head.path === path;
        same = ahead.at(-1)
      ) {
        versions.push(same.head);
        read.push(same);
        ahead.pop();
      }
      yield versions;
      for (const cursor of read) {
        await cursor.advance();
        if (cursor.head !== undefined) insert(ahead, cursor);
      }
    }
  } finally {
    for (const cursor of dates) await cursor.end();
  }
}

/** One date of one trash, read one file ahead. */
class Cursor {
  head: Version | PutBack | undefined;
  /** Of its place among the places. */
  readonly rank: number;
  readonly #versions: AsyncGenerator<Version | PutBack>;

  constructor(date: Source, rank: number) {
    this.rank = rank;
    this.#versions = versionsBelow(date, `${TRASH}/${date.stamp}`, 1);
  }

  async advance(): Promise<void> {
    const { done, value } = await this.#versions.next();
    this.head = done === true ? undefined : value;
  }

  async end(): Promise<void> {
    await this.#versions.return(undefined);
  }
}

/** By path, then by date; of one date, the first place first. */
function compareHeads(a: Cursor, b: Cursor): number {
  if (a.head === undefined || b.head === undefined) return 0;
  const byPath = comparePaths(a.head.path, b.head.path);
  if (byPath !== 0) return byPath;
  if (a.head.stamp === b.head.stamp) return a.rank - b.rank;
  return a.head.stamp < b.head.stamp ? -1 : 1;
}

/** Into a list whose least is last. */
function insert(ahead: Cursor[], cursor: Cursor): void {
  let low = 0;
  let high = ahead.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = ahead[middle];
    if (other !== undefined && compareHeads(other, cursor) > 0) low = middle + 1;
    else high = middle;
  }
  ahead.splice(low, 0, cursor);
}

/** Where a cursor reads. */
interface Source {
  readonly place: TrashPlace;
  readonly stamp: string;
  readonly options: RestorableOptions;
}

async function* versionsBelow(
  source: Source,
  directory: RelativePath,
  depth: number,
): AsyncGenerator<Version | PutBack> {
  const { place, stamp, options } = source;
  const { wants = () => true, signal, onProblem } = options;
  let listing: RemoteDirectory;
  try {
    listing = await place.list(directory, { signal, links: 'told' });
  } catch (error) {
    const failure = judge(error);
    if (signal?.aborted === true || endsAll(failure)) throw error;
    const { code, message } = failure;
    if (failure.decision !== 'gone') onProblem({ path: directory, code, message });
    return;
  }
  if (!listing.complete) {
    const message = `The listing of ${directory} of ${place.label} is incomplete: what it does not show cannot be restored.`;
    onProblem({ path: directory, code: 'listing', message });
  }
  for (const { key, file, backMs } of entriesOf(listing, directory)) {
    const path = fromTrash(key)?.path;
    if (path === undefined || !wants(path)) continue;
    const dated = { place, path, stamp, untilMs: stampMs(stamp) ?? 0 };
    if (file !== undefined) yield { kind: 'version', ...dated, file };
    else if (backMs !== undefined) yield { kind: 'put-back', ...dated, backMs };
    else if (depth < DEEPEST) yield* versionsBelow(source, key.slice(0, -1), depth + 1);
  }
}

interface Entry {
  /** Path in the trash; a directory's ends with `/`. */
  readonly key: string;
  readonly file?: RemotePiece;
  readonly backMs?: number | undefined;
}

/** In the order of the paths that they stand for, each once: a file before a note that is not true yet. */
function entriesOf(listing: RemoteDirectory, directory: RelativePath): Entry[] {
  const notes: Entry[] = [];
  const below: Entry[] = [];
  for (const path of listing.directories) {
    if (!isChild(path, directory)) continue;
    const note = fromNote(path);
    if (note === undefined) below.push({ key: `${path}/` });
    else notes.push({ key: note.trashed, backMs: stampMs(note.stamp) });
  }
  notes.sort((a, b) => (b.backMs ?? 0) - (a.backMs ?? 0));
  const own = piecesOf(listing).filter(({ path }) => isChild(path, directory));
  return [...own.map((file) => ({ key: file.path, file })), ...notes, ...below]
    .sort((a, b) => comparePaths(a.key, b.key))
    .filter(({ key }, i, all) => all[i - 1]?.key !== key);
}

/**
 * The version of a path that was current at a moment, of what `restorable` tells; the newest where no moment is told.
 *
 * @returns undefined where what is current now was so then, as far as the trash knows
 */
export function versionAt(
  versions: readonly (Version | PutBack)[],
  atMs: number | undefined,
): Version | undefined {
  if (atMs === undefined) {
    const files = versions.filter((version) => version.kind === 'version');
    const newest = files.at(-1)?.stamp;
    return files.find(({ stamp }) => stamp === newest);
  }
  let found = versions.find(({ untilMs }) => untilMs > atMs);
  while (found?.kind === 'put-back') {
    const { place } = found;
    // A clock that was set back must not lead round in a circle.
    const fromMs = Math.max(found.backMs, found.untilMs);
    found = versions.find((version) => version.place === place && version.untilMs > fromMs);
  }
  return found;
}

/** True where a trash still has every version that was current at the moment or later. */
export function reachesBack(
  stamps: readonly string[],
  atMs: number,
  { keepMs, nowMs }: Pick<PruneOptions, 'keepMs' | 'nowMs'>,
): boolean {
  // What is older goes first: while something older is there, nothing of then has gone.
  return atMs >= nowMs - keepMs || stamps.some((stamp) => (stampMs(stamp) ?? nowMs) <= atMs);
}
