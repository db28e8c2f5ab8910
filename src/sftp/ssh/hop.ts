/*
 * The time and the patience for one hop of a connection: one deadline from the first packet to the end of the login,
 * and one signal that says why it is over. Knows what is waited for, for the sentence.
 */
import { SftpError, type SftpPhase } from '../errors.js';

/** What is waited for, to go on a sentence with. */
const WAITS: Readonly<
  Record<'agent' | 'connect' | 'forward' | 'handshake' | 'login', readonly [SftpPhase, string]>
> = {
  agent: ['login', 'The SSH agent that should log in at WHERE did not answer'],
  connect: ['connect', 'WHERE did not answer'],
  forward: ['connect', 'The way to WHERE did not open'],
  handshake: ['handshake', 'WHERE did not finish the SSH handshake'],
  login: ['login', 'WHERE did not finish the login'],
};

export type HopStage = keyof typeof WAITS;

/** One hop being opened. Ends by `end`, whatever came of it. */
export class Hop {
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #where: string;
  readonly #timer: NodeJS.Timeout;
  #stage: HopStage = 'connect';

  /** @param outer ends it too, as `aborted` */
  constructor(where: string, timeoutMs: number, outer: AbortSignal | undefined) {
    this.#where = where;
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      const [phase, words] = WAITS[this.#stage];
      const message = `${words.replace('WHERE', where)} in ${timeoutMs} ms.`;
      this.fail(new SftpError('timeout', message, { phase, code: 'ETIMEDOUT' }));
    }, timeoutMs);
    if (outer?.aborted === true) this.#onAbort();
    else outer?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Aborts with the SftpError that says why it is over. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get stage(): HopStage {
    return this.#stage;
  }

  /** The phase that errors of this stage have. */
  get phase(): SftpPhase {
    return WAITS[this.#stage][0];
  }

  enter(stage: HopStage): void {
    this.#stage = stage;
  }

  /** Gives it up; the first reason stays. */
  fail(error: SftpError): void {
    this.#stop.abort(error);
  }

  /** Lets go of timer and listener. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => {
    const message = `The connection to ${this.#where} was not wanted any more.`;
    this.fail(new SftpError('aborted', message, { phase: this.phase }));
  };
}
