/*
 * What the daemon tells systemd: ready, reloading, stopping, a line of status, and that it is alive (sd_notify(3),
 * sd_watchdog_enabled(3)). Node has no datagram sockets, and the packages that have are compiled against libsystemd,
 * so systemd's own `systemd-notify` says it, one message at a time; the unit therefore needs NotifyAccess=all.
 * Says nothing where systemd did not ask for it. It does not judge what counts as progress: the daemon does.
 */
import { endWords, runProgram } from '../program/program.js';
import type { Listener } from '../report/event.js';
import { printable } from '../report/printable.js';

/** An environment that can be changed, such as `process.env`. */
export type Environment = Record<string, string | undefined>;

/**
 * Tells systemd these assignments (`READY=1`) in one message; gives up when `signal` is aborted. Rejects with an Error
 * whose message says why it did not work, in half a sentence.
 */
export type Tell = (assignments: readonly string[], signal: AbortSignal) => Promise<void>;

export interface SupervisorOptions {
  readonly listener: Listener;
  /** Left out: `systemd-notify` tells it. */
  readonly tell?: Tell | undefined;
}

/** What the daemon says to whoever supervises it. Nothing here throws; only `stop` is waited for. */
export interface Supervisor {
  /**
   * Something takes up to `withinMs` before the start can go on: systemd waits so long, whatever the unit says. It is
   * on its way when this returns, so what follows may block.
   */
  starting(withinMs: number): void;
  /** All has started, or the reload is over. */
  ready(): void;
  /** The configuration is being loaded anew; `ready` follows, also where nothing came of it. */
  reloading(): void;
  /** The stop has begun and takes `withinMs` at the longest: systemd waits so long, whatever the unit says. */
  stopping(withinMs: number): void;
  /** One line for `systemctl status`, without secrets. The newest one counts; one in five seconds is shown. */
  status(text: string): void;
  /**
   * Says that the daemon is alive for as long as `progress` returns undefined. What it returns otherwise is a sentence
   * on what is stuck: it goes to the log and to `systemctl status`, and systemd, which hears nothing more, restarts
   * the service when WatchdogSec= is over. Without a watchdog it goes to the log, and nothing more happens.
   */
  watch(progress: () => string | undefined): void;
  /** Ends the watch; resolves when all is said, or after two seconds. Nothing is said afterwards. */
  stop(): Promise<void>;
}

/** `systemd-notify` waits up to five seconds itself until systemd has read the message. */
const TELL_WITHIN_MS = 10_000;

/** Pauses before a message that did not get through is told again. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

/** A status that changes all the time must not start a program each time. */
const STATUS_PAUSE_MS = 5_000;
const LONGEST_STATUS = 500;

/** Where systemd has no watchdog, the log at least hears what is stuck. */
const UNSUPERVISED_LOOK_MS = 30_000;

/** What is stuck may get loose again: then systemd should hear so in time. */
const STUCK_LOOK_MS = 5_000;

/** What a stop takes behind its runs: the cut, notices on their way, last words. */
const AFTER_STOP_MS = 25_000;
/** What a start takes besides its longest step. */
const AFTER_CHECK_MS = 60_000;
const FLUSH_WITHIN_MS = 2_000;

/** More changes of state than this are never waiting; the oldest say nothing that the newest do not. */
const MOST_STATES = 4;

/**
 * Takes what systemd left for this process in the environment, and takes it out there: hooks and the programs of
 * secrets must not be able to speak in ferryd's name. Without NOTIFY_SOCKET it has nobody to tell.
 */
export function superviseBySystemd(environment: Environment, options: SupervisorOptions): Supervisor {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = environment;
  delete environment.NOTIFY_SOCKET;
  delete environment.WATCHDOG_USEC;
  delete environment.WATCHDOG_PID;
  const { listener } = options;
  if (socket === undefined || socket === '') {
    return new Supervision(undefined, new Watchdog(undefined, listener, undefined));
  }
  const messenger = new Messenger(options.tell ?? systemdNotify(socket, environment.PATH), listener);
  // systemd means the process that it started: this one, or a wrapper around it.
  const forUs = watched === undefined || [process.pid, process.ppid].includes(Number(watched));
  const limitMs = forUs ? watchdogMs(watchdog) : undefined;
  return new Supervision(messenger, new Watchdog(limitMs, listener, messenger));
}

function watchdogMs(microseconds: string | undefined): number | undefined {
  const value = Number(microseconds ?? '');
  return Number.isSafeInteger(value) && value > 0 ? value / 1000 : undefined;
}

/** Tells by the program; it speaks as a child of ours, hence NotifyAccess=all. */
function systemdNotify(socket: string, path: string | undefined): Tell {
  return async (assignments, signal) => {
    const lines: string[] = [];
    const end = await runProgram({
      argv: ['systemd-notify', ...assignments],
      environment: { NOTIFY_SOCKET: socket, PATH: path },
      timeLimitMs: TELL_WITHIN_MS,
      graceMs: 0,
      signal,
      maxOutputBytes: 4_096,
      onLine: (line) => lines.push(line),
    });
    if (end.kind === 'ended' && end.code === 0) return;
    const said = lines.length === 0 ? '' : `: ${lines.join(' ')}`;
    throw new Error(`systemd-notify ${endWords(end, { timeLimitMs: TELL_WITHIN_MS })}${said}`);
  };
}

class Supervision implements Supervisor {
  readonly #messenger: Messenger | undefined;
  readonly #watchdog: Watchdog;

  constructor(messenger: Messenger | undefined, watchdog: Watchdog) {
    this.#messenger = messenger;
    this.#watchdog = watchdog;
  }

  starting(withinMs: number): void {
    this.#messenger?.state([longer(withinMs + AFTER_CHECK_MS)]);
  }

  ready(): void {
    this.#messenger?.state(['READY=1']);
  }

  reloading(): void {
    // Type=notify-reload compares it with the moment of its own request; Type=notify takes no notice of it.
    const sinceBoot = process.hrtime.bigint() / 1000n;
    this.#messenger?.state(['RELOADING=1', `MONOTONIC_USEC=${sinceBoot}`]);
  }

  stopping(withinMs: number): void {
    this.#messenger?.state(['STOPPING=1', longer(withinMs + AFTER_STOP_MS)]);
  }

  status(text: string): void {
    this.#messenger?.status(text);
  }

  watch(progress: () => string | undefined): void {
    this.#watchdog.start(progress);
  }

  async stop(): Promise<void> {
    this.#watchdog.stop();
    await this.#messenger?.stop();
  }
}

function longer(ms: number): string {
  return `EXTEND_TIMEOUT_USEC=${Math.ceil(ms) * 1000}`;
}

/** Looks twice in the watchdog's time whether there is progress, and says that all is well, or what is not. */
class Watchdog {
  readonly #limitMs: number | undefined;
  readonly #listener: Listener;
  readonly #messenger: Messenger | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What was told last to be stuck; undefined while all goes on. */
  #stuck: string | undefined;

  constructor(limitMs: number | undefined, listener: Listener, messenger: Messenger | undefined) {
    this.#limitMs = limitMs;
    this.#listener = listener;
    this.#messenger = messenger;
  }

  start(progress: () => string | undefined): void {
    const everyMs = this.#limitMs === undefined ? UNSUPERVISED_LOOK_MS : this.#limitMs / 2;
    const look = (): void => {
      this.stop();
      const stuck = ask(progress);
      this.#tell(stuck);
      if (stuck === undefined && this.#limitMs !== undefined) {
        this.#messenger?.alive(() => {
          // Unless it was stopped meanwhile.
          if (this.#timer !== undefined) look();
        });
      }
      const nextMs = stuck === undefined ? everyMs : Math.min(everyMs, STUCK_LOOK_MS);
      this.#timer = setTimeout(look, nextMs);
      // It looks after the daemon; it is no reason for the process to go on.
      this.#timer.unref();
    };
    look();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Once for each thing that is stuck, and once when all goes on again. */
  #tell(stuck: string | undefined): void {
    if (stuck === this.#stuck) return;
    const before = this.#stuck;
    this.#stuck = stuck;
    if (stuck === undefined) {
      this.#messenger?.stuck(undefined);
      this.#listener({ event: 'daemon.loose', message: `It goes on again. It was stuck: ${before}` });
      return;
    }
    this.#messenger?.stuck(stuck);
    const next =
      this.#limitMs === undefined
        ? 'Nothing supervises ferryd here: restart it if this does not end by itself.'
        : 'systemd restarts ferryd if this does not end soon.';
    this.#listener({ event: 'daemon.stuck', message: `ferryd is stuck: ${stuck} ${next}` });
  }
}

/** A question that fails is no sign of progress either. */
function ask(progress: () => string | undefined): string | undefined {
  try {
    return progress();
  } catch (error) {
    return `It cannot say what it is doing (${error instanceof Error ? error.message : String(error)}).`;
  }
}

/** Asks anew whether ferryd is alive: what was true when a message was lost need not be true any more. */
type AskAgain = () => void;

/** What one message carries; parts that are left out are not spoken of. */
interface Message {
  /** `READY=1` and the like: said in the order in which it happened. */
  readonly state: readonly string[] | undefined;
  readonly status: string | undefined;
  readonly alive: AskAgain | undefined;
}

/** Says one thing after the other; of what waits in the meantime only the newest status and one sign of life count. */
class Messenger {
  readonly #send: Tell;
  readonly #listener: Listener;
  readonly #states: (readonly string[])[] = [];
  #status: string | undefined;
  #stuck: string | undefined;
  /** What systemd was told last; undefined: nothing yet. */
  #shown: string | undefined;
  #shownAtMs = Number.NEGATIVE_INFINITY;
  #alive: AskAgain | undefined;
  #busy: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #stage: 'open' | 'flushing' | 'closed' = 'open';
  readonly #giveUp = new AbortController();

  constructor(send: Tell, listener: Listener) {
    this.#send = send;
    this.#listener = listener;
  }

  state(assignments: readonly string[]): void {
    this.#states.push(assignments);
    if (this.#states.length > MOST_STATES) this.#states.shift();
    this.#go();
  }

  status(text: string): void {
    this.#status = lineOf(text);
    this.#go();
  }

  /** Stands in place of the status for as long as something is stuck. */
  stuck(text: string | undefined): void {
    this.#stuck = text === undefined ? undefined : lineOf(`Stuck: ${text}`);
    if (text !== undefined) this.#alive = undefined;
    // There may not be much time.
    this.#shownAtMs = Number.NEGATIVE_INFINITY;
    this.#go();
  }

  /** `again` is called where the message was lost, when it is time for another. */
  alive(again: AskAgain): void {
    this.#alive = again;
    this.#go();
  }

  async stop(): Promise<void> {
    if (this.#stage !== 'open') return;
    this.#stage = 'flushing';
    this.#alive = undefined;
    this.#failures = 0;
    clearTimeout(this.#timer);
    const limit = setTimeout(() => this.#giveUp.abort(), FLUSH_WITHIN_MS);
    this.#go();
    while (this.#busy !== undefined) await this.#busy;
    clearTimeout(limit);
    this.#stage = 'closed';
  }

  /** Begins with the next message, unless one is under way or has to wait. */
  #go(): void {
    if (this.#busy !== undefined || this.#stage === 'closed') return;
    // A pause after a failure is not cut short by what comes later.
    if (this.#failures > 0 && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const message = this.#next();
    if (message === undefined) return;
    this.#busy = this.#say(message).finally(() => {
      this.#busy = undefined;
      if (this.#failures === 0) this.#go();
    });
  }

  #next(): Message | undefined {
    const wanted = this.#stuck ?? this.#status ?? (this.#shown === undefined ? undefined : '');
    const fresh = wanted === this.#shown ? undefined : wanted;
    const urgent = this.#states.length > 0 || this.#alive !== undefined;
    if (!urgent && fresh === undefined) return undefined;
    const dueInMs = this.#shownAtMs + STATUS_PAUSE_MS - performance.now();
    if (!urgent && dueInMs > 0 && this.#stage === 'open') {
      this.#goIn(dueInMs);
      return undefined;
    }
    const message: Message = { state: this.#states.shift(), status: fresh, alive: this.#alive };
    this.#alive = undefined;
    return message;
  }

  async #say(message: Message): Promise<void> {
    const { state, status, alive } = message;
    try {
      const assignments = [
        ...(state ?? []),
        ...(status === undefined ? [] : [`STATUS=${status}`]),
        ...(alive === undefined ? [] : ['WATCHDOG=1']),
      ];
      await this.#send(assignments, this.#giveUp.signal);
    } catch (error) {
      this.#failed(message, error instanceof Error ? error.message : String(error));
      return;
    }
    if (status !== undefined) {
      this.#shown = status;
      this.#shownAtMs = performance.now();
    }
    if (this.#failures > 0) {
      this.#failures = 0;
      this.#listener({ event: 'daemon.heard', message: 'systemd hears ferryd again.' });
    }
  }

  #failed({ state, alive }: Message, why: string): void {
    if (this.#stage !== 'open') {
      this.#stage = 'closed';
      return;
    }
    if (state !== undefined && this.#states.length < MOST_STATES) this.#states.unshift(state);
    this.#failures += 1;
    if (this.#failures === 1) {
      this.#listener({
        event: 'daemon.unheard',
        message: `ferryd cannot tell systemd how it is (${why}). It works, but systemd may take it for dead and restart it. See that the program systemd-notify is there (Debian: package systemd).`,
      });
    }
    this.#goIn(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.#failures - 1)), alive);
  }

  #goIn(ms: number, alive?: AskAgain): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      alive?.();
      this.#go();
    }, ms);
    this.#timer.unref();
  }
}

function lineOf(text: string): string {
  const line = printable(text);
  return line.length > LONGEST_STATUS ? `${line.slice(0, LONGEST_STATUS)}...` : line;
}
