/*
 * The control connection (RFC 959 section 5.4, RFC 4217 for TLS): commands out, replies in, matched in order.
 *
 * Several commands may travel in one write; their replies come back in the same order (pipelining), so each
 * command waits in a queue and the reply that completes belongs to the queue's head. A preliminary reply
 * (1yz) does not end the wait. Anything that does not fit (a reply nobody waits for, a malformed line, a
 * reply too late) ends the connection: being out of step is never repaired, because the next "226" would
 * then vouch for another file.
 *
 * Does not know what commands mean, and decides nothing about failures.
 */
import net from 'node:net';
import type tls from 'node:tls';
import { type Charset, UTF_8 } from './charset.js';
import { FtpError, type FtpErrorDetails, type FtpErrorKind, type Phase, systemCode } from './errors.js';
import { MalformedReply, printable, type Reply, ReplyParser, replyText } from './reply.js';
import { resetConnection } from './reset.js';
import { handshake, refusedIdentity, type TlsTrust } from './tls.js';

/** Where the server is, how long it may take, and how names are written there. */
export interface ControlOptions {
  readonly host: string;
  readonly port: number;
  readonly connectTimeoutMs: number;
  /** How long the server may take for one whole reply. */
  readonly replyTimeoutMs: number;
  /** How names are written on this server; UTF-8 unless told. */
  readonly charset?: Charset | undefined;
  /**
   * `doubled`: the server takes the byte 0xFF for the beginning of a Telnet command (RFC 959 section 4.1.1.2, as
   * ProFTPD does), so a name's own has to be sent twice. `once` unless told.
   */
  readonly telnetBytes?: 'once' | 'doubled' | undefined;
  /** Hears every line sent and received, passwords taken out. */
  readonly onWire?: ((line: string) => void) | undefined;
  /** Ends the connection at once. Meant for the opening: once it is over, this must not abort any more. */
  readonly signal?: AbortSignal | undefined;
}

/** One command, and how its reply is waited for. */
export interface Command {
  readonly verb: string;
  readonly argument?: string | undefined;
  readonly phase?: Phase;
  /** `secret` keeps the argument out of every trace. */
  readonly secrecy?: 'secret';
  /** `transfer`: the data connection owns the time until `dataEnded` is called. */
  readonly patience?: 'transfer';
  /** How much longer than any other reply this one may take. */
  readonly extraMs?: number;
  /** `tls`: where the server consents, nothing it sends behind its consent is read as a reply any more. */
  readonly next?: 'tls';
  readonly onPreliminary?: (reply: Reply) => void;
}

/** One command under way. */
export interface Exchange {
  /** The reply that ends the command, whatever its code. Rejects with FtpError when none can come. */
  readonly reply: Promise<Reply>;
  /** From now on the reply timer runs (again): the data connection has ended. */
  dataEnded(): void;
}

interface Waiting {
  readonly command: Command;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: FtpError) => void;
  patient: boolean;
}

/** One control connection, from the TCP connection to its end; a lost one is never made anew. */
export class ControlConnection {
  /** Host and port, for messages. */
  readonly where: string;
  readonly #options: ControlOptions;
  readonly #raw: net.Socket;
  #stream: net.Socket | tls.TLSSocket;
  readonly #parser: ReplyParser;
  readonly #waiting: Waiting[] = [];
  readonly #secrets: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #ended: FtpError | undefined;
  #secure: tls.TLSSocket | undefined;
  /** What came in this turn and is not read yet. */
  readonly #gathered: Buffer[] = [];
  #trust: TlsTrust | undefined;
  /** The newest one; asked of OpenSSL for each data connection, it would be written out anew each time. */
  #ticket: Buffer | undefined;
  /** `due`: the server has consented to TLS. `injected`: and then somebody sent more in the clear. */
  #consent: 'none' | 'due' | 'injected' = 'none';
  readonly #onAbort = (): void => this.reset('it was not wanted any more');

  private constructor(options: ControlOptions, raw: net.Socket) {
    this.where = whereOf(options);
    this.#options = options;
    this.#parser = new ReplyParser(options.charset ?? UTF_8);
    this.#raw = raw;
    this.#stream = raw;
    this.#listen(raw);
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /**
   * Opens the TCP connection; the greeting is not read yet, so that TLS may come first (implicit TLS).
   *
   * @throws {FtpError} kind `network`, `timeout` or `aborted`, phase `connect`
   */
  static async connect(options: ControlOptions): Promise<ControlConnection> {
    const where = whereOf(options);
    const { signal } = options;
    const given = (): FtpError =>
      new FtpError('aborted', `The connection to ${where} was not wanted any more.`, { phase: 'connect' });
    if (signal?.aborted === true) throw given();
    const raw = net.connect({
      host: options.host,
      port: options.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      // Where a name has several addresses, each gets its share: one that is dead must leave time for the next. Node's
      // own 250 ms for each is less than a round trip over a satellite.
      autoSelectFamilyAttemptTimeout: Math.max(250, Math.floor(options.connectTimeoutMs / 3)),
    });
    await new Promise<void>((resolve, reject) => {
      const fail = (error: FtpError): void => {
        settle();
        raw.on('error', () => {});
        raw.destroy();
        reject(error);
      };
      const onConnect = (): void => {
        settle();
        resolve();
      };
      const onError = (error: Error): void => fail(connectError(error, where));
      const onAbort = (): void => fail(given());
      const timer = setTimeout(() => {
        const message = `${where} did not answer in ${options.connectTimeoutMs} ms.`;
        fail(new FtpError('timeout', message, { phase: 'connect', code: 'ETIMEDOUT' }));
      }, options.connectTimeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        raw.off('connect', onConnect).off('error', onError);
      };
      raw.once('connect', onConnect).once('error', onError);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
    return new ControlConnection(options, raw);
  }

  /** The peer's address: where data connections go. */
  get peerAddress(): string {
    return this.#raw.remoteAddress ?? this.#options.host;
  }

  /** This side's address on the control connection: where data connections come in, in active mode. */
  get localAddress(): string {
    return this.#raw.localAddress ?? (this.family === 6 ? '::' : '0.0.0.0');
  }

  /** 6 where the control connection runs over IPv6. */
  get family(): 4 | 6 {
    return this.#raw.remoteFamily === 'IPv6' ? 6 : 4;
  }

  /** True once no more commands can be sent. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** True where TLS protects the control connection. */
  get isSecure(): boolean {
    return this.#secure !== undefined;
  }

  /** The TLS session that a data connection should resume. Asked late: TLS 1.3 tickets come after the handshake. */
  get session(): Buffer | undefined {
    this.#ticket ??= this.#secure?.getSession();
    return this.#ticket;
  }

  /** Waits for the reply that the server sends by itself at the beginning. */
  greeting(): Promise<Reply> {
    return this.#expect({ verb: 'greeting', phase: 'greeting' }).reply;
  }

  /** Sends one command and resolves with its final reply, whatever the code. */
  send(command: Command): Promise<Reply> {
    return this.exchange(command).reply;
  }

  /**
   * Looks whether a command can be sent at all, before anything is set up for it.
   *
   * @throws {FtpError} kind `argument`
   */
  check(command: Command): void {
    this.#bytesOf(command);
  }

  /** Sends one command whose wait the caller steers (transfers). */
  exchange(command: Command): Exchange {
    const line = this.#encode(command);
    const exchange = this.#expect(command);
    this.#write(line);
    return exchange;
  }

  /** Sends several commands in one write. The replies come in order, one promise each. */
  pipeline<const C extends readonly Command[]>(commands: C): { [K in keyof C]: Promise<Reply> } {
    return this.exchanges(commands).map(({ reply }) => reply) as { [K in keyof C]: Promise<Reply> };
  }

  /** Sends several commands in one write; the wait for each can be steered. */
  exchanges(commands: readonly Command[]): Exchange[] {
    const lines = commands.map((command) => this.#encode(command));
    const exchanges = commands.map((command) => this.#expect(command));
    this.#write(Buffer.concat(lines));
    return exchanges;
  }

  /**
   * Begins TLS on this connection: after a 234, or at once for implicit TLS.
   *
   * @throws {FtpError} kind `injected` where bytes lie behind the 234; else as the handshake
   */
  async secure(trust: TlsTrust): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#trust = trust;
    this.#unlisten(this.#raw);
    this.#raw.pause();
    const early = this.#parser.holdsBytes || this.#raw.readableLength > 0 || this.#consent === 'injected';
    if (early && this.#consent !== 'none') {
      throw this.#fail(
        'injected',
        `${this.where} sent bytes in the clear behind its consent to TLS: somebody may be in between.`,
        { phase: 'tls', verb: 'AUTH' },
      );
    }
    if (early) throw this.#fail('handshake', noTls(this.where), { phase: 'tls' });
    this.#consent = 'none';
    try {
      this.#secure = await handshake({
        socket: this.#raw,
        host: this.#options.host,
        trust,
        session: undefined,
        timeoutMs: this.#options.connectTimeoutMs,
        phase: 'tls',
        where: this.where,
        onSession: (session) => {
          this.#ticket = session;
        },
      });
    } catch (error) {
      if (error instanceof FtpError) this.#end(error);
      throw error;
    }
    this.#stream = this.#secure;
    this.#listen(this.#secure);
  }

  /** Words that must never be shown, also where a server echoes them. */
  hide(secret: string): void {
    if (secret.length > 0) this.#secrets.push(secret);
  }

  /** A reply's words, fit to print, secrets taken out. */
  words(reply: Reply): string {
    return replyText(this.censored(reply));
  }

  /** A reply for an error to carry: secrets taken out. Not for reading paths from. */
  censored(reply: Reply): Reply {
    // Before anything is shortened or trimmed, or half a secret would be left.
    return { code: reply.code, lines: reply.lines.map((line) => this.#censor(line)) };
  }

  /** Ends the connection at once (TCP reset) and rejects what waits. */
  reset(why: string): void {
    this.#fail('aborted', `The connection to ${this.where} was ended: ${why}.`, { phase: 'command' });
  }

  /** As `reset`, where it is the server's doing: what waits is lost, and not called off by us. */
  breakOff(why: string): void {
    this.#fail('lost', `The connection to ${this.where} was broken off: ${why}.`, { phase: 'command' });
  }

  #listen(stream: net.Socket | tls.TLSSocket): void {
    stream
      .on('data', this.#onData)
      .on('error', this.#onError)
      .on('end', this.#onGone)
      .on('close', this.#onGone);
    stream.resume();
  }

  #unlisten(stream: net.Socket | tls.TLSSocket): void {
    stream
      .off('data', this.#onData)
      .off('error', this.#onError)
      .off('end', this.#onGone)
      .off('close', this.#onGone);
    stream.on('error', () => {});
  }

  /**
   * Under TLS the records of one packet come one by one, and what waits for the first would go on before the second is
   * there. Servers that send a reply twice are common enough: so what comes in one turn is taken together.
   */
  readonly #onData = (chunk: Buffer): void => {
    if (this.#secure === undefined) {
      this.#receive(chunk);
      return;
    }
    if (this.#gathered.length === 0) setImmediate(this.#onGathered);
    this.#gathered.push(chunk);
  };

  readonly #onGathered = (): void => {
    for (const chunk of this.#gathered.splice(0)) if (this.#ended === undefined) this.#receive(chunk);
  };

  readonly #onError = (error: Error): void => {
    this.#onGathered();
    // Under TLS 1.3 the server judges our certificate behind the handshake.
    const trust = this.#trust;
    const refused = trust && refusedIdentity(error, this.where, 'tls', trust);
    if (refused !== undefined) {
      this.#end(refused);
      return;
    }
    this.#fail('lost', `The connection to ${this.where} broke (${systemCode(error) ?? error.message}).`, {
      phase: this.#phase(),
      verb: this.#waiting[0]?.command.verb,
      code: systemCode(error),
      cause: error,
    });
  };

  readonly #onGone = (): void => {
    this.#onGathered();
    this.#fail('lost', `${this.where} closed the connection.`, {
      phase: this.#phase(),
      verb: this.#waiting[0]?.command.verb,
    });
  };

  #phase(): Phase {
    return this.#waiting[0]?.command.phase ?? 'command';
  }

  #receive(chunk: Buffer): void {
    if (this.#consent !== 'none') {
      this.#consent = 'injected';
      return;
    }
    const phase = this.#phase();
    try {
      for (const reply of this.#parser.push(chunk)) {
        this.#dispatch(reply);
        // What lies behind a consent to TLS stays in the parser, where `secure` finds it.
        if (this.#ended !== undefined || this.#consent !== 'none') return;
      }
    } catch (error) {
      if (!(error instanceof MalformedReply)) throw error;
      const what = phase === 'greeting' ? (otherProtocol(chunk) ?? error.message) : error.message;
      this.#fail('malformed', `${this.where} does not answer like an FTP server: ${what}.`, {
        phase,
        verb: this.#waiting[0]?.command.verb,
      });
    }
  }

  #dispatch(reply: Reply): void {
    this.#options.onWire?.(`< ${reply.code} ${this.words(reply)}`);
    const head = this.#waiting[0];
    if (head === undefined) {
      // A second 2yz for one command happens, and so does a 150 behind the 226: both are harmless, since
      // nothing waits that they could vouch for. Servers say 421 when they hang up an idle client.
      if (reply.code < 300) return;
      const kind = reply.code === 421 ? 'lost' : 'malformed';
      const what = kind === 'lost' ? 'ended the session' : 'sent a reply that belongs to no command';
      this.#fail(kind, `${this.where} ${what}: ${reply.code} ${this.words(reply)}`, {
        phase: 'command',
        reply: this.censored(reply),
      });
      return;
    }
    // A 120 greeting is "wait": the 220 follows within the reply deadline.
    if (reply.code < 200) {
      head.command.onPreliminary?.(reply);
      return;
    }
    this.#waiting.shift();
    this.#arm();
    if (head.command.next === 'tls' && reply.code < 300) this.#consent = 'due';
    head.resolve(reply);
    if (reply.code === 421) {
      this.#fail('lost', `${this.where} ended the session: 421 ${this.words(reply)}`, {
        phase: head.command.phase ?? 'command',
        verb: head.command.verb,
        reply: this.censored(reply),
      });
    }
  }

  #expect(command: Command): Exchange {
    let waiting: Waiting | undefined;
    const reply = new Promise<Reply>((resolve, reject) => {
      waiting = {
        command,
        resolve,
        reject,
        patient: command.patience === 'transfer',
      };
      if (this.#ended !== undefined) reject(this.#ended);
      else this.#waiting.push(waiting);
    });
    // In a pipeline the first failure is the one that is awaited; the others must not crash the process.
    reply.catch(() => {});
    this.#arm();
    return {
      reply,
      dataEnded: () => {
        if (waiting === undefined) return;
        waiting.patient = false;
        this.#arm();
      },
    };
  }

  /** One timer for the queue's head; it restarts whenever another command becomes the head. */
  #arm(): void {
    clearTimeout(this.#timer);
    const head = this.#waiting[0];
    if (head === undefined || head.patient || this.#ended !== undefined) return;
    const waitMs = this.#options.replyTimeoutMs + (head.command.extraMs ?? 0);
    this.#timer = setTimeout(() => {
      this.#fail('timeout', `${this.where} did not answer ${head.command.verb} in ${waitMs} ms.`, {
        phase: head.command.phase ?? 'command',
        verb: head.command.verb,
      });
    }, waitMs);
  }

  /** The one place where text becomes a command: nothing that could end the line early passes. */
  #encode(command: Command): Buffer {
    const bytes = this.#bytesOf(command);
    // What is not sent is not traced.
    if (this.#ended !== undefined) return bytes;
    const line = lineOf(command);
    if (command.secrecy === 'secret') this.#options.onWire?.(`> ${command.verb} ****`);
    else this.#options.onWire?.(`> ${printable(this.#censor(line))}`);
    return bytes;
  }

  #bytesOf(command: Command): Buffer {
    const refuse = (what: string, advice = ''): FtpError =>
      new FtpError('argument', `${what} cannot be sent to ${this.where}.${advice}`, {
        phase: command.phase ?? 'command',
        verb: command.verb,
      });
    const charset = this.#options.charset ?? UTF_8;
    // `PASS ` is how no password is told; a path or an option of no characters is a mistake that some servers make up for.
    if (command.argument === '' && command.secrecy !== 'secret') throw refuse('An empty name');
    const encoded = charset.encode(lineOf(command));
    if (encoded === undefined) {
      throw refuse(
        `A name with characters that its charset (${charset.label}) does not have`,
        ' Rename it, or set the charset in which this server has its names.',
      );
    }
    // Looked for after encoding: what ends a line is a byte.
    if (encoded.includes(0x0d) || encoded.includes(0x0a) || encoded.includes(0)) {
      throw refuse('A name with a line break or NUL in it');
    }
    const line = this.#options.telnetBytes === 'doubled' ? doubled(encoded) : encoded;
    return Buffer.concat([line, Buffer.from('\r\n')]);
  }

  #write(bytes: Buffer): void {
    if (this.#ended === undefined) this.#stream.write(bytes);
  }

  #censor(text: string): string {
    return this.#secrets.reduce((shown, secret) => shown.replaceAll(secret, '****'), text);
  }

  #fail(kind: FtpErrorKind, message: string, details: FtpErrorDetails): FtpError {
    const error = new FtpError(kind, this.#censor(message), details);
    this.#end(error);
    return error;
  }

  /** The only place where the connection ends. */
  #end(error: FtpError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    clearTimeout(this.#timer);
    this.#unlisten(this.#stream);
    // A reset, not a FIN: a server that still holds an unfinished upload must not take it for complete.
    resetConnection(this.#raw, this.#secure);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  /** Says goodbye and closes; resolves when the socket is closed, at the latest after a second. */
  async quit(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#options.onWire?.('> QUIT');
    const closed = new Promise<void>((resolve) => this.#raw.once('close', () => resolve()));
    const timer = setTimeout(() => this.#raw.destroy(), 1_000);
    this.#ended = new FtpError('aborted', `The connection to ${this.where} was closed.`, {
      phase: 'command',
    });
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    clearTimeout(this.#timer);
    this.#unlisten(this.#stream);
    this.#stream.resume();
    this.#stream.end('QUIT\r\n');
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#ended);
    await closed;
    clearTimeout(timer);
  }
}

function whereOf(options: { readonly host: string; readonly port: number }): string {
  return `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
}

/** The byte 0xFF twice wherever it stands: Telnet's way to mean itself (RFC 854). */
function doubled(bytes: Buffer): Buffer {
  if (!bytes.includes(0xff)) return bytes;
  return Buffer.from([...bytes].flatMap((byte) => (byte === 0xff ? [byte, byte] : [byte])));
}

function lineOf(command: Command): string {
  return command.argument === undefined ? command.verb : `${command.verb} ${command.argument}`;
}

function noTls(where: string): string {
  return `${where} speaks before the TLS handshake, so TLS is not on from the first byte there. Write ftpes:// for a server that switches to TLS when asked.`;
}

/** What speaks in an FTP server's place, told by its first bytes; fixed words, nothing of the bytes themselves. */
function otherProtocol(greeting: Buffer): string | undefined {
  const text = greeting.toString('latin1');
  if (text.startsWith('SSH-')) return 'an SSH server answers there, which serves SFTP and not FTP';
  if (/^(HTTP\/|<!doctype|<html)/i.test(text)) return 'a web server (HTTP) answers there';
  if (/^[\x15\x16]\x03[\0-\x04]/.test(text))
    return 'it speaks TLS from the first byte, which ftps:// in place of ftpes:// or ftp:// asks for';
  return undefined;
}

function connectError(error: Error, where: string): FtpError {
  const code = codeOf(error);
  return new FtpError(
    'network',
    sentenceOf(code, where) ?? `${where} cannot be reached (${code ?? error.message}).`,
    {
      phase: 'connect',
      code,
      cause: error,
    },
  );
}

function sentenceOf(code: string | undefined, where: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return `${where} refuses connections. Is the FTP service running, and is this its port?`;
    case 'ENOTFOUND':
      return `There is no server of the name in ${where}. Is it spelt right?`;
    case 'EAI_AGAIN':
      return `The name in ${where} cannot be looked up for now (EAI_AGAIN). Is the network up, and does the resolver answer?`;
    default:
      return undefined;
  }
}

/** Where a name has several addresses and none of them answered as it should: the one that was there says most. */
function codeOf(error: Error): string | undefined {
  const codes = error instanceof AggregateError ? error.errors.map(systemCode) : [];
  return codes.find((code) => code === 'ECONNREFUSED') ?? systemCode(error) ?? codes[0];
}
