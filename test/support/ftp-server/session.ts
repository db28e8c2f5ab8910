/*
 * One control connection: bytes to lines, lines to commands in order, replies with whatever faults fired, and the
 * end. RFC 959 section 5, RFC 2228 and 4217 for AUTH. What the commands do stands in commands.ts, what moves over data
 * connections in transfer.ts.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { type Handler, handlers } from './commands.js';
import { DataSetup } from './data.js';
import { type ByteString, type Disk, fromBytes, toBytes } from './disk.js';
import {
  type At,
  type Ending,
  type Faults,
  noFaults,
  type Occasion,
  type Phase,
  type Piece,
  type Script,
} from './fault.js';
import type { JournalBook, JournalCommand } from './journal.js';
import { allFacts } from './listing.js';
import type { Settings } from './settings.js';
import { Wire } from './wire.js';

const lineLimitBytes = 8192;

/** What all sessions of a server share. */
export interface Shared {
  readonly settings: Settings;
  readonly disk: Disk;
  readonly script: Script;
  readonly journal: JournalBook;
  /** Calls the listeners of a hook, one after the other, before anything else happens. */
  readonly commandHeard: (verb: string, argument: string, connection: number) => void;
  readonly replyHeard: (text: string, verb: string, connection: number) => void;
  /** Something in the server itself broke: kept, and thrown by `close()`. */
  readonly problem: (error: unknown) => void;
  /** Sessions that are open now, this one included. */
  readonly open: () => number;
}

/** A transfer that others (ABOR, the end of the session, a second EPSV) may have to stop. */
export interface RunningTransfer {
  /** True from the moment the data connection stands. */
  readonly flowing: boolean;
  /** Stops the bytes. `unanswered` also swallows the final reply. */
  stop(how: 'aborted' | 'unanswered'): void;
}

interface Line {
  readonly text: ByteString;
  readonly verb: string;
  readonly argument: ByteString;
  readonly entry: JournalCommand;
}

type Said = 'said' | 'replaced' | 'over';

/** One command (or the greeting) and the replies to it; the faults that fired for it strike here. */
export class Exchange {
  readonly verb: string;
  readonly faults: Faults;
  readonly #session: Session;
  readonly #entry: JournalCommand | undefined;
  #finalSaid = false;

  constructor(session: Session, verb: string, faults: Faults, entry: JournalCommand | undefined) {
    this.#session = session;
    this.verb = verb;
    this.faults = faults;
    this.#entry = entry;
  }

  /** A preliminary reply. False where the session ended or fell silent over it. */
  async mark(text: string | Uint8Array): Promise<boolean> {
    return (await this.#say(text, 'mark')) !== 'over';
  }

  /**
   * The final reply; a second one for the same command is not sent.
   *
   * @returns `replaced` where a fault stood in its place, `over` where the session ended or fell silent
   */
  async final(text: string | Uint8Array): Promise<Said> {
    if (this.#finalSaid) return 'replaced';
    this.#finalSaid = true;
    const said = await this.#say(text, 'final');
    if (said === 'over') return said;
    await this.strike('after');
    return this.#session.talking ? said : 'over';
  }

  /** A final reply whose text holds bytes of a path. */
  finalBytes(text: ByteString): Promise<Said> {
    return this.final(Buffer.from(text, 'latin1'));
  }

  /** Keeps the final reply back for good. */
  swallowFinal(): void {
    this.#finalSaid = true;
  }

  /** Carries out the faults of one point that stand in place of a reply. True where one did. */
  async strike(at: At): Promise<boolean> {
    const session = this.#session;
    const delay = this.faults.at('delay', at);
    if (delay !== undefined) await session.pause(delay.ms);
    for (const how of ['hang', 'reset', 'close'] as const) {
      if (this.faults.at(how, at) !== undefined) {
        session.finish(how);
        return true;
      }
    }
    const pieces = this.replacement(at);
    if (pieces === undefined) return false;
    if (at === 'start') this.#finalSaid = true;
    await this.#send(pieces);
    return true;
  }

  /** What stands in place of a reply at that point, if anything. */
  replacement(at: At): Piece[] | undefined {
    const reply = this.faults.at('reply', at);
    if (reply !== undefined) return [encode(reply.text)];
    const bytes = this.faults.at('bytes', at);
    if (bytes === undefined) return undefined;
    return isPieces(bytes.pieces) ? [...bytes.pieces] : [bytes.pieces];
  }

  async #say(text: string | Uint8Array, at: 'mark' | 'final'): Promise<Said> {
    const session = this.#session;
    if (!session.talking) return 'over';
    if (await this.strike(at)) return session.talking ? 'replaced' : 'over';
    if (!session.talking) return 'over';
    if (at === 'final' && this.faults.find('noFinalReply') !== undefined) return 'replaced';
    await this.#send(this.#shape(encode(text), at));
    const cut = this.#cut(at);
    if (cut !== undefined) session.finish(cut.ending);
    return session.talking ? 'said' : 'over';
  }

  #cut(at: 'mark' | 'final') {
    const cut = this.faults.find('cut');
    return cut !== undefined && (cut.of ?? 'final') === at ? cut : undefined;
  }

  /** The normal reply as the faults want it on the wire. */
  #shape(reply: Buffer, at: 'mark' | 'final'): Piece[] {
    let bytes = reply;
    const ending = this.faults.find('lineEnding');
    if (ending !== undefined) {
      bytes = Buffer.from(bytes.toString('latin1').replaceAll('\r\n', toBytes(ending.ending)), 'latin1');
    }
    const multiline = this.faults.find('multiline');
    if (multiline !== undefined) bytes = severalLines(multiline.lines, bytes);
    if (at === 'final' && this.faults.find('doubleFinal') !== undefined)
      bytes = Buffer.concat([bytes, bytes]);
    const before = this.faults.find('prepend');
    const behind = this.faults.find('inject');
    bytes = Buffer.concat([toBuffer(before?.bytes ?? ''), bytes, toBuffer(behind?.bytes ?? '')]);
    const cut = this.#cut(at);
    if (cut !== undefined) bytes = bytes.subarray(0, cut.atByte);
    const split = this.faults.find('split');
    return split === undefined ? [bytes] : tear(bytes, split.offsets, split.pauseMs ?? 2);
  }

  async #send(pieces: readonly Piece[]): Promise<void> {
    const session = this.#session;
    const text = Buffer.concat(pieces.map((piece) => (isPause(piece) ? Buffer.alloc(0) : toBuffer(piece))));
    const shown = fromBytes(text.toString('latin1')).replace(/\r?\n$/, '');
    session.shared.replyHeard(shown, this.verb, session.id);
    if (this.faults.find('holdBack') !== undefined) session.holdBack(text);
    else {
      for (const piece of pieces) {
        if (isPause(piece)) await session.pause(piece.pauseMs);
        else await session.write(toBuffer(piece));
      }
    }
    session.shared.journal.replied(this.#entry, shown);
  }
}

/** Where a session stands between two commands. */
export class Session {
  readonly id: number;
  readonly shared: Shared;
  readonly data: DataSetup;
  /** Resolves when the connection is gone and nothing of the session runs any more. */
  readonly done: Promise<void>;
  user: string | undefined;
  loggedIn = false;
  failedLogins = 0;
  directory: ByteString = '/';
  ascii = true;
  offset = 0;
  renameFrom: ByteString | undefined;
  bufferSizeGiven = false;
  protectedData = false;
  onlyExtendedPassive = false;
  facts: readonly string[] = allFacts;
  hash = 'SHA-256';
  transfer: RunningTransfer | undefined;
  readonly #wire: Wire;
  readonly #gone = new AbortController();
  readonly #ticketKeys = randomBytes(48);
  readonly #running = new Set<Promise<unknown>>();
  #tls: TlsServer | undefined;
  #secured = false;
  #silent = false;
  #leaving = false;
  #otherSideEnded = false;
  #queue: Line[] = [];
  #partial: ByteString = '';
  #packet = 0;
  #pumping = false;
  #started = false;
  #held = Buffer.alloc(0);
  #tear: { leftBytes: number; readonly pauseMs: number } | undefined;
  #commandsLeft = Number.POSITIVE_INFINITY;
  #commandsEnding: Ending = 'reset';
  #idle: NodeJS.Timeout | undefined;
  #closed: () => void = () => undefined;

  constructor(shared: Shared, raw: Socket, id: number) {
    this.shared = shared;
    this.id = id;
    this.done = new Promise((resolve) => {
      this.#closed = resolve;
    });
    this.#wire = new Wire(raw, {
      received: (chunk) => this.#received(chunk),
      ended: () => this.#ended(),
      closed: () => void this.#over(),
      limitReached: (how) => this.finish(how),
    });
    this.data = new DataSetup(shared.settings.host, (socket) => this.#dataAccepted(socket));
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** False once the session fell silent or its connection is ending. */
  get talking(): boolean {
    return !this.#silent && !this.#leaving && !this.#wire.gone;
  }

  get secured(): boolean {
    return this.#secured;
  }

  get remoteAddress(): string | undefined {
    return this.#wire.remoteAddress;
  }

  /** Greets and begins to take commands. */
  async start(): Promise<void> {
    const { settings, journal } = this.shared;
    journal.opened();
    const faults = this.meet('connect');
    this.arm(faults);
    const tooMany = this.shared.open() > settings.maxConnections && settings.tooManyAt === 'greeting';
    if (settings.security !== 'implicit') this.#wire.listen();
    else if (faults.at('hang', 'start') !== undefined) void this.#wire.ignore();
    if (await new Exchange(this, 'connect', faults, undefined).strike('start')) return;
    if (settings.security === 'implicit' && !(await this.secureControl())) return;
    if (!this.talking) return;
    const greetingFaults = this.meet('greeting');
    this.arm(greetingFaults);
    const greeting = new Exchange(this, 'greeting', greetingFaults, undefined);
    const replaced = await greeting.strike('start');
    if (!replaced) await greeting.final(tooMany ? settings.replies.tooMany : settings.replies.greeting);
    if (tooMany) this.finish('close');
    this.#started = true;
    this.#pump();
  }

  /** The faults due for a phase. */
  meet(phase: Phase): Faults {
    return this.shared.script.meet({
      name: phase,
      line: phase,
      argument: '',
      path: undefined,
      connection: this.id,
    });
  }

  /** Arms `dropAfter` and `tearAfter`. */
  arm(faults: Faults): void {
    const tear = faults.find('tearAfter');
    if (tear !== undefined) this.#tear = { leftBytes: tear.sentBytes, pauseMs: tear.pauseMs ?? 2 };
    const fault = faults.find('dropAfter');
    if (fault === undefined) return;
    const how = fault.how ?? 'reset';
    this.#commandsEnding = how;
    this.#commandsLeft = fault.commands ?? Number.POSITIVE_INFINITY;
    if (fault.sentBytes !== undefined || fault.receivedBytes !== undefined) {
      this.#wire.limit({ sentBytes: fault.sentBytes, receivedBytes: fault.receivedBytes, how });
    }
  }

  /** Leaves what arrives from now on to the handshake. */
  holdReading(): void {
    this.#wire.hold();
  }

  resumeReading(): void {
    this.#wire.listen();
  }

  /** TLS on the control connection; false where it did not come about, and the session is over then. */
  async secureControl(): Promise<boolean> {
    const faults = this.meet('tls');
    const pieces = new Exchange(this, 'tls', faults, undefined).replacement('start');
    if (faults.at('hang', 'start') !== undefined) void this.#wire.ignore();
    if (pieces !== undefined) {
      // In answer to the ClientHello, not behind the 234: that would be an injection, and has a fault of its own.
      await this.#wire.ignore();
      for (const piece of pieces) {
        if (isPause(piece)) await this.pause(piece.pauseMs);
        else await this.#wire.writeRaw(toBuffer(piece));
      }
      this.finish('hang');
      return false;
    }
    if (await new Exchange(this, 'tls', faults, undefined).strike('start')) return false;
    // Plaintext that came behind AUTH in the same packet must never be taken for a command of the secured session.
    this.#partial = '';
    this.#queue = [];
    try {
      await this.#wire.secure(this.tlsServer());
      this.#secured = true;
      return true;
    } catch {
      this.finish('close');
      return false;
    }
  }

  /**
   * The TLS side of this session. Its ticket keys are its own, so that a data connection can only resume a session
   * of this very control connection; `foreign` ones can resume nothing.
   */
  tlsServer(options: { readonly tickets: 'own' | 'foreign' } = { tickets: 'own' }): TlsServer {
    if (options.tickets === 'foreign') return this.#newTlsServer(randomBytes(48));
    this.#tls ??= this.#newTlsServer(this.#ticketKeys);
    return this.#tls;
  }

  /** Waits, but no longer than the session (or `also`) lives. */
  pause(ms: number, also?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const signals = also === undefined ? [this.gone] : [this.gone, also];
      const finish = (): void => {
        clearTimeout(timer);
        for (const signal of signals) signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = Number.isFinite(ms) ? setTimeout(finish, ms) : undefined;
      for (const signal of signals) signal.addEventListener('abort', finish);
      if (signals.some((signal) => signal.aborted)) finish();
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.talking) return;
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    const tear = this.#tear;
    if (tear === undefined || tear.leftBytes >= all.length) {
      if (tear !== undefined) tear.leftBytes -= all.length;
      await this.#wire.write(all);
      return;
    }
    this.#tear = undefined;
    await this.#wire.write(all.subarray(0, tear.leftBytes));
    await this.pause(tear.pauseMs);
    await this.#wire.write(all.subarray(tear.leftBytes));
  }

  /** Kept until the next write. */
  holdBack(bytes: Buffer): void {
    this.#held = Buffer.concat([this.#held, bytes]);
  }

  /** Words nobody asked for, at once. */
  async push(bytes: Uint8Array): Promise<void> {
    await this.write(bytes);
  }

  /** Ends the session, or lets it fall silent. */
  finish(how: Ending): void {
    if (how === 'hang') {
      this.#silent = true;
      if (this.#otherSideEnded) this.#wire.destroy();
      return;
    }
    if (this.#leaving) return;
    this.#leaving = true;
    this.transfer?.stop('unanswered');
    this.data.end(how);
    if (how === 'reset') this.#wire.reset();
    else this.#wire.close();
  }

  /** Leaves at once, whatever is going on. */
  destroy(): void {
    this.#leaving = true;
    this.transfer?.stop('unanswered');
    this.data.end('close');
    this.#wire.destroy();
  }

  /** Lets a transfer run beside the commands, as pyftpdlib does. */
  background(work: Promise<unknown>): void {
    const settled: Promise<unknown> = work
      .catch(this.shared.problem)
      .finally(() => this.#running.delete(settled));
    this.#running.add(settled);
  }

  #newTlsServer(ticketKeys: Buffer): TlsServer {
    const { settings } = this.shared;
    return createTlsServer({
      ...settings.certificate,
      ...(settings.clientCa === undefined
        ? {}
        : { ca: settings.clientCa, requestCert: true, rejectUnauthorized: true }),
      minVersion: settings.tlsVersions.min ?? 'TLSv1.2',
      maxVersion: settings.tlsVersions.max ?? 'TLSv1.3',
      ticketKeys,
      handshakeTimeout: 10_000,
    });
  }

  #dataAccepted(socket: Socket): boolean {
    this.shared.journal.count('dataConnections');
    const faults = this.meet('data');
    if (faults.at('reset', 'start') !== undefined) socket.resetAndDestroy();
    else if (faults.at('close', 'start') !== undefined) socket.destroy();
    else return faults.at('hang', 'start') === undefined;
    return false;
  }

  #received(chunk: Buffer): void {
    this.#packet += 1;
    clearTimeout(this.#idle);
    let text = this.#partial + chunk.toString('latin1');
    for (;;) {
      const end = text.indexOf('\n');
      if (end === -1) break;
      const taken = this.#take(text.slice(0, end).replace(/\r$/, ''));
      text = text.slice(end + 1);
      if (taken === 'rest dropped') text = '';
    }
    // A line over the limit is cut here; what is left of it is answered as the nonsense it is.
    this.#partial = text.slice(0, lineLimitBytes);
    this.#pump();
  }

  /** One line has arrived whole. */
  #take(raw: ByteString): 'queued' | 'rest dropped' {
    const { settings, journal } = this.shared;
    let text = raw.replace(/^(?:\xff[\xf2\xf4])+/, '');
    if (settings.telnet === 'interpreted') text = text.replaceAll('\xff\xff', '\xff');
    const space = text.indexOf(' ');
    const verb = (space === -1 ? text : text.slice(0, space)).toUpperCase();
    const argument = space === -1 ? '' : text.slice(space + 1);
    const entry = journal.received({
      connection: this.id,
      packet: this.#packet,
      verb,
      argument: fromBytes(argument),
    });
    const line: Line = { text, verb, argument, entry };
    if (this.transfer === undefined || this.#silent) {
      this.#queue.push(line);
      return 'queued';
    }
    if (verb === 'ABOR') {
      this.transfer.stop('aborted');
      this.#queue.push(line);
      return 'queued';
    }
    if (settings.pipelining === 'proftpd' && this.transfer.flowing) {
      this.#answerAside(line, '450 Transfer in progress; command ignored.');
      return 'queued';
    }
    if (settings.pipelining === 'pure-ftpd' && this.transfer.flowing) {
      this.#answerAside(line, '500 ?');
      return 'rest dropped';
    }
    this.#queue.push(line);
    return 'queued';
  }

  #answerAside(line: Line, text: string): void {
    this.background(new Exchange(this, line.verb, noFaults, line.entry).final(text));
  }

  #ended(): void {
    this.#otherSideEnded = true;
    if (this.#silent) this.#wire.destroy();
    else this.#pump();
  }

  /** Takes the queue's commands one after the other; only one pump runs at a time. */
  #pump(): void {
    if (this.#pumping || !this.#started) return;
    this.#pumping = true;
    const work = this.#work().finally(() => {
      this.#pumping = false;
      this.#running.delete(settled);
    });
    const settled = work.catch(this.shared.problem);
    this.#running.add(settled);
  }

  async #work(): Promise<void> {
    while (this.talking) {
      const line = this.#queue.shift();
      if (line === undefined) break;
      await this.#run(line);
      this.#commandsLeft -= 1;
      if (this.#commandsLeft <= 0) this.finish(this.#commandsEnding);
    }
    if (this.#otherSideEnded && this.transfer === undefined) this.#wire.close();
    const { idleMs, replies } = this.shared.settings;
    clearTimeout(this.#idle);
    if (idleMs > 0 && this.talking) {
      this.#idle = setTimeout(() => {
        void this.write(encode(replies.idle)).then(() => this.finish('close'));
      }, idleMs);
    }
  }

  async #run(line: Line): Promise<void> {
    const { shared } = this;
    const handler = handlers.get(line.verb);
    shared.commandHeard(line.verb, line.entry.argument, this.id);
    const faults = shared.script.meet(this.#occasion(line, handler));
    this.arm(faults);
    const exchange = new Exchange(this, line.verb, faults, line.entry);
    if (await exchange.strike('start')) {
      if (handler?.usesData === true) this.data.discard();
      return;
    }
    if (!this.talking) return;
    if (handler === undefined) await exchange.final(shared.settings.replies.unknownCommand);
    else if (handler.open !== true && !this.loggedIn)
      await exchange.final('530 Please login with USER and PASS.');
    else await handler.run(this, exchange, line.argument);
    // As vsftpd and ProFTPD have it: REST waits for the next transfer, whatever comes between.
    if (handler?.usesData === true) this.offset = 0;
    if (line.verb !== 'RNFR') this.renameFrom = undefined;
  }

  #occasion(line: Line, handler: Handler | undefined): Occasion {
    const path = handler?.path?.(line.argument);
    return {
      name: line.verb,
      line: fromBytes(line.text),
      argument: fromBytes(line.argument),
      path: path === undefined ? undefined : fromBytes(this.shared.disk.resolve(this.directory, path)),
      connection: this.id,
    };
  }

  async #over(): Promise<void> {
    clearTimeout(this.#idle);
    this.#leaving = true;
    this.#queue = [];
    this.transfer?.stop('unanswered');
    this.#gone.abort();
    this.data.end('close');
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.shared.journal.closed();
    this.#closed();
  }
}

/** Text of a reply as bytes: CRLF for `\n`, and at the end where it is missing. */
export function encode(text: string | Uint8Array): Buffer {
  if (typeof text !== 'string') return Buffer.concat([text, Buffer.from('\r\n')]);
  return Buffer.from(`${text.replace(/\r?\n$/, '').replace(/\r?\n/g, '\r\n')}\r\n`, 'utf8');
}

/** A reply whose last line is a whole reply; each of `lines` stands as it is, and must not be its end. */
function severalLines(lines: readonly string[], reply: Buffer): Buffer {
  const code = reply.toString('latin1', 0, 3);
  return Buffer.concat([Buffer.from([`${code}-`, ...lines, ''].join('\r\n'), 'utf8'), reply]);
}

function toBuffer(bytes: string | Uint8Array): Buffer {
  return typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : Buffer.from(bytes);
}

function isPieces(pieces: Piece | readonly Piece[]): pieces is readonly Piece[] {
  return Array.isArray(pieces);
}

function isPause(piece: Piece): piece is { readonly pauseMs: number } {
  return typeof piece !== 'string' && 'pauseMs' in piece;
}

function tear(bytes: Buffer, offsets: readonly number[] | 'every-byte', pauseMs: number): Piece[] {
  const cuts = offsets === 'every-byte' ? [...bytes.keys()].slice(1) : [...offsets].sort((a, b) => a - b);
  const pieces: Piece[] = [];
  let start = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut <= start) continue;
    if (start > 0) pieces.push({ pauseMs });
    pieces.push(bytes.subarray(start, cut));
    start = cut;
  }
  return pieces;
}
