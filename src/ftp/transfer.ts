/*
 * One transfer: a way for the data connection, the command, the data, the final reply (RFC 959 sections 3.2 and 5.4).
 * It is done when the data has ended AND the final reply has come, in whichever order. The command goes out together
 * with the SYN of a passive data connection, and other commands may travel in its packet.
 *
 * After any failure but a plain refusal the control connection is ended too: what the server still does for the
 * broken transfer is nobody's guess. Chooses no mode and retries nothing.
 */
import { ActiveListener } from './active.js';
import type { Answers } from './answer.js';
import type { Command, ControlConnection } from './control.js';
import { DataConnection, type Route } from './data.js';
import { FtpError } from './errors.js';
import { extendedPassivePort, passivePort } from './passive.js';
import { type Reply, replyClass } from './reply.js';
import type { TlsTrust } from './tls.js';

/**
 * Who opens the data connection, and how that is agreed on: `EPSV` and `PASV` ask the server for a port (RFC 2428,
 * RFC 959), `EPRT` and `PORT` tell it one of ours.
 */
export type DataMode = 'EPSV' | 'PASV' | 'EPRT' | 'PORT';

/** Where this side listens in active mode. */
export interface ActiveSettings {
  /** What the server is told, where this machine is behind NAT; undefined means the control connection's own. */
  readonly address: string | undefined;
  /** Undefined means any free port. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
}

/** What all transfers of a session have in common. */
export interface TransferSettings {
  readonly host: string;
  readonly trust: TlsTrust;
  readonly active: ActiveSettings;
  readonly connectTimeoutMs: number;
  readonly replyTimeoutMs: number;
  /** How long a data connection may move no byte. */
  readonly stallTimeoutMs: number;
  /** How long one transfer may take in all. */
  readonly transferTimeoutMs: number;
}

/** What is particular to one transfer. */
export interface TransferOptions {
  readonly mode: DataMode;
  /** Gives the transfer up, and with it the session where the command was sent. */
  readonly signal?: AbortSignal | undefined;
  /** Where in the file the transfer begins (REST, RFC 3659 section 5); 0 unless told. */
  readonly fromByte?: number | undefined;
}

/** What a transfer does with its data connection; `finish` comes after the final reply. */
export type Move<T> = (data: DataConnection) => Promise<{ value: T; finish: () => Promise<void> }>;

/** The commands that use a data connection (RFC 959 section 4.1.3, RFC 3659 section 7). */
export type TransferVerb = 'STOR' | 'APPE' | 'RETR' | 'MLSD' | 'LIST' | 'NLST';

/** What travels in one write with the command of a transfer. */
export interface Packet {
  readonly ahead: readonly Command[];
  readonly behind: readonly Command[];
  /** The port of a passive server, where it was asked for earlier. */
  readonly port: number | undefined;
  /** Hears the replies to all of it, in order, as promises. */
  readonly onSent: (replies: readonly Promise<Reply>[]) => void;
}

const ALONE: Packet = { ahead: [], behind: [], port: undefined, onSent: () => {} };

/** When the data connection breaks, the server's reply often says why: how long to wait for it. */
const EXPLANATION_WAIT_MS = 3_000;

/** Runs the transfers of one control connection, one at a time. */
export class Transfers {
  readonly #control: ControlConnection;
  readonly #answers: Answers;
  readonly #settings: TransferSettings;
  #newestTicket: Buffer | undefined;
  /** Whether the server may still hold an offset that a transfer before was to begin at. */
  #offset: 'none' | 'told' = 'none';

  /** @param answers of the same control connection */
  constructor(control: ControlConnection, answers: Answers, settings: TransferSettings) {
    this.#control = control;
    this.#answers = answers;
    this.#settings = settings;
  }

  /**
   * Runs one transfer to its end.
   *
   * @param goodbye `observed` where nothing but TLS's own goodbye tells a whole transfer from a cut one (listings)
   * @returns what `move` gave, and the final reply
   * @throws {FtpError} `argument` where nothing was sent; `reply` where the server refused; `unconfirmed` where all data went over and no reply came;
   *   else as the data connection. Errors of the source or sink pass through. After any error but a `reply`, once
   *   the command was sent, the control connection is ended. Settles only when source and sink have been left.
   */
  async run<T>(
    verb: TransferVerb,
    argument: string | undefined,
    options: TransferOptions,
    move: Move<T>,
    {
      packet = ALONE,
      goodbye = 'ignored',
    }: { readonly packet?: Packet; readonly goodbye?: 'observed' | 'ignored' } = {},
  ): Promise<{ value: T; reply: Reply }> {
    const control = this.#control;
    let marked = false;
    const command: Command = {
      verb,
      argument,
      phase: 'transfer',
      patience: 'transfer',
      onPreliminary: () => {
        marked = true;
      },
    };
    const fromByte = options.fromByte ?? 0;
    control.check(command);
    if (!Number.isSafeInteger(fromByte) || fromByte < 0) {
      throw new FtpError('argument', `No ${verb} to ${control.where} can begin at byte ${fromByte}.`, {
        phase: 'transfer',
        verb,
      });
    }
    this.unlessAborted(options.signal, verb);
    const route: Route =
      packet.port === undefined
        ? await this.#route(options.mode, options.signal)
        : { kind: 'passive', address: control.peerAddress, port: packet.port };
    const unused = (): void => {
      if (route.kind === 'active') route.listener.close();
    };
    try {
      await this.#restart(fromByte);
      this.unlessAborted(options.signal, verb);
    } catch (error) {
      unused();
      throw error;
    }
    const data = new DataConnection({
      host: this.#settings.host,
      route,
      flow: verb === 'STOR' || verb === 'APPE' ? 'out' : 'in',
      goodbye,
      connectTimeoutMs: this.#settings.connectTimeoutMs,
      stallTimeoutMs: this.#settings.stallTimeoutMs,
      deadlineMs: this.#settings.transferTimeoutMs,
      signal: options.signal,
      tls: control.isSecure
        ? {
            trust: this.#settings.trust,
            session: control.session ?? this.#newestTicket,
            onSession: (ticket) => {
              this.#newestTicket = ticket;
            },
          }
        : undefined,
    });
    const exchanges = control.exchanges([...packet.ahead, command, ...packet.behind]);
    const exchange = exchanges[packet.ahead.length];
    if (exchange === undefined) throw new Error('a transfer without its command');
    packet.onSent(exchanges.map(({ reply }) => reply));
    let sent = false;
    let moving: ReturnType<Move<T>> | undefined;
    let refusal: Reply | undefined;
    let broken: unknown;
    data.broken.catch((error: unknown) => {
      broken = error;
    });
    // A refusal ends the data connection at once; nothing of the source is sent in vain.
    const answered = exchange.reply.then(
      (reply) => {
        if (replyClass(reply) >= 4) {
          // What the server says of an end that this side made is no refusal.
          if (broken === undefined) refusal = reply;
          if (!sent) data.reset();
        }
        return reply;
      },
      (error: unknown) => {
        data.reset(error instanceof FtpError ? error : undefined);
        throw error;
      },
    );
    answered.catch(() => {});
    try {
      await Promise.race([data.open(), answered.then((reply) => this.#refused(reply, verb))]);
      moving = move(data);
      // The end of the data connection comes first: the source may be slow to hear of it, and the server is not.
      const moved = await Promise.race([
        moving,
        data.broken,
        answered.then((reply) => this.#refused(reply, verb)),
      ]);
      sent = true;
      exchange.dataEnded();
      const reply = await this.#finalReply(answered, verb);
      this.#answers.confirmed(reply, verb);
      await moved.finish();
      return { value: moved.value, reply };
    } catch (caught) {
      data.reset();
      // The caller may read its source anew, or close it: nobody else may be at it by then.
      const left = await moving?.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      // Where source or sink failed, the connection ended for it, and theirs is the better reason.
      const reason = caught === broken ? (left ?? caught) : caught;
      // In active mode it is the server that would have made the connection.
      const silent = !marked && (data.wasMade || route.kind === 'active');
      const error = silent ? unanswered(reason) : reason;
      if (error instanceof FtpError && (error.kind === 'reply' || error.kind === 'unconfirmed')) throw error;
      exchange.dataEnded();
      const explanation = refusal ?? (await this.#explanation(answered, error));
      if (explanation !== undefined) this.#answers.explained(explanation, verb);
      control.breakOff('a transfer on it failed');
      throw error;
    }
  }

  /**
   * The port in an answer to EPSV or PASV.
   *
   * @throws {FtpError} phase `data-setup`: `reply` for a refusal or where no port can be read, `malformed` for the
   *   answer to another command
   */
  portIn(answer: Reply, mode: 'EPSV' | 'PASV'): number {
    const reply = this.#answers.expect(answer, 2, 'data-setup', mode);
    this.#answers.exactly(reply, mode === 'EPSV' ? 229 : 227, 'data-setup', mode);
    const port = mode === 'EPSV' ? extendedPassivePort(reply) : passivePort(reply);
    if (port === undefined) {
      throw new FtpError(
        'reply',
        `${this.#control.where} answered ${mode} without a usable port: ${reply.code} ${this.#control.words(reply)}`,
        { phase: 'data-setup', verb: mode, reply: this.#control.censored(reply) },
      );
    }
    return port;
  }

  /** @throws {FtpError} kind `aborted` */
  unlessAborted(signal: AbortSignal | undefined, verb: string): void {
    if (signal?.aborted !== true) return;
    throw new FtpError('aborted', `The ${verb} to ${this.#control.where} was not wanted any more.`, {
      phase: 'transfer',
      verb,
    });
  }

  async #route(mode: DataMode, signal: AbortSignal | undefined): Promise<Route> {
    const control = this.#control;
    if (mode === 'EPSV' || mode === 'PASV') {
      const answer = await control.send({ verb: mode, phase: 'data-setup' });
      return { kind: 'passive', address: control.peerAddress, port: this.portIn(answer, mode) };
    }
    const listener = await ActiveListener.open({
      localAddress: control.localAddress,
      peerAddress: control.peerAddress,
      where: control.where,
      signal,
      ...this.#settings.active,
    });
    try {
      const argument = mode === 'EPRT' ? listener.eprt : listener.port;
      if (argument === undefined) {
        throw new FtpError('data', `PORT cannot tell ${control.where} an IPv6 address; EPRT can.`, {
          phase: 'data-setup',
          verb: mode,
        });
      }
      const reply = await control.send({ verb: mode, argument, phase: 'data-setup' });
      this.#answers.done(reply, 'data-setup', mode);
      return { kind: 'active', listener };
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  /**
   * REST by itself: sent together with the transfer, one that is refused would make it begin at 0. Behind any REST
   * comes `REST 0`: its own transfer may never have been sent, and some servers keep the offset even if it was.
   */
  async #restart(fromByte: number): Promise<void> {
    if (fromByte === 0 && this.#offset === 'none') return;
    const reply = await this.#control.send({
      verb: 'REST',
      argument: String(fromByte),
      phase: 'features',
    });
    if (fromByte === 0 && replyClass(reply) !== 3) {
      this.#control.breakOff('it would begin the next file in its middle');
    }
    this.#answers.expect(reply, 3, 'features', 'REST');
    this.#offset = fromByte === 0 ? 'none' : 'told';
  }

  /** Never resolves for a reply that lets the transfer go on; throws the refusal. */
  async #refused(reply: Reply, verb: string): Promise<never> {
    if (replyClass(reply) >= 4) throw this.#answers.unexpected(reply, 'transfer', verb);
    return new Promise<never>(() => {});
  }

  async #finalReply(answered: Promise<Reply>, verb: string): Promise<Reply> {
    try {
      return await answered;
    } catch (error) {
      throw new FtpError(
        'unconfirmed',
        `${this.#control.where} did not confirm the ${verb}: all data went over, and then ${error instanceof Error ? error.message : 'the connection ended'}`,
        { phase: 'transfer', verb, cause: error },
      );
    }
  }

  async #explanation(answered: Promise<Reply>, error: unknown): Promise<Reply | undefined> {
    // Under TLS the refused data connection shows as a handshake that failed.
    const dataSide = error instanceof FtpError && (error.kind === 'data' || error.kind === 'handshake');
    if (!dataSide) return undefined;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(
        () => resolve(undefined),
        Math.min(EXPLANATION_WAIT_MS, this.#settings.replyTimeoutMs),
      );
    });
    const reply = await Promise.race([answered.catch(() => undefined), late]);
    clearTimeout(timer);
    return reply;
  }
}

/** The same error, where time has run out on it, for a command to which the server has said nothing. */
function unanswered(error: unknown): unknown {
  if (!(error instanceof FtpError)) return error;
  const { kind, message, phase, verb, code, cause } = error;
  const late = kind === 'unconfirmed' ? cause instanceof FtpError && cause.kind === 'timeout' : true;
  if (!late || !['timeout', 'stalled', 'unconfirmed'].includes(kind)) return error;
  return new FtpError(kind, message, { phase, verb, code, cause, unanswered: true });
}
