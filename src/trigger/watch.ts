/*
 * The watch trigger. Events are hints and nothing more: they say that a full scan is worth while, never what it will
 * find. inotify loses events without a word (protocol.md, "Local side"), so a scan also follows the start, an error,
 * the return of the directory, and every interval; and with each interval the watcher is built anew, because a
 * directory whose creation went unseen is not watched. Only directories are watched, never single files: one kernel
 * watch each instead of one a file. Symbolic links are not followed; the root itself may be one.
 */
import { lstat, realpath, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import { type Fire, type OnProblem, type Trigger, timerDelayMs } from './trigger.js';

/** How often the root is looked at: is it there, and is it still the directory that is watched? */
const LOOK_MS = 5_000;

/** Continual change is scanned after this many settle times at the latest, and not before one second. */
const PATIENCE_SETTLES = 10;
const PATIENCE_LEAST_MS = 1_000;

/** A tree so large, or so wrong, that its watcher is not ready by then is scanned all the same. */
const READY_WITHIN_MS = 30_000;

/** A root that vanishes may be on its way back (renamed, made again), so it is looked at once more before it is told. */
const LOOK_TWICE_MS = 250;

/**
 * chokidar reads a whole directory again for an event in it, back to back while events go on (measured: 3,000 new files
 * cost 13 s of processor). So many events within a second close it for a while; what happened meanwhile is found by the
 * scan afterwards. The pause is long against the time that opening takes.
 */
const STORM_EVENTS = 64;
const STORM_WINDOW_MS = 1_000;
const STORM_PAUSE_LEAST_MS = 1_000;
const STORM_PAUSE_OPENINGS = 10;

/** So many directories gone at once that the watcher is built anew without asking about each. */
const MANY_VANISHED = 64;

const RESCAN_JITTER = 0.1;

/** What a watch trigger has to know. */
export interface WatchSpec {
  /** Absolute path of the directory. */
  readonly root: string;
  /** How long the tree has to be quiet before a scan. */
  readonly settleMs: number;
  /** How often to scan without any hint, ten per cent more or less. */
  readonly rescanMs: number;
  /**
   * True where changes do not matter. Paths are below the root, with `/`. It is asked about directories too, and what
   * is below an ignored directory is not watched: a pattern for files must not take the directories they lie in.
   */
  readonly ignored?: (path: string) => boolean;
}

type Sight =
  | {
      readonly kind: 'directory';
      readonly path: string;
      readonly identity: string;
    }
  | {
      readonly kind: 'absent';
      readonly code: string;
      readonly message: string;
    };

interface Watching {
  readonly watcher: FSWatcher;
  readonly sight: Extract<Sight, { kind: 'directory' }>;
  readonly readyTimer: NodeJS.Timeout;
  /** Codes that were told already; each is told once for a watcher. */
  readonly told: Set<string>;
  readonly openedMs: number;
  /** How long it took to get ready; undefined until it is. */
  openingMs: number | undefined;
  /** Events since `windowMs`, to tell a storm. */
  events: number;
  windowMs: number;
  /** True where it has to be built anew as soon as it is ready. */
  stale: boolean;
}

/** Hints since the last scan, however many. */
interface Pending {
  readonly firstMs: number;
  lastMs: number;
  /** Watched directories that went away; bounded by MANY_VANISHED. */
  readonly vanished: Set<string>;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Fires once at the start when the tree is watched (`start-up scan`), after changes when the tree is quiet (`watch`),
 * and every `rescanMs` (`rescan`).
 */
export function watchTrigger(spec: WatchSpec, fire: Fire, onProblem: OnProblem): Trigger {
  return new WatchTrigger(spec, fire, onProblem);
}

class WatchTrigger implements Trigger {
  readonly name = 'watch';
  readonly #spec: WatchSpec;
  readonly #fire: Fire;
  readonly #onProblem: OnProblem;
  #phase: 'idle' | 'running' | 'stopped' = 'idle';
  #current: Watching | undefined;
  /** Runs while a storm keeps the watcher closed. */
  #pauseTimer: NodeJS.Timeout | undefined;
  #pending: Pending | undefined;
  #toldAbsent: string | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #looking = false;
  #lookAgain = false;
  #rescanTimer: NodeJS.Timeout | undefined;
  #rescanAtMs = 0;
  readonly #closing = new Set<Promise<void>>();

  constructor(spec: WatchSpec, fire: Fire, onProblem: OnProblem) {
    this.#spec = spec;
    this.#fire = fire;
    this.#onProblem = onProblem;
  }

  async start(): Promise<void> {
    if (this.#phase !== 'idle') return;
    this.#phase = 'running';
    this.#planRescan();
    await this.#look();
  }

  async stop(): Promise<void> {
    this.#phase = 'stopped';
    clearTimeout(this.#lookTimer);
    clearTimeout(this.#rescanTimer);
    clearTimeout(this.#pending?.timer);
    this.#pending = undefined;
    this.#endPause();
    this.#close();
    await Promise.all(this.#closing);
  }

  nextRun(): Date | undefined {
    if (this.#phase !== 'running') return undefined;
    return new Date(Date.now() + Math.max(0, this.#rescanAtMs - performance.now()));
  }

  /** Compares the root with what is watched, and opens or closes the watcher where they differ. */
  async #look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    let nextLookMs = LOOK_MS;
    do {
      this.#lookAgain = false;
      const sight = await see(this.#spec.root);
      if (this.#phase !== 'running') return;
      nextLookMs = LOOK_MS;
      if (sight.kind === 'absent') nextLookMs = this.#lose(sight);
      else if (this.#pauseTimer === undefined && !sameDirectory(this.#current?.sight, sight)) {
        this.#open(sight, 'start-up scan');
      }
    } while (this.#lookAgain);
    this.#looking = false;
    clearTimeout(this.#lookTimer);
    this.#lookTimer = setTimeout(() => void this.#look(), nextLookMs);
  }

  /** @returns when to look again */
  #lose(sight: Extract<Sight, { kind: 'absent' }>): number {
    const wasThere = this.#current !== undefined || this.#pauseTimer !== undefined;
    this.#endPause();
    this.#close();
    if (wasThere) return LOOK_TWICE_MS;
    if (this.#toldAbsent !== sight.code) {
      this.#toldAbsent = sight.code;
      this.#tell(sight.message);
    }
    return LOOK_MS;
  }

  #open(sight: Extract<Sight, { kind: 'directory' }>, cause: string): void {
    this.#toldAbsent = undefined;
    // First closed, then opened: chokidar shares kernel watches by path, and would go on with a dead one. What happens
    // in between is found by the scan that follows when the new watcher is ready.
    this.#close();
    // chokidar turns backslashes into slashes: in a path that it is given (so it gets `cwd`), and in what it shows.
    const shown = sep === '/' ? sight.path.replaceAll('\\', '/') : sight.path;
    const watcher = watch('.', {
      cwd: sight.path,
      persistent: true,
      ignoreInitial: true,
      followSymlinks: false,
      atomic: false,
      ignored: (path, stats) =>
        (stats !== undefined && !stats.isDirectory()) || this.#ignores(relative(shown, path)),
    });
    const opened: Watching = {
      watcher,
      sight,
      readyTimer: setTimeout(() => this.#ready(opened, cause), READY_WITHIN_MS),
      told: new Set(),
      openedMs: performance.now(),
      openingMs: undefined,
      events: 0,
      windowMs: 0,
      stale: false,
    };
    this.#current = opened;
    watcher.on('ready', () => this.#ready(opened, cause));
    watcher.on('all', () => this.#hint());
    watcher.on('raw', (kind, name, details) => this.#raw(opened, kind, name, details));
    watcher.on('error', (error) => this.#fail(opened, error));
  }

  /**
   * Comes when all directories are watched, and earlier where that takes too long; scans once for each. After a storm
   * (`watch`) the tree has to be quiet first.
   */
  #ready(opened: Watching, cause: string): void {
    clearTimeout(opened.readyTimer);
    if (this.#phase !== 'running' || this.#current !== opened) return;
    opened.openingMs = performance.now() - opened.openedMs;
    if (cause === 'watch') this.#hint();
    else this.#ask(cause);
    if (this.#pending !== undefined) this.#awaitQuiet(this.#pending);
    if (opened.stale) this.#renew();
  }

  #raw(opened: Watching, kind: string, name: unknown, details: unknown): void {
    const directory =
      typeof details === 'object' && details !== null && 'watchedPath' in details
        ? details.watchedPath
        : undefined;
    if (typeof directory === 'string' && typeof name === 'string') {
      // With the directory's own name the kernel says that the directory itself went away.
      if (kind === 'rename' && name === basename(directory)) {
        if (directory === opened.sight.path) void this.#look();
        this.#hint(directory);
        this.#countEvent(opened);
        return;
      }
      if (this.#ignores(relative(opened.sight.path, join(directory, name)))) {
        this.#countEvent(opened);
        return;
      }
    }
    this.#hint();
    this.#countEvent(opened);
  }

  #countEvent(opened: Watching): void {
    const nowMs = performance.now();
    if (nowMs - opened.windowMs >= STORM_WINDOW_MS) {
      opened.windowMs = nowMs;
      opened.events = 0;
    }
    opened.events += 1;
    if (opened.events < STORM_EVENTS || opened !== this.#current) return;
    const openingMs = opened.openingMs ?? nowMs - opened.openedMs;
    const pauseMs = Math.max(STORM_PAUSE_LEAST_MS, STORM_PAUSE_OPENINGS * openingMs);
    this.#close();
    this.#pauseTimer = setTimeout(() => {
      this.#pauseTimer = undefined;
      this.#open(opened.sight, 'watch');
      void this.#look();
    }, timerDelayMs(pauseMs));
  }

  #endPause(): void {
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = undefined;
  }

  #ignores(path: string): boolean {
    // Above the root chokidar looks only when the root has gone.
    if (this.#spec.ignored === undefined || path === '' || path.split(sep)[0] === '..') return false;
    return this.#spec.ignored(sep === '/' ? path : path.replaceAll(sep, '/'));
  }

  #fail(opened: Watching, error: unknown): void {
    if (this.#phase !== 'running') return;
    const code = errorCode(error);
    if (!opened.told.has(code)) {
      opened.told.add(code);
      this.#tell(explainWatchError(error, this.#spec.root));
    }
    this.#hint();
  }

  #hint(vanished?: string): void {
    if (this.#phase !== 'running') return;
    const nowMs = performance.now();
    if (this.#pending === undefined) {
      this.#pending = { firstMs: nowMs, lastMs: nowMs, vanished: new Set(), timer: undefined };
      this.#awaitQuiet(this.#pending);
    }
    const pending = this.#pending;
    pending.lastMs = nowMs;
    if (vanished !== undefined && pending.vanished.size < MANY_VANISHED) pending.vanished.add(vanished);
  }

  #awaitQuiet(pending: Pending): void {
    clearTimeout(pending.timer);
    const waitMs = this.#quietAtMs(pending) - performance.now();
    pending.timer = setTimeout(() => this.#settle(pending), timerDelayMs(waitMs));
  }

  #quietAtMs(pending: Pending): number {
    const patienceMs = Math.max(PATIENCE_SETTLES * this.#spec.settleMs, PATIENCE_LEAST_MS);
    const latestMs = pending.firstMs + patienceMs;
    // While nothing is seen, quiet means nothing.
    const blind =
      this.#pauseTimer !== undefined ||
      (this.#current !== undefined && this.#current.openingMs === undefined);
    return blind ? latestMs : Math.min(pending.lastMs + this.#spec.settleMs, latestMs);
  }

  #settle(pending: Pending): void {
    if (performance.now() < this.#quietAtMs(pending)) {
      this.#awaitQuiet(pending);
      return;
    }
    this.#pending = undefined;
    if (pending.vanished.size >= MANY_VANISHED) this.#renew();
    else if (pending.vanished.size > 0) void this.#renewIfBack(pending.vanished);
    this.#ask('watch');
  }

  /** chokidar does not notice that a directory was deleted and made again at once, and watches the dead one. */
  async #renewIfBack(vanished: ReadonlySet<string>): Promise<void> {
    for (const path of vanished) {
      const stats = await lstat(path).catch(() => undefined);
      if (stats?.isDirectory() !== true) continue;
      if (this.#phase === 'running') this.#renew();
      return;
    }
  }

  #planRescan(): void {
    const jitter = 1 - RESCAN_JITTER + 2 * RESCAN_JITTER * Math.random();
    this.#rescanAtMs = performance.now() + this.#spec.rescanMs * jitter;
    this.#waitForRescan();
  }

  #waitForRescan(): void {
    const waitMs = this.#rescanAtMs - performance.now();
    this.#rescanTimer = setTimeout(() => this.#rescan(), timerDelayMs(waitMs));
  }

  #rescan(): void {
    if (performance.now() < this.#rescanAtMs) {
      this.#waitForRescan();
      return;
    }
    this.#planRescan();
    // Without a directory the scan fails, and the failed run is what a person sees in the status.
    if (!this.#renew()) this.#ask('rescan');
  }

  /** Builds the watcher anew; it asks for a scan when it is ready. @returns false where that cannot be now */
  #renew(): boolean {
    const current = this.#current;
    if (current === undefined) return false;
    if (current.openingMs === undefined) {
      current.stale = true;
      return false;
    }
    this.#open(current.sight, 'rescan');
    return true;
  }

  #close(): void {
    const watching = this.#current;
    if (watching === undefined) return;
    this.#current = undefined;
    clearTimeout(watching.readyTimer);
    const closed = watching.watcher.close();
    // close() takes all listeners away, and a late error without a listener would end the process.
    watching.watcher.on('error', () => undefined);
    this.#closing.add(closed);
    const forget = (): void => void this.#closing.delete(closed);
    closed.then(forget, forget);
  }

  #ask(trigger: string): void {
    try {
      this.#fire({ trigger });
    } catch (error) {
      this.#tell(
        `The run that the watch on ${this.#spec.root} asked for could not be started: ${reason(error)}.`,
      );
    }
  }

  #tell(message: string): void {
    try {
      this.#onProblem(message);
    } catch {
      // A listener that throws must not end the watch; there is nobody left to tell.
    }
  }
}

/** What went wrong with watching, in sentences for a person, and what to do next. */
export function explainWatchError(error: unknown, root: string): string {
  const goesOn = 'What is not watched is still found by the regular rescan.';
  switch (errorCode(error)) {
    case 'ENOSPC':
      return `The system allows no more watched directories, so a part of ${root} is not watched. Raise fs.inotify.max_user_watches, for example: sysctl fs.inotify.max_user_watches=1048576. ${goesOn}`;
    case 'EMFILE':
    case 'ENFILE':
      return `The system allows no more open watchers, so a part of ${root} is not watched. Raise fs.inotify.max_user_instances (sysctl) or the limit of open files. ${goesOn}`;
    case 'EACCES':
    case 'EPERM':
      return `A directory below ${root} may not be read, so it is not watched (${reason(error)}). Give the account that ferryd runs under permission to read it, or exclude it. ${goesOn}`;
    default:
      return `Watching ${root} met a problem (${reason(error)}). ${goesOn}`;
  }
}

async function see(root: string): Promise<Sight> {
  try {
    const path = await realpath(root);
    const stats = await stat(path, { bigint: true });
    if (!stats.isDirectory()) {
      return {
        kind: 'absent',
        code: 'ENOTDIR',
        message: `${root} is not a directory, so it cannot be watched. It is looked at every ${LOOK_MS / 1000} seconds and picked up as soon as it is one.`,
      };
    }
    // An inode number alone is given again at once to a directory that is deleted and made anew.
    return {
      kind: 'directory',
      path,
      identity: `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`,
    };
  } catch (error) {
    const code = errorCode(error);
    const what =
      code === 'ENOENT'
        ? `The directory ${root} does not exist, so it cannot be watched.`
        : `The directory ${root} cannot be read, so it cannot be watched (${reason(error)}).`;
    return {
      kind: 'absent',
      code,
      message: `${what} It is looked for every ${LOOK_MS / 1000} seconds and picked up as soon as it is there.`,
    };
  }
}

function sameDirectory(watched: Sight | undefined, seen: Extract<Sight, { kind: 'directory' }>): boolean {
  return watched?.kind === 'directory' && watched.path === seen.path && watched.identity === seen.identity;
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
