/*
 * Taking files back out of the trash: under their names on the side that they were taken from, or as copies into a
 * local directory. Never overwrites: what stands in the way goes into the trash itself first, and beside a copy it is
 * left. Holds the job's lock, so that no run works on the same trees meanwhile, and leaves the ledger as it is: the
 * next run sees what a person put back as it sees everything that a person does.
 */
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import type { Job } from '../job/job.js';
import { acquireLock, lockDirectory } from '../ledger/lock.js';
import { codeOf, LocalError, localSentence } from '../local/error.js';
import { placeLink } from '../local/link.js';
import { permissionsOf } from '../local/permissions.js';
import { LocalSink } from '../local/sink.js';
import { LocalSource } from '../local/source.js';
import { lookAt, openRoot, standsAt } from '../local/walk.js';
import { isLink, type RelativePath, type RemoteFile } from '../plan/entry.js';
import { fingerprintOf } from '../plan/judge.js';
import { leadOf } from '../plan/link.js';
import { decodeName, decodePath, fitsAName } from '../plan/names.js';
import type { RunFailure } from '../plan/outcome.js';
import { temporaryName } from '../plan/temporary.js';
import { inTrash, noteOf, stampMs, stampOf, TRASH } from '../plan/trash.js';
import { judge } from '../remote/failure.js';
import { MoveRefused, type Remote, type RemoteDirectory } from '../remote/remote.js';
import type { Listener } from '../report/event.js';
import { fullStop } from '../report/summary.js';
import type { Accounts } from './accounts.js';
import { Crew } from './crew.js';
import { failureOf, RunEnded } from './end.js';
import { type Patience, patiently } from './patience.js';
import { resolveJob } from './resolve.js';
import {
  localPlace,
  type PutBack,
  patientPlace,
  type RestorePlace,
  reachesBack,
  restorable,
  stampsIn,
  type TrashPlace,
  type TrashProblem,
  type Version,
  versionAt,
} from './trash.js';

/** How many files are put back at the same time, and how many may wait for that. */
const AT_ONCE = 4;
const QUEUED = 64;

const FARTHEST_AHEAD_MS = 24 * 60 * 60 * 1000;

/** What a person asks for. */
export interface Wish {
  /** A file or a directory below the root; undefined stands for all. */
  readonly path: RelativePath | undefined;
  /** Milliseconds since 1970: as it was then. Undefined: what is missing now, as it was last. */
  readonly atMs: number | undefined;
  /** Absolute path of a local directory to copy to; undefined: back under its name. */
  readonly to: string | undefined;
}

/** One file that is back. */
export interface Restored {
  /** Below the root of its side, or below the directory that was copied to. */
  readonly path: RelativePath;
  readonly side: 'remote' | 'local';
  /** It was current until then, in milliseconds since 1970. */
  readonly untilMs: number;
  readonly sizeBytes: number;
  /** Something stood under its name, and is in the trash now. */
  readonly setAside: boolean;
}

export interface RestoreContext {
  /** The job's lock lies beside it. */
  readonly ledgerFile: string;
  readonly accounts: Accounts;
  readonly listener: Listener;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly onRestored: (restored: Restored) => void;
  /** A file that was to be put back and was not, or a place that could not be looked at. */
  readonly onLeft: (left: TrashProblem) => void;
  /** Aborted: begin no further file. */
  readonly stop?: AbortSignal | undefined;
  /** Aborted: break off what is in flight. */
  readonly cut?: AbortSignal | undefined;
  /** 0 to 1, for jitter; tests give their own. */
  readonly random?: (() => number) | undefined;
}

/** The dates that one side's trash has. */
export interface TrashDates {
  /** `nas:dumps`, or the local directory. */
  readonly label: string;
  /** Oldest first. */
  readonly stamps: readonly string[];
}

export interface RestoreReport {
  /**
   * `nothing`: the trash has nothing of what was asked for. `out-of-reach`: what was current then may have gone from
   * the trash already, so nothing was put back.
   */
  readonly end: 'done' | 'nothing' | 'out-of-reach' | 'interrupted' | 'failed';
  readonly restored: number;
  readonly bytes: number;
  /** Files that were not put back, each of which was told. */
  readonly left: number;
  /** How many of these because other bytes came than should have. */
  readonly mismatched: number;
  /** Why it failed; undefined unless it did. */
  readonly failure: RunFailure | undefined;
  readonly trashes: readonly TrashDates[];
}

/** Which sides of a job have a trash to restore from, in the order in which they are looked at. */
export function restorableSides(job: Pick<Job, 'mode' | 'direction'>): readonly ('remote' | 'local')[] {
  if (job.mode === 'two-way') return ['remote', 'local'];
  return job.direction === 'push' ? ['remote'] : ['local'];
}

/**
 * Restores what a person asks for. Never throws for what a person should read. Refused, with the failure `locked`,
 * while a run of the job is under way, in whatever process.
 *
 * @param job as it was loaded; paths with {date} are those of the moment that is asked for
 */
export async function restoreJob(job: Job, wish: Wish, context: RestoreContext): Promise<RestoreReport> {
  const restoration = new Restoration(job, wish, context);
  try {
    const name = `job-${job.name}`;
    const lock = acquireLock(lockDirectory(context.ledgerFile), name, `restore of job ${job.name}`);
    if (lock.kind === 'held') {
      const message = `${lock.message} Nothing is restored while job ${job.name} is run.`;
      return restoration.report('failed', { kind: 'locked', code: 'locked', message });
    }
    try {
      return restoration.report(await restoration.carryOut());
    } finally {
      lock.release();
    }
  } catch (error) {
    if (restoration.interrupted) return restoration.report('interrupted');
    return restoration.report('failed', failureFrom(error));
  }
}

function failureFrom(error: unknown): RunFailure {
  if (error instanceof RunEnded) return error.failure;
  const { kind, code, message } = judge(error);
  return code === 'unexpected' ? failureOf(error) : { kind, code, message };
}

/** One side, with what is needed to read from it. */
interface Side {
  readonly place: RestorePlace;
  readonly presence: Presence;
  readonly from: { readonly side: 'remote'; readonly remote: Remote } | { side: 'local'; root: string };
}

interface Task {
  readonly version: Version;
  readonly side: Side;
  /**
   * What stands under its name: something that goes into the trash first, nothing, or nobody can see it. Then it is
   * left to the move, which replaces nothing.
   */
  readonly over: 'aside' | 'nothing' | 'unknown';
  /** Directory that notes in the trash that it was put back; undefined where no later version would take its place. */
  readonly note: RelativePath | undefined;
}

class Restoration {
  readonly #job: Job;
  readonly #wish: Wish;
  readonly #context: RestoreContext;
  /** Under which what stands in the way goes into the trash. */
  #stamp: string;
  /** What only looks is broken off at once. */
  readonly #looking: AbortSignal;
  /** Directories of trashes that files were taken from. */
  readonly #emptied = new Map<TrashPlace, Set<RelativePath>>();
  #trashes: TrashDates[] = [];
  /** Real path of the directory that is copied to. */
  #target = '';
  /** What is being copied right now. */
  readonly #copying = new Set<RelativePath>();
  #restored = 0;
  #bytes = 0;
  #left = 0;
  #mismatched = 0;

  constructor(job: Job, wish: Wish, context: RestoreContext) {
    this.#job = job;
    this.#wish = wish;
    this.#context = context;
    this.#stamp = stampOf(context.nowMs);
    this.#looking = AbortSignal.any([context.stop, context.cut].filter((signal) => signal !== undefined));
  }

  report(end: RestoreReport['end'], failure?: RunFailure): RestoreReport {
    return {
      end,
      restored: this.#restored,
      bytes: this.#bytes,
      left: this.#left,
      mismatched: this.#mismatched,
      failure,
      trashes: this.#trashes,
    };
  }

  /** @throws what ends it before its time */
  async carryOut(): Promise<Exclude<RestoreReport['end'], 'failed'>> {
    const { atMs, to } = this.#wish;
    const { nowMs } = this.#context;
    const sides = await this.#sides();
    for (const { place } of sides) {
      this.#trashes.push({ label: place.label, stamps: await stampsIn(place, { signal: this.#looking }) });
    }
    if (this.#trashes.every(({ stamps }) => stamps.length === 0)) return 'nothing';
    this.#stamp = stampAfter(
      this.#trashes.flatMap(({ stamps }) => stamps),
      nowMs,
    );
    const { keepMs } = this.#job.deletes;
    if (atMs !== undefined) {
      const reaches = this.#trashes.every(({ stamps }) => reachesBack(stamps, atMs, { keepMs, nowMs }));
      if (!reaches) return 'out-of-reach';
    }
    if (to !== undefined) this.#target = await openTarget(to);
    await this.#putBack(sides);
    if (this.interrupted) return 'interrupted';
    await this.#clearEmptied();
    return this.#restored + this.#left === 0 ? 'nothing' : 'done';
  }

  async #sides(): Promise<Side[]> {
    const { job } = resolveJob(this.#job, this.#wish.atMs ?? this.#context.nowMs);
    const sides: Side[] = [];
    for (const name of restorableSides(job)) {
      if (name === 'remote') {
        const remote = (await this.#context.accounts.of(job.server)).remote(job.remotePath);
        sides.push(this.#sideOf(remote, { side: name, remote }));
      } else {
        const root = await openLocal(job);
        sides.push(this.#sideOf(localPlace(root), { side: name, root }));
      }
    }
    return sides;
  }

  #sideOf(plain: RestorePlace, from: Side['from']): Side {
    const place = patientPlace(plain, this.#patience(TRASH));
    return { place, from, presence: new Presence(place, this.#looking) };
  }

  #patience(path: RelativePath): Patience {
    const { listener, random = Math.random } = this.#context;
    const job = this.#job.name;
    return {
      retries: this.#job.retries,
      signal: this.#looking,
      random,
      onRetry: ({ code, message }, attempt, delayMs) =>
        listener({ event: 'file.retry', job, path, attempt, delayMs, code, message }),
    };
  }

  async #putBack(sides: readonly Side[]): Promise<void> {
    const crew = new Crew<Task>({
      workers: Math.min(AT_ONCE, this.#job.server.connections),
      capacity: QUEUED,
      work: async (task) => {
        await this.#work(task);
        return 'done';
      },
      stop: this.#context.stop,
    });
    try {
      const versions = restorable(
        sides.map(({ place }) => place),
        {
          wants: (path) => this.#wants(path),
          signal: this.#looking,
          onProblem: (problem) => this.#leave(problem),
        },
      );
      for await (const some of versions) {
        if (crew.ended) break;
        const task = await this.#taskOf(some, sides);
        if (task !== undefined) await crew.add([task]);
      }
    } catch (error) {
      await crew.abandon();
      throw error;
    }
    await crew.finish();
  }

  /** Whether a path is asked for, or a directory (`a/b/`) on the way to it or below it. */
  #wants(path: RelativePath): boolean {
    const asked = this.#wish.path?.split('/') ?? [];
    const names = path.split('/');
    const isDirectory = names.at(-1) === '';
    if (isDirectory) names.pop();
    if (!isDirectory && names.length < asked.length) return false;
    return asked.slice(0, names.length).every((name, depth) => this.#isCalled(names[depth] ?? '', name));
  }

  /** A person may know a name as it is on the other side. */
  #isCalled(name: string, asked: string): boolean {
    return name === asked || (this.#job.names === 'encode' && decodeName(name) === asked);
  }

  #isAskedByName(path: RelativePath): boolean {
    const asked = this.#wish.path;
    return asked !== undefined && path.split('/').length === asked.split('/').length && this.#wants(path);
  }

  /** @returns undefined where what stands under the path is what was asked for */
  async #taskOf(versions: readonly (Version | PutBack)[], sides: readonly Side[]): Promise<Task | undefined> {
    const { atMs } = this.#wish;
    const version = versionAt(versions, atMs);
    const side = sides.find(({ place }) => place === version?.place);
    if (version === undefined || side === undefined) return undefined;
    const seen = await side.presence.at(version.path);
    // A restoration that was killed when the file had its name back, and its place in the trash still.
    const isBack = seen === 'file' && (await side.place.areOne?.(version.file.path, version.path)) === true;
    const there = isBack ? 'nothing' : seen;
    const wantsMissing = atMs === undefined && !this.#isAskedByName(version.path);
    if (wantsMissing && there !== 'nothing' && there !== 'unknown') return undefined;
    const unseen = wantsMissing ? 'unknown' : 'aside';
    const over = there === 'nothing' ? 'nothing' : there === 'unknown' ? unseen : 'aside';
    const { place, stamp, file } = version;
    const outlived = versions.some((other) => other.place === place && other.stamp > stamp);
    const note = over === 'aside' || outlived ? noteOf(file.path, this.#stamp) : undefined;
    if (there === 'other' && this.#wish.to === undefined) {
      const { path } = version;
      const message = `A directory, or something else that is no file, is called ${path} now. Move it away to have the file back.`;
      this.#leave({ path, code: 'occupied', message });
      return undefined;
    }
    return { version, side, over, note };
  }

  async #work(task: Task): Promise<void> {
    const { path } = task.version;
    try {
      if (this.#wish.to === undefined) await this.#moveBack(task);
      else await patiently(() => this.#copy(task), this.#patience(path));
    } catch (error) {
      const failure = judge(error);
      const { kind, code, decision, beforeSession } = failure;
      if (error instanceof RunEnded || this.#context.cut?.aborted === true) throw error;
      if (beforeSession || decision === 'abort' || decision === 'hold') {
        throw new RunEnded(kind, code, failure.message);
      }
      if (kind === 'verification') this.#mismatched += 1;
      const advice = code === 'MOVE' ? ' With --to it can be copied into a local directory.' : '';
      this.#leave({ path, code, message: `${fullStop(failure.message)}${advice}` });
    }
  }

  async #moveBack({ version, side, over, note }: Task): Promise<void> {
    const { path, file } = version;
    const { place } = side;
    const options = { signal: this.#context.cut };
    const aside = inTrash(path, this.#stamp);
    if (note !== undefined) {
      if (!fitsAName(note.slice(note.lastIndexOf('/') + 1))) {
        const message = `The name of ${path} is too long for the trash to note that it was put back. With --to it can be copied into a local directory.`;
        this.#leave({ path, code: 'ENAMETOOLONG', message });
        return;
      }
      // First of all: while the file is there still, nobody believes it.
      await place.makeDirectory(note, options);
    }
    let setAside = false;
    let end: 'moved' | 'missing' | 'occupied' | 'kept';
    try {
      const away = over === 'aside' ? await place.move(path, aside, options) : 'missing';
      setAside = away === 'moved';
      end = away === 'occupied' ? 'kept' : await place.move(file.path, path, options);
    } catch (error) {
      if (setAside) await this.#undo(side, aside, path);
      // A note stays where nobody knows whether the file was moved: it does no harm.
      if (error instanceof MoveRefused) await this.#forget(place, note);
      throw error;
    }
    if (end === 'moved') {
      this.#tookFrom(place, file.path);
      this.#tell(version, side, setAside);
      return;
    }
    if (setAside) await this.#undo(side, aside, path);
    await this.#forget(place, note);
    // Only what is missing was asked for, and this is not.
    if (end === 'occupied' && over === 'unknown') return;
    const messages = {
      missing: `${file.path} is not in the trash any more.`,
      occupied: `Something stands at ${path} by now, and is not overwritten.`,
      kept: `${aside} is taken, so what stands at ${path} cannot be kept there. Try again in a moment.`,
    };
    this.#leave({ path, code: end, message: messages[end] });
  }

  async #forget(place: RestorePlace, note: RelativePath | undefined): Promise<void> {
    if (note === undefined) return;
    await place.removeDirectory(note, { signal: this.#context.cut }).catch(() => undefined);
  }

  /** What was taken away for a file that did not come goes back to its place. */
  async #undo(side: Side, aside: RelativePath, path: RelativePath): Promise<void> {
    const end = await side.place.move(aside, path, { signal: this.#context.cut }).catch(() => 'failed');
    if (end === 'moved') return;
    const message = `What stood at ${path} is in the trash now, as ${aside}: it could not be moved back.`;
    this.#leave({ path, code: 'ASIDE', message });
  }

  /** Where a copy goes: a name that the server could not hold is written there as it is here. */
  #copyPath({ path }: Version, { from }: Side): RelativePath {
    return from.side === 'remote' && this.#job.names === 'encode' ? decodePath(path) : path;
  }

  /** Two paths of the server may be one here, one of them written with percent signs: the first has the name. */
  async #copy(task: Task): Promise<void> {
    const path = this.#copyPath(task.version, task.side);
    if (this.#copying.has(path)) {
      this.#leaveExisting(path);
      return;
    }
    this.#copying.add(path);
    try {
      await this.#copyTo(path, task);
    } finally {
      this.#copying.delete(path);
    }
  }

  #leaveExisting(path: RelativePath): void {
    const message = `${this.#target}/${path} exists already, and is not overwritten. Move it away, or name another directory.`;
    this.#leave({ path, code: 'exists', message });
  }

  async #copyTo(path: RelativePath, { version, side }: Task): Promise<void> {
    const { file } = version;
    const exists = async (): Promise<boolean> => {
      if ((await standsAt(this.#target, path)) === 'nothing') return false;
      this.#leaveExisting(path);
      return true;
    };
    if (await exists()) return;
    const temporary = temporaryName(path, randomBytes(8).toString('hex'), 'hidden');
    if (isLink(file)) {
      await this.#copyLink({ path, temporary, leadsTo: file.leadsTo }, version, side);
      return;
    }
    const { sizeBytes } = file;
    const sink = await LocalSink.open({ root: this.#target, path, temporary, sizeBytes });
    let published = false;
    try {
      const permissions =
        side.from.side === 'remote'
          ? await this.#download(file, side.from.remote, sink)
          : await readInto(sink, side.from.root, file.path);
      if (sink.bytes !== file.sizeBytes) {
        const message = `${sink.bytes} bytes of ${file.path} came from ${side.place.label}, which lists ${file.sizeBytes}.`;
        this.#mismatched += 1;
        this.#leave({ path, code: 'mismatch', message });
        return;
      }
      // Reading takes its time: what came to stand there since is not overwritten either.
      if (await exists()) return;
      await sink.publish(file.modifiedMs, permissions);
      published = true;
      this.#tell({ ...version, path }, side, false);
    } finally {
      if (!published) await sink.discard();
    }
  }

  /** @returns the permissions that the file is to have */
  async #download(file: RemoteFile, remote: Remote, sink: LocalSink): Promise<number | undefined> {
    await remote.fetch(file.path, (chunk) => sink.write(chunk), {
      signal: this.#context.cut,
      holds: (digest) => sink.holds(digest),
      listedBytes: file.sizeBytes,
    });
    return this.#job.permissions === 'keep' ? file.permissions : undefined;
  }

  /** A link of the server is made here only where it stays inside of the directory that is copied to. */
  async #copyLink(
    { path, temporary, leadsTo }: { path: RelativePath; temporary: RelativePath; leadsTo: string },
    version: Version,
    side: Side,
  ): Promise<void> {
    if (side.from.side === 'remote' && leadOf(path, leadsTo) !== 'inside') {
      const message = `${path} is a link that leads out of the directory that is copied to, or may do so (to ${leadsTo}): it is not made here. Without --to it can be had back on the server.`;
      this.#leave({ path, code: 'link-outside', message });
      return;
    }
    await placeLink({ root: this.#target, path, temporary, leadsTo, aside: undefined });
    this.#tell({ ...version, path }, side, false);
  }

  #tell({ path, untilMs, file }: Version, side: Side, setAside: boolean): void {
    const { sizeBytes } = fingerprintOf(file);
    this.#restored += 1;
    this.#bytes += sizeBytes;
    this.#context.onRestored({ path, side: side.from.side, untilMs, sizeBytes, setAside });
  }

  #leave(left: TrashProblem): void {
    this.#left += 1;
    this.#context.onLeft(left);
  }

  #tookFrom(place: TrashPlace, path: RelativePath): void {
    const directories = this.#emptied.get(place) ?? new Set();
    this.#emptied.set(place, directories.add(path.slice(0, path.lastIndexOf('/'))));
  }

  /** An emptied date would be told as one that has something. What resists goes when the trash is pruned. */
  async #clearEmptied(): Promise<void> {
    for (const [place, directories] of this.#emptied) {
      const deepestFirst = [...directories].sort((a, b) => b.split('/').length - a.split('/').length);
      const gone = new Set<RelativePath>();
      for (const start of deepestFirst) {
        for (let directory = start; directory !== TRASH && !gone.has(directory); ) {
          const end = await place
            .removeDirectory(directory, { signal: this.#context.cut })
            .catch(() => 'kept');
          if (end !== 'removed') break;
          gone.add(directory);
          directory = directory.slice(0, directory.lastIndexOf('/'));
        }
      }
    }
  }

  get interrupted(): boolean {
    return this.#context.stop?.aborted === true || this.#context.cut?.aborted === true;
  }
}

/**
 * The stamp of now, or one just after the newest: what is put aside must come after what it made room for, also where
 * a run took it away in this very second, or the clock was set back a little. A date far ahead is an error of a clock.
 */
function stampAfter(stamps: readonly string[], nowMs: number): string {
  let afterMs = nowMs;
  for (const stamp of stamps) {
    const ms = stampMs(stamp) ?? 0;
    if (ms < nowMs + FARTHEST_AHEAD_MS) afterMs = Math.max(afterMs, ms + 1_000);
  }
  return stampOf(afterMs);
}

async function openLocal(job: Job): Promise<string> {
  try {
    return await openRoot(job.local);
  } catch (error) {
    const { code, message } = failureOf(error);
    const sentence = `The local directory of job ${job.name} cannot be used: ${message} Is its disk mounted? Nothing was changed.`;
    throw new RunEnded('failed', code, sentence);
  }
}

/** @returns the real path of a directory to copy to, made where it is not there */
async function openTarget(to: string): Promise<string> {
  try {
    await fs.mkdir(to, { recursive: true });
  } catch (error) {
    throw new LocalError(codeOf(error), localSentence(codeOf(error), to), error);
  }
  return openRoot(to);
}

/** @returns the file's permissions */
async function readInto(sink: LocalSink, root: string, path: RelativePath): Promise<number> {
  const file = await lookAt(root, path);
  if (file === undefined) throw new LocalError('ENOENT', `${path} is not in the trash any more.`);
  const source = await LocalSource.open(root, file);
  try {
    for await (const chunk of source.chunks()) await sink.write(chunk);
    const { sha256 } = await source.confirm();
    if (await sink.holds({ algorithm: 'SHA-256', hex: sha256 })) return await permissionsOf(root, file);
  } finally {
    await source.close();
  }
  throw new LocalError('CHANGED', `${path} was changed while it was read.`);
}

interface Seen {
  readonly directory: RelativePath | '';
  readonly files: ReadonlySet<RelativePath>;
  readonly others: ReadonlySet<RelativePath>;
  readonly directories: ReadonlySet<RelativePath>;
  readonly complete: boolean;
}

/** What stands on a side, by listings: asked for in the order of paths, each directory is listed once. */
class Presence {
  readonly #place: TrashPlace;
  readonly #signal: AbortSignal | undefined;
  /** From the root to the directory that was looked at last; undefined where one cannot be listed. */
  #way: (Seen | undefined)[] = [];

  constructor(place: TrashPlace, signal: AbortSignal | undefined) {
    this.#place = place;
    this.#signal = signal;
  }

  async at(path: RelativePath): Promise<'file' | 'other' | 'nothing' | 'unknown'> {
    const names = path.split('/');
    for (let depth = 0; depth < names.length; depth += 1) {
      const seen = await this.#list(depth, names.slice(0, depth).join('/'));
      if (seen === undefined) return 'unknown';
      const here = names.slice(0, depth + 1).join('/');
      const last = depth === names.length - 1;
      if (last && seen.files.has(here)) return 'file';
      if (last && (seen.others.has(here) || seen.directories.has(here))) return 'other';
      if (!last && seen.directories.has(here)) continue;
      return seen.complete ? 'nothing' : 'unknown';
    }
    return 'unknown';
  }

  async #list(depth: number, directory: RelativePath | ''): Promise<Seen | undefined> {
    const known = this.#way[depth];
    if (known?.directory === directory) return known;
    this.#way = this.#way.slice(0, depth);
    const seen = await this.#place
      .list(directory, { signal: this.#signal, links: 'told' })
      .then(seenIn(directory), (error) => {
        const { decision } = judge(error);
        // Refused for this directory alone; else the next one would fare no better.
        if (decision === 'skip' || decision === 'pass' || decision === 'gone') return undefined;
        throw error;
      });
    this.#way.push(seen);
    return seen;
  }
}

function seenIn(directory: RelativePath | ''): (listing: RemoteDirectory) => Seen {
  return ({ files, links = [], others, directories, complete }) => ({
    directory,
    files: new Set([...files, ...links].map(({ path }) => path)),
    others: new Set(others),
    directories: new Set(directories),
    complete,
  });
}
