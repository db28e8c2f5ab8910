/*
 * The watch trigger. Events are hints and nothing more: they say where a scan is worth while, never what it will find.
 * inotify loses events without a word (protocol.md, "Local side"), so a scan of everything also follows the start, an
 * error, a directory that went away, the return of the root, and every interval; and with each interval the watcher is
 * built anew, because a directory whose creation went unseen is not watched. Where events cannot be trusted (watch/ground.ts) or had, the tree
 * is looked at instead (watch/poll.ts). A tree for which the system's watches do not suffice gives all of them back, so
 * that other trees, and other programs, have them. Symbolic links are not followed; the root itself may be one.
 */
import { lstat } from 'node:fs/promises';
import { Places } from './places.js';
import {
  type Cause,
  type Coverage,
  type Covered,
  type Fire,
  type OnCoverage,
  type OnProblem,
  type Trigger,
  timerDelayMs,
} from './trigger.js';
import { Events } from './watch/events.js';
import {
  explainDistrust,
  explainNoise,
  explainPatches,
  explainPause,
  explainSilence,
  explainWatchError,
  POLLED_BY_WISH,
  tollOf,
} from './watch/explain.js';
import type { ReadMounts } from './watch/ground.js';
import { Hints, MANY_VANISHED, type Ripe } from './watch/hints.js';
import { Poll } from './watch/poll.js';
import { Rescan } from './watch/rescan.js';
import { codeOf, compareSights, type Missing, reasonOf, type Standing, see } from './watch/sight.js';
import { within } from './watch/within.js';

/** How often the root is looked at: is it there, and is it still the directory that is watched? */
const LOOK_MS = 5_000;

/** A tree so large, or so wrong, that its watcher is not ready by then is scanned all the same. */
const READY_WITHIN_MS = 30_000;

/** A file system that has not answered for so long is away. */
const ANSWER_WITHIN_MS = 60_000;

/** While it has not answered for so long, no rescan is asked for. */
const SLOW_MS = 2_000;

/** A root that vanishes may be on its way back (renamed, made again), so it is looked at once more before it is told. */
const LOOK_TWICE_MS = 250;

/** The pause in a storm is long against the time that opening takes. */
const STORM_PAUSE_LEAST_MS = 1_000;
const STORM_PAUSE_OPENINGS = 10;

/** `start()` waits no longer for the first look at the root. */
const START_WITHIN_MS = 5_000;

const POLL_MS = 30_000;

/** What a watch trigger has to know. */
export interface WatchSpec {
  /** Absolute path of the directory. */
  readonly root: string;
  /** How long the tree has to be quiet before a scan. */
  readonly settleMs: number;
  /** How often to scan without any hint, ten per cent more or less. */
  readonly rescanMs: number;
  /** How often the tree, or the part of it that events do not cover, is looked at. Left out: 30 seconds. */
  readonly pollMs?: number;
  /** `never`: always polled. `auto` (left out): polled where the file system's events cannot be trusted. */
  readonly events?: 'auto' | 'never';
  /**
   * True where changes do not matter. Paths are below the root, with `/`. It is asked about directories too, and what
   * is below an ignored directory is not watched: a pattern for files must not take the directories they lie in.
   */
  readonly ignored?: (path: string) => boolean;
  /** The mount table; left out, the kernel's. */
  readonly readMounts?: ReadMounts;
}

/** The scan that is asked for when the tree is watched. */
interface Scan {
  readonly cause: string;
  readonly when: 'at once' | 'when quiet';
}

/** Events, polling, or both, for one directory. */
interface Eyes {
  /** The newest look at the same directory. */
  sight: Standing;
  scan: Scan;
  readonly readyTimer: NodeJS.Timeout;
  readonly openedMs: number;
  /** How long it took to get ready; undefined until it is, or the patience is over. */
  openingMs: number | undefined;
  /** `open` from the first time that nothing was awaited. */
  progress: 'opening' | 'open';
  /** What is not ready yet. */
  readonly awaited: Set<'events' | 'poll'>;
  events: Events | undefined;
  poll: Poll | undefined;
  polled: 'nothing' | 'patches' | 'all';
  /** What the watcher met, by code, in sentences. */
  readonly troubles: Map<string, string>;
  /** Why it waits for a file system, in sentences; undefined where it does not. */
  silence: string | undefined;
  /** True where it has to be built anew as soon as it is ready. */
  stale: boolean;
}

/**
 * | state | in | out |
 * | --- | --- | --- |
 * | idle | made | start() -> seeking |
 * | seeking | the root has to be found | found -> watching, missing -> absent |
 * | watching | the root is there | gone -> seeking, silent -> absent, a storm -> pausing |
 * | pausing | a storm | time -> watching, gone -> seeking, silent -> absent |
 * | absent | the root is missing, or does not answer | found -> watching |
 * | stopped | stop() | never |
 */
type State =
  | { readonly kind: 'idle' | 'seeking' | 'stopped' }
  | { readonly kind: 'watching'; readonly eyes: Eyes }
  | {
      readonly kind: 'pausing';
      /** The newest look at the root. */
      sight: Standing;
      readonly pauseMs: number;
      readonly timer: NodeJS.Timeout;
    }
  | { readonly kind: 'absent'; readonly missing: Missing };

/**
 * Fires once at the start when the tree is watched (`start-up scan`), after changes when the tree is quiet (`watch`),
 * and every `rescanMs` (`rescan`). A scan that is asked for covers the hints that came before.
 *
 * @param onCoverage hears each change of `coverage()`
 */
export function watchTrigger(
  spec: WatchSpec,
  fire: Fire,
  onProblem: OnProblem,
  onCoverage: OnCoverage = () => undefined,
): Trigger {
  return new WatchTrigger(spec, fire, onProblem, onCoverage);
}

class WatchTrigger implements Trigger {
  readonly name = 'watch';
  readonly #spec: WatchSpec;
  readonly #fire: Fire;
  readonly #onProblem: OnProblem;
  readonly #onCoverage: OnCoverage;
  readonly #hints: Hints;
  readonly #rescan: Rescan;
  #state: State = { kind: 'idle' };
  #shown: Coverage | undefined;
  /** Codes of troubles that were told and are not over; what is told is told once for each. */
  readonly #told = new Set<string>();
  #toldAbsent: string | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #silenceTimer: NodeJS.Timeout | undefined;
  #looking = false;
  #lookAgain = false;
  /** When the look in hand began, on the monotonic clock. */
  #lookedMs = 0;
  /** A rescan was due while the root did not answer. */
  #rescanHeld = false;
  readonly #closing = new Set<Promise<void>>();

  constructor(spec: WatchSpec, fire: Fire, onProblem: OnProblem, onCoverage: OnCoverage) {
    this.#spec = spec;
    this.#fire = fire;
    this.#onProblem = onProblem;
    this.#onCoverage = onCoverage;
    this.#hints = new Hints({
      settleMs: spec.settleMs,
      isBlind: () => this.#isBlind(),
      onRipe: (ripe) => void this.#ripe(ripe),
    });
    this.#rescan = new Rescan(spec.rescanMs, () => this.#rescanNow());
  }

  async start(): Promise<void> {
    if (this.#state.kind !== 'idle') return;
    this.#become({ kind: 'seeking' });
    this.#rescan.start();
    // A file system that does not answer holds up its own job only.
    await within(START_WITHIN_MS, this.#look());
  }

  async stop(): Promise<void> {
    this.#become({ kind: 'stopped' });
    clearTimeout(this.#lookTimer);
    clearTimeout(this.#silenceTimer);
    this.#rescan.stop();
    this.#hints.clear();
    await Promise.allSettled(this.#closing);
  }

  nextRun(): Date | undefined {
    return this.#rescan.next();
  }

  coverage(): Coverage | undefined {
    return this.#shown;
  }

  /** The one place where the state changes; what it held is let go first. */
  #become(next: State): void {
    const last = this.#state;
    if (last.kind === 'stopped') return;
    if (last.kind === 'pausing') clearTimeout(last.timer);
    if (last.kind === 'watching' && !(next.kind === 'watching' && next.eyes === last.eyes)) {
      clearTimeout(last.eyes.readyTimer);
      this.#closeEvents(last.eyes);
      this.#closePoll(last.eyes);
    }
    this.#state = next;
    this.#show();
  }

  #isRunning(): boolean {
    return this.#state.kind !== 'idle' && this.#state.kind !== 'stopped';
  }

  /** Compares the root with what is watched, and opens or closes where they differ. */
  async #look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    let nextLookMs = LOOK_MS;
    do {
      this.#lookAgain = false;
      this.#lookedMs = performance.now();
      this.#awaitAnswer();
      const sight = await see(this.#spec.root, { ...this.#spec, everyMs: LOOK_MS });
      clearTimeout(this.#silenceTimer);
      if (!this.#isRunning()) return;
      nextLookMs = sight.kind === 'absent' ? this.#lose(sight) : this.#find(sight);
    } while (this.#lookAgain);
    this.#looking = false;
    if (this.#rescanHeld) this.#rescanNow();
    clearTimeout(this.#lookTimer);
    this.#lookTimer = setTimeout(() => void this.#look(), nextLookMs);
  }

  #awaitAnswer(): void {
    // In two steps: where this process itself was held up, the answer has come when the second begins to count.
    this.#silenceTimer = setTimeout(() => {
      this.#silenceTimer = setTimeout(() => {
        const message = explainSilence(this.#spec.root, ANSWER_WITHIN_MS);
        this.#miss({ kind: 'absent', code: 'SILENT', message });
      }, ANSWER_WITHIN_MS / 2);
    }, ANSWER_WITHIN_MS / 2);
  }

  /** @returns when to look again */
  #lose(missing: Missing): number {
    if (this.#state.kind === 'watching' || this.#state.kind === 'pausing') {
      this.#become({ kind: 'seeking' });
      return LOOK_TWICE_MS;
    }
    this.#miss(missing);
    return LOOK_MS;
  }

  #miss(missing: Missing): void {
    this.#become({ kind: 'absent', missing });
    if (this.#toldAbsent === missing.code) return;
    this.#toldAbsent = missing.code;
    this.#tell(missing.message);
  }

  /** @returns when to look again */
  #find(sight: Standing): number {
    this.#toldAbsent = undefined;
    const state = this.#state;
    if (state.kind === 'watching') {
      const difference = compareSights(state.eyes.sight, sight);
      if (difference === 'other') this.#open(sight, { cause: 'start-up scan', when: 'at once' });
      else if (difference === 'mounts') this.#open(sight, { cause: 'rescan', when: 'at once' });
      else {
        state.eyes.sight = sight;
        this.#hearSilence(state.eyes);
      }
    } else if (state.kind === 'pausing') state.sight = sight;
    else this.#open(sight, { cause: 'start-up scan', when: 'at once' });
    return LOOK_MS;
  }

  #open(sight: Standing, scan: Scan): void {
    const { events, ignored } = this.#spec;
    this.#hints.renewed();
    this.#rescanHeld = false;
    // First closed, then opened: chokidar shares kernel watches by path, and would go on with a dead one. What happens
    // in between is found by the scan that follows when the new watcher is ready.
    if (this.#state.kind === 'watching') this.#become({ kind: 'seeking' });
    const eyes: Eyes = {
      sight,
      scan,
      readyTimer: setTimeout(() => this.#ready(eyes), READY_WITHIN_MS),
      openedMs: performance.now(),
      openingMs: undefined,
      progress: 'opening',
      awaited: new Set(),
      events: undefined,
      poll: undefined,
      polled: 'nothing',
      troubles: new Map(),
      silence: undefined,
      stale: false,
    };
    const { path: root, ground } = sight;
    if (events === 'never' || ground.distrusted !== undefined) this.#poll(eyes, 'all');
    else {
      eyes.awaited.add('events');
      if (ground.patches.length > 0) this.#poll(eyes, 'patches');
      const polled = new Set(ground.patches.map(({ path }) => path));
      eyes.events = new Events({
        root,
        ignores: (path) => polled.has(path) || ignored?.(path) === true,
        onReady: () => this.#opened(eyes, 'events'),
        onHint: (hint) => this.#hints.add(tellsAll(eyes) ? hint : { ...hint, place: undefined }),
        onRootGone: () => void this.#look(),
        onStorm: (kind) => (kind === 'noise' ? this.#shutOut(eyes) : this.#pause(eyes)),
        onError: (error) => this.#fail(eyes, error),
      });
    }
    this.#become({ kind: 'watching', eyes });
  }

  #poll(eyes: Eyes, polled: 'patches' | 'all'): void {
    this.#closePoll(eyes);
    const { settleMs, pollMs = POLL_MS, ignored = () => false } = this.#spec;
    const poll = new Poll({
      root: eyes.sight.path,
      scopes: polled === 'all' ? [''] : eyes.sight.ground.patches.map(({ path }) => path),
      everyMs: pollMs,
      settleMs,
      ignores: ignored,
      gate: eyes.sight.ground.gate,
      onBaseline: () => this.#opened(eyes, 'poll'),
      onChange: () => this.#hints.add(),
      onQuiet: () => this.#hints.reconsider(),
      onRest: () => this.#show(),
    });
    eyes.poll = poll;
    eyes.polled = polled;
    // What changed before the first look was done is nobody's: a scan follows it.
    eyes.awaited.add('poll');
    if (eyes.openingMs !== undefined) eyes.scan = { cause: 'rescan', when: 'at once' };
    poll.start();
  }

  #opened(eyes: Eyes, part: 'events' | 'poll'): void {
    eyes.awaited.delete(part);
    if (eyes.awaited.size === 0) this.#ready(eyes);
  }

  /** What was awaited may be given up. */
  #reconsider(eyes: Eyes): void {
    if (eyes.progress === 'opening' && eyes.awaited.size === 0) this.#ready(eyes);
    this.#show();
  }

  /** Comes when all is watched, and earlier where that takes too long; scans once for each. */
  #ready(eyes: Eyes): void {
    clearTimeout(eyes.readyTimer);
    if (this.#state.kind !== 'watching' || this.#state.eyes !== eyes) return;
    eyes.openingMs ??= performance.now() - eyes.openedMs;
    if (eyes.awaited.size === 0) {
      eyes.progress = 'open';
      for (const code of this.#told) if (!eyes.troubles.has(code)) this.#told.delete(code);
    }
    this.#show();
    if (eyes.scan.when === 'when quiet') this.#hints.add();
    else this.#ask(eyes.scan.cause);
    this.#hints.reconsider();
    if (eyes.stale) this.#renew({ cause: 'rescan', when: 'at once' });
  }

  #fail(eyes: Eyes, error: unknown): void {
    const code = codeOf(error);
    if (!eyes.troubles.has(code)) {
      const message = explainWatchError(error, this.#spec.root);
      eyes.troubles.set(code, message);
      if (!this.#told.has(code)) {
        this.#told.add(code);
        this.#tell(message);
      }
    }
    const toll = tollOf(error);
    if (toll === 'all') this.#closeEvents(eyes);
    if (toll !== 'unreadable' && eyes.polled !== 'all') this.#poll(eyes, 'all');
    if (eyes.openingMs !== undefined) this.#hints.add();
    this.#reconsider(eyes);
  }

  /**
   * What the job leaves out changes all the time. A pause would be followed by a scan, and that by the next pause,
   * for nothing; polling does not see it.
   */
  #shutOut(eyes: Eyes): void {
    eyes.troubles.set('NOISE', explainNoise(this.#spec.root));
    this.#closeEvents(eyes);
    if (eyes.polled !== 'all') this.#poll(eyes, 'all');
    this.#reconsider(eyes);
  }

  #pause(eyes: Eyes): void {
    const openingMs = eyes.openingMs ?? performance.now() - eyes.openedMs;
    const pauseMs = Math.max(STORM_PAUSE_LEAST_MS, STORM_PAUSE_OPENINGS * openingMs);
    const timer = setTimeout(() => {
      if (this.#state.kind !== 'pausing') return;
      this.#open(this.#state.sight, { cause: 'watch', when: 'when quiet' });
      void this.#look();
    }, timerDelayMs(pauseMs));
    this.#become({ kind: 'pausing', sight: eyes.sight, pauseMs, timer });
  }

  #isBlind(): boolean {
    const state = this.#state;
    if (state.kind === 'pausing') return true;
    return (
      state.kind === 'watching' && (state.eyes.openingMs === undefined || state.eyes.poll?.unsettled === true)
    );
  }

  async #ripe(ripe: Ripe): Promise<void> {
    const { vanished } = ripe;
    // The scan that follows the renewal covers these hints too.
    if (vanished.size > 0 && (await this.#renewIfBack(vanished)) === 'renewed') return;
    if (this.#isRunning()) this.#ask('watch', ripe);
  }

  /** chokidar does not notice that a directory was deleted and made again at once, and watches the dead one. */
  async #renewIfBack(vanished: ReadonlySet<string>): Promise<'renewed' | 'not now'> {
    const isBack = vanished.size >= MANY_VANISHED || (await oneStands(vanished));
    return isBack ? this.#renew({ cause: 'watch', when: 'at once' }) : 'not now';
  }

  #rescanNow(): void {
    // A run would hang as the look does.
    if (this.#looking && performance.now() - this.#lookedMs > SLOW_MS) {
      this.#rescanHeld = true;
      return;
    }
    this.#rescanHeld = false;
    // Without a directory the scan fails, and the failed run is what a person sees in the status.
    if (this.#renew({ cause: 'rescan', when: 'at once' }) === 'not now') this.#ask('rescan');
  }

  /** Builds the watcher anew; it asks for the scan when it is ready. */
  #renew(scan: Scan): 'renewed' | 'not now' {
    if (this.#state.kind !== 'watching') return 'not now';
    const { eyes } = this.#state;
    // Polling misses nothing that a new polling would see.
    if (eyes.events === undefined && eyes.troubles.size === 0) return 'not now';
    if (eyes.openingMs === undefined) {
      eyes.stale = true;
      return 'not now';
    }
    this.#open(eyes.sight, scan);
    return 'renewed';
  }

  #hearSilence(eyes: Eyes): void {
    const silentMs = eyes.poll?.silentMs ?? 0;
    if (silentMs < ANSWER_WITHIN_MS) eyes.silence = undefined;
    else if (eyes.silence === undefined) {
      eyes.silence = explainSilence(this.#spec.root, silentMs);
      this.#tell(eyes.silence);
    }
    this.#show();
  }

  #closeEvents(eyes: Eyes): void {
    if (eyes.events !== undefined) this.#await(eyes.events.close());
    eyes.events = undefined;
    eyes.awaited.delete('events');
  }

  #closePoll(eyes: Eyes): void {
    if (eyes.poll !== undefined) this.#await(eyes.poll.stop());
    eyes.poll = undefined;
  }

  #await(closed: Promise<void>): void {
    this.#closing.add(closed);
    const forget = (): void => void this.#closing.delete(closed);
    closed.then(forget, forget);
  }

  #show(): void {
    const now = this.#coverageNow();
    const last = this.#shown;
    if (now === undefined) {
      this.#shown = undefined;
      return;
    }
    const same = last !== undefined && last.how === now.how && last.message === now.message;
    if (same && isNear(last.everyMs, now.everyMs)) return;
    this.#shown = { root: this.#spec.root, ...now, sinceMs: same ? last.sinceMs : Date.now() };
    try {
      this.#onCoverage(this.#shown);
    } catch (error) {
      this.#tell(`How ${this.#spec.root} is watched could not be shown: ${reasonOf(error)}.`);
    }
  }

  #coverageNow(): Omit<Coverage, 'root' | 'sinceMs'> | undefined {
    const state = this.#state;
    switch (state.kind) {
      case 'idle':
      case 'stopped':
        return undefined;
      case 'absent':
        return { how: 'absent', everyMs: undefined, message: state.missing.message };
      case 'pausing':
        return { how: 'pausing', everyMs: undefined, message: explainPause(state.pauseMs) };
      case 'seeking':
        return this.#whileOpening();
      case 'watching':
        return state.eyes.progress === 'opening' ? this.#whileOpening() : this.#coverageOf(state.eyes);
    }
  }

  /** What is only built anew is shown as it was: it was covered, and a scan follows. */
  #whileOpening(): Omit<Coverage, 'root' | 'sinceMs'> {
    const last = this.#shown;
    if (last !== undefined && last.how !== 'absent') return last;
    return { how: 'starting', everyMs: undefined, message: undefined };
  }

  #coverageOf(eyes: Eyes): Omit<Coverage, 'root' | 'sinceMs'> {
    const { distrusted } = eyes.sight.ground;
    const { root, events } = this.#spec;
    const reasons = [...(eyes.silence === undefined ? [] : [eyes.silence]), ...eyes.troubles.values()];
    if (events === 'never') reasons.push(POLLED_BY_WISH);
    else if (distrusted !== undefined) reasons.push(explainDistrust(root, distrusted));
    else if (eyes.polled === 'patches') reasons.push(explainPatches(eyes.sight.ground.patches));
    return {
      how: coveredBy(eyes),
      everyMs: eyes.poll?.everyMs,
      message: reasons.length === 0 ? undefined : reasons.join(' '),
    };
  }

  /**
   * The scan covers what was hinted so far.
   *
   * @param ripe what it is asked for by; left out: everything is to be looked at
   */
  #ask(trigger: string, ripe?: Ripe): void {
    const later = this.#hints.clear();
    if (later !== undefined && later.vanished.size > 0) void this.#renewIfBack(later.vanished);
    try {
      this.#fire(ripe === undefined ? { trigger } : { trigger, ...both(ripe, later) });
    } catch (error) {
      this.#tell(
        `The run that the watch on ${this.#spec.root} asked for could not be started: ${reasonOf(error)}.`,
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

/** True where the system reports each change, and has been heard from the start: what no event names has not changed. */
function tellsAll(eyes: Eyes): boolean {
  return eyes.progress === 'open' && !eyes.stale && coveredBy(eyes) === 'events';
}

/** What two lots of hints say of a cause, the second of them the newer. */
function both(ripe: Ripe, later: Ripe | undefined): Pick<Cause, 'noticedMs' | 'places'> {
  const gathered = new Places();
  gathered.add(ripe.places);
  if (later !== undefined) gathered.add(later.places);
  const places = gathered.take();
  const { noticedMs } = later ?? ripe;
  return places === undefined ? { noticedMs } : { noticedMs, places };
}

function coveredBy(eyes: Eyes): Covered {
  if (eyes.events === undefined) return 'polling';
  return eyes.polled === 'nothing' && eyes.troubles.size === 0 ? 'events' : 'partly';
}

/** A pause between looks that is a little longer than before is no news. */
function isNear(one: number | undefined, other: number | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one <= 2 * other && other <= 2 * one;
}

async function oneStands(paths: ReadonlySet<string>): Promise<boolean> {
  for (const path of paths) {
    const stats = await lstat(path).catch(() => undefined);
    if (stats?.isDirectory() === true) return true;
  }
  return false;
}
