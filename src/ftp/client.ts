/*
 * The verbs of FTP (RFC 959, 2389, 3659, 4217) on one control connection: what a session can be asked to do.
 * Each verb sends, waits and reads; a reply of another class than the verb needs is thrown as FtpError with
 * the reply in it. Nothing is retried and no feature is assumed: the caller decides, and says which form of
 * a verb to use.
 *
 * Paths are sent as given; the caller makes them absolute, which spares CWD and the odd meanings of `~`.
 */
import { type Command, ControlConnection, type ControlOptions } from './control.js';
import { DataConnection } from './data.js';
import { FtpError, type Phase } from './errors.js';
import { type Features, formatTime, parseFeatures, parseTime, quotedPath } from './features.js';
import { type Listing, parseListing, parseMachineListing, showsItself } from './listing.js';
import { extendedPassivePort, passivePort } from './passive.js';
import { type Reply, replyClass } from './reply.js';
import type { TlsTrust } from './tls.js';

export type { ListedEntry, Listing } from './listing.js';
export type { Reply } from './reply.js';
export type { TlsTrust } from './tls.js';

export interface ClientOptions extends ControlOptions {
  readonly security: 'plain' | 'explicit' | 'implicit';
  readonly trust: TlsTrust;
  /** How long a data connection may move no byte. */
  readonly stallTimeoutMs: number;
}

export interface Login {
  readonly user: string;
  readonly password: string;
  /** For servers that answer 332. */
  readonly account: string | undefined;
}

/** How the port for a data connection is asked for: EPSV (RFC 2428) or PASV (RFC 959). */
export type PassiveForm = 'EPSV' | 'PASV';

/** How a modification time is set: MFMT, the setting form of MDTM (vsftpd), or SITE UTIME. */
export type SetTimeForm = 'MFMT' | 'MDTM' | 'SITE UTIME';

export interface TransferOptions {
  readonly passive: PassiveForm;
  readonly signal?: AbortSignal | undefined;
}

/** What became of one step of a convoy. */
export type Settled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/**
 * The last steps of earlier uploads, which travel in the packet of a later one. Each hears its own end, as soon
 * as its replies are there.
 */
export interface Convoy {
  /** Renames a file that is proven. */
  readonly publish?:
    | { readonly from: string; readonly to: string; readonly settled: (end: Settled<void>) => void }
    | undefined;
  /** Asks the size of a file that was sent, and sets its time; the reply to that comes whatever its code. */
  readonly prove?:
    | {
        readonly path: string;
        readonly modifiedMs: number;
        readonly form: SetTimeForm;
        readonly settled: (end: Settled<{ sizeBytes: number; timeReply: Reply }>) => void;
      }
    | undefined;
}

export interface ConvoyedTransfer extends TransferOptions {
  readonly convoy: Convoy;
  /** The port for the data connection, where it was asked for behind the transfer before. */
  readonly port: number | undefined;
  /**
   * `ask`: ask for the next port behind the STOR. The server finds it in its buffer when the transfer has ended;
   * one that reads it before that is out of step.
   */
  readonly nextPort: 'ask' | 'leave';
}

/** What a packet may hold to be sure to arrive in one piece; the port is then not asked for behind. */
const PACKET_LIMIT_BYTES = 1_200;

/** The body of one listing; a larger one is refused, since a server could send for ever. */
const LISTING_LIMIT_BYTES = 64 * 1024 * 1024;

/** What SIZE, PWD, a greeting and their like answer with, and no transfer ever does. */
const OF_OTHER_COMMANDS: readonly number[] = [211, 213, 214, 215, 220, 221, 227, 229, 230, 234, 257];

/** When the data connection breaks, the server's reply often says why: how long to wait for it. */
const EXPLANATION_WAIT_MS = 3_000;

/** What a transfer does with its data connection. */
type Move = (data: DataConnection) => Promise<{ bytes: number; finish: () => Promise<void> }>;

/** What travels in one write with the command of a transfer. */
interface Packet {
  readonly ahead: readonly Command[];
  readonly behind: readonly Command[];
  readonly port: number | undefined;
  /** Hears the replies to all of it, in order, as promises. */
  readonly onSent: (replies: readonly Promise<Reply>[]) => void;
}

export class FtpClient {
  readonly #control: ControlConnection;
  readonly #options: ClientOptions;
  #newestTicket: Buffer | undefined;

  private constructor(control: ControlConnection, options: ClientOptions) {
    this.#control = control;
    this.#options = options;
  }

  /**
   * Connects, reads the greeting and, where asked for, makes the connection secure: AUTH TLS, PBSZ 0, PROT P
   * before anything else, or TLS from the first byte.
   *
   * @throws {FtpError} with the phase `connect`, `greeting` or `tls`
   */
  static async connect(options: ClientOptions): Promise<FtpClient> {
    const control = await ControlConnection.connect(options);
    const client = new FtpClient(control, options);
    try {
      if (options.security === 'implicit') await control.secure(options.trust);
      client.#expect(await control.greeting(), [2], 'greeting', 'the greeting');
      if (options.security === 'explicit') {
        const auth = await control.send({
          verb: 'AUTH',
          argument: 'TLS',
          phase: 'tls',
          next: 'tls',
        });
        client.#expect(auth, [2], 'tls', 'AUTH TLS');
        await control.secure(options.trust);
      }
      if (options.security !== 'plain') {
        const [buffer, protection] = control.pipeline([
          { verb: 'PBSZ', argument: '0', phase: 'tls' },
          { verb: 'PROT', argument: 'P', phase: 'tls' },
        ]);
        client.#expect(await buffer, [2], 'tls', 'PBSZ');
        client.#expect(await protection, [2], 'tls', 'PROT P');
      }
      return client;
    } catch (error) {
      control.reset('the session could not be opened');
      throw error;
    }
  }

  /** Host and port, for messages. */
  get where(): string {
    return this.#control.where;
  }

  /** True once this client can send nothing more. */
  get ended(): boolean {
    return this.#control.ended;
  }

  /** True where the control connection runs over IPv6, where PASV cannot work. */
  get isIpv6(): boolean {
    return this.#control.family === 6;
  }

  /** USER, PASS, ACCT, each only where the server asks for it (230 may come after any of them). */
  async login(login: Login): Promise<void> {
    this.#control.hide(login.password);
    if (login.account !== undefined) this.#control.hide(login.account);
    let reply = await this.#control.send({
      verb: 'USER',
      argument: login.user,
      phase: 'login',
    });
    if (reply.code === 331) {
      reply = await this.#control.send({
        verb: 'PASS',
        argument: login.password,
        phase: 'login',
        secrecy: 'secret',
      });
    }
    if (reply.code === 332 && login.account !== undefined) {
      reply = await this.#control.send({
        verb: 'ACCT',
        argument: login.account,
        phase: 'login',
        secrecy: 'secret',
      });
    }
    this.#expect(reply, [2], 'login', 'the login');
  }

  /** FEAT. Throws a `reply` error of phase `features` where the server does not know it. */
  async features(): Promise<Features> {
    return parseFeatures(
      this.#expect(await this.#send('FEAT', undefined, 'features'), [2], 'features', 'FEAT'),
    );
  }

  /** OPTS UTF8 ON: some servers speak UTF-8 only after it. */
  async useUtf8(): Promise<void> {
    this.#expect(await this.#send('OPTS', 'UTF8 ON', 'features'), [2], 'features', 'OPTS UTF8');
  }

  /** TYPE I: bytes as they are. Must come before SIZE and every transfer. */
  async useBinary(): Promise<void> {
    this.#expect(await this.#send('TYPE', 'I'), [2], 'command', 'TYPE I');
  }

  /** PWD: the directory that the session is in, or undefined where the reply cannot be read. */
  async workingDirectory(): Promise<string | undefined> {
    return quotedPath(this.#expect(await this.#send('PWD'), [2], 'command', 'PWD'));
  }

  async changeDirectory(path: string): Promise<void> {
    this.#expect(await this.#send('CWD', path), [2], 'command', 'CWD');
  }

  /** SIZE (RFC 3659 section 4), in bytes. */
  async size(path: string): Promise<number> {
    return this.#sizeOf(await this.#send('SIZE', path));
  }

  /** MDTM (RFC 3659 section 3), in milliseconds since 1970 UTC. */
  async modified(path: string): Promise<number> {
    return this.#timeOf(await this.#send('MDTM', path));
  }

  /** MDTM for many files in one write; undefined where a file has no readable time. */
  async modifiedAll(paths: readonly string[]): Promise<(number | undefined)[]> {
    const replies = await Promise.all(
      this.#control.pipeline(paths.map((path) => ({ verb: 'MDTM', argument: path }))),
    );
    return replies.map((reply) =>
      replyClass(reply) >= 4 ? undefined : parseTime(this.#exactly(reply, 213, 'MDTM').slice(4)),
    );
  }

  /**
   * Asks the size and sets the modification time in one write.
   *
   * @returns the size in bytes, and the reply to the setting, whatever its code
   * @throws {FtpError} `reply` where the server does not tell the size
   */
  async sizeAndSetModified(
    path: string,
    modifiedMs: number,
    form: SetTimeForm,
  ): Promise<{ sizeBytes: number; timeReply: Reply }> {
    const [size, time] = this.#control.pipeline([
      { verb: 'SIZE', argument: path },
      setTimeCommand(path, modifiedMs, form),
    ]);
    const sizeReply = await size;
    const timeReply = await time;
    return { sizeBytes: this.#sizeOf(sizeReply), timeReply };
  }

  async setModified(path: string, modifiedMs: number, form: SetTimeForm): Promise<void> {
    const command = setTimeCommand(path, modifiedMs, form);
    this.#expect(await this.#control.send(command), [2], 'features', form);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#expect(await this.#send('MKD', path), [2], 'command', 'MKD');
  }

  async removeDirectory(path: string): Promise<void> {
    this.#expect(await this.#send('RMD', path), [2], 'command', 'RMD');
  }

  async remove(path: string): Promise<void> {
    this.#expect(await this.#send('DELE', path), [2], 'command', 'DELE');
  }

  /** RNFR and RNTO in one write: a refused RNFR makes RNTO fail too, with 503, and leaves the session in step. */
  async rename(from: string, to: string): Promise<void> {
    const [first, second] = this.#control.pipeline([
      { verb: 'RNFR', argument: from },
      { verb: 'RNTO', argument: to },
    ]);
    const rnfr = await first;
    const rnto = await second;
    this.#expect(rnfr, [3], 'command', 'RNFR');
    this.#expect(rnto, [2], 'command', 'RNTO');
  }

  /**
   * STOR: sends the source to a file. Done when the data has ended AND the final reply has come, in
   * whichever order.
   *
   * @returns the number of bytes sent
   * @throws {FtpError} `reply` where the server refused; `unconfirmed` where all was sent and no reply came;
   *   else as the data connection. Errors of the source pass through. After any error but a `reply`, once the
   *   command was sent, the control connection is ended. Settles only when the source has been left.
   */
  async store(path: string, source: AsyncIterable<Buffer>, options: TransferOptions): Promise<number> {
    return this.#transfer('STOR', path, options, sending(source));
  }

  /**
   * STOR in a convoy: the last steps of earlier uploads, this STOR and the question for the next port in one
   * packet, sent together with the SYN of the data connection: two round trips a file. Where the port is not
   * known, it is asked for together with the convoy: three.
   *
   * @returns the number of bytes sent, and the next port where it was asked for and told
   * @throws as `store`; the steps of the convoy have heard their own ends by then
   */
  async storeInConvoy(
    path: string,
    source: AsyncIterable<Buffer>,
    options: ConvoyedTransfer,
  ): Promise<{ bytes: number; nextPort: number | undefined }> {
    const { convoy } = options;
    const steps = convoyCommands(convoy);
    const behind: Command[] =
      options.nextPort === 'ask' && fitsPacket(steps, path) ? [{ verb: 'EPSV', phase: 'data-setup' }] : [];
    let { port } = options;
    let ahead = steps;
    let next: Promise<Reply> | undefined;
    try {
      this.#unlessAborted(options.signal, 'STOR');
      if (port === undefined) {
        ahead = [];
        port = await this.#portWithConvoy(convoy, options.passive);
      }
      const bytes = await this.#transfer('STOR', path, options, sending(source), () => {}, {
        ahead,
        behind,
        port,
        onSent: (replies) => {
          if (ahead.length > 0) this.#tellConvoy(convoy, replies.slice(0, ahead.length));
          if (behind.length > 0) next = replies.at(-1);
          ahead = [];
        },
      });
      const answer = await next?.catch(() => undefined);
      return { bytes, nextPort: answer === undefined ? undefined : extendedPassivePort(answer) };
    } catch (error) {
      // What never left has no reply to wait for.
      if (ahead.length > 0)
        this.#tellConvoy(
          convoy,
          ahead.map(() => Promise.reject(error)),
        );
      throw error;
    }
  }

  /**
   * Looks whether a path can travel in a command.
   *
   * @throws {FtpError} kind `argument`
   */
  checkPath(path: string): void {
    this.#control.check({ verb: 'STOR', argument: path, phase: 'transfer' });
  }

  /** A convoy by itself, in one write: nothing more is to be sent. */
  settle(convoy: Convoy): void {
    this.#tellConvoy(convoy, this.#control.pipeline(convoyCommands(convoy)));
  }

  /**
   * RETR: hands a file's bytes to the sink. The number of bytes is not checked here.
   *
   * @returns the number of bytes received
   * @throws as `store`
   */
  async retrieve(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    options: TransferOptions,
  ): Promise<number> {
    return this.#transfer('RETR', path, options, async (data) => ({
      bytes: await data.receive(sink),
      finish: async () => {},
    }));
  }

  /** MLSD of a directory. */
  async machineListing(path: string, options: TransferOptions): Promise<Listing> {
    const { body, complete } = await this.#listing('MLSD', path, options);
    return truncated(parseMachineListing(body), complete);
  }

  /**
   * LIST of the directory that the session is in, or of a path for servers where nobody knows how to come
   * back; hidden files with it (`-a`, and plainly where the server does not understand that).
   */
  async listing(options: TransferOptions, path?: string): Promise<Listing> {
    try {
      const all = await this.#listing('LIST', path === undefined ? '-a' : `-a ${path}`, options);
      if (showsItself(all.body)) return truncated(parseListing(all.body), all.complete);
    } catch (error) {
      // A server without the option looks for a file called `-a`.
      const code = error instanceof FtpError && error.kind === 'reply' ? error.reply?.code : undefined;
      if (code === undefined || (code < 500 && code !== 450)) throw error;
    }
    const plain = await this.#listing('LIST', path, options);
    return truncated(parseListing(plain.body), plain.complete);
  }

  /** QUIT, and close. */
  async quit(): Promise<void> {
    await this.#control.quit();
  }

  /** Ends the session at once. */
  reset(why: string): void {
    this.#control.reset(why);
  }

  async #portWithConvoy(convoy: Convoy, form: PassiveForm): Promise<number> {
    const steps = convoyCommands(convoy);
    const replies = this.#control.pipeline([...steps, { verb: form, phase: 'data-setup' } as const]);
    this.#tellConvoy(convoy, replies.slice(0, steps.length));
    const [answer] = replies.slice(steps.length);
    if (answer === undefined) throw new Error('a question without its answer');
    return this.#portOf(await answer, form);
  }

  /** Hands the replies of a convoy to its steps, in the order in which `convoyCommands` wrote them. */
  #tellConvoy(convoy: Convoy, replies: readonly Promise<Reply>[]): void {
    const { publish, prove } = convoy;
    const rest = [...replies];
    if (publish !== undefined) {
      const [rnfr, rnto] = rest.splice(0, 2);
      settled(this.#renamed(rnfr, rnto), publish.settled);
    }
    if (prove !== undefined) {
      const [size, time] = rest;
      settled(this.#proven(size, time), prove.settled);
    }
  }

  async #renamed(rnfr: Promise<Reply> | undefined, rnto: Promise<Reply> | undefined): Promise<void> {
    rnto?.catch(() => {});
    if (rnfr === undefined || rnto === undefined) return;
    const first = await rnfr;
    const second = await rnto;
    this.#expect(first, [3], 'command', 'RNFR');
    this.#expect(second, [2], 'command', 'RNTO');
  }

  async #proven(
    size: Promise<Reply> | undefined,
    time: Promise<Reply> | undefined,
  ): Promise<{ sizeBytes: number; timeReply: Reply }> {
    time?.catch(() => {});
    if (size === undefined || time === undefined) throw new Error('a convoy without its replies');
    const sizeReply = await size;
    const timeReply = await time;
    return { sizeBytes: this.#sizeOf(sizeReply), timeReply };
  }

  async #listing(
    verb: 'MLSD' | 'LIST',
    argument: string | undefined,
    options: TransferOptions,
  ): Promise<{ body: Buffer; complete: boolean }> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    let final: Reply | undefined;
    await this.#transfer(
      verb,
      argument,
      options,
      async (data) => ({
        bytes: await data.receive(async (chunk) => {
          sizeBytes += chunk.length;
          if (sizeBytes > LISTING_LIMIT_BYTES) {
            throw new FtpError(
              'malformed',
              `${this.where} sent a listing of over ${LISTING_LIMIT_BYTES} bytes.`,
              {
                phase: 'transfer',
                verb,
              },
            );
          }
          chunks.push(chunk);
        }),
        finish: async () => {},
      }),
      (reply) => {
        final = reply;
      },
    );
    // Pure-FTPd stops after 10,000 entries and says so only here.
    const complete = final === undefined || !/truncated/i.test(final.lines.join(' '));
    return { body: Buffer.concat(chunks), complete };
  }

  /**
   * One transfer: port, connection and command, data, final reply. The command goes out together with the
   * SYN of the data connection. When the data side breaks, the server's reply, if it comes soon, is the
   * better explanation and is thrown in its place.
   */
  async #transfer(
    verb: 'STOR' | 'RETR' | 'MLSD' | 'LIST',
    argument: string | undefined,
    options: TransferOptions,
    move: Move,
    onFinal: (reply: Reply) => void = () => {},
    packet: Packet = { ahead: [], behind: [], port: undefined, onSent: () => {} },
  ): Promise<number> {
    const control = this.#control;
    const command: Command = { verb, argument, phase: 'transfer', patience: 'transfer' };
    control.check(command);
    this.#unlessAborted(options.signal, verb);
    const port = packet.port ?? (await this.#passivePort(options.passive));
    this.#unlessAborted(options.signal, verb);
    const data = new DataConnection({
      host: this.#options.host,
      address: control.peerAddress,
      port,
      connectTimeoutMs: this.#options.connectTimeoutMs,
      stallTimeoutMs: this.#options.stallTimeoutMs,
      signal: options.signal,
      tls: control.isSecure
        ? {
            trust: this.#options.trust,
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
    let moving: ReturnType<Move> | undefined;
    let refusal: Reply | undefined;
    // A refusal ends the data connection at once; nothing of the source is sent in vain.
    const answered = exchange.reply.then(
      (reply) => {
        if (replyClass(reply) >= 4) {
          refusal = reply;
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
      const moved = await Promise.race([moving, answered.then((reply) => this.#refused(reply, verb))]);
      sent = true;
      exchange.dataEnded();
      const reply = await this.#finalReply(answered, verb);
      this.#confirmed(reply, verb);
      await moved.finish();
      onFinal(reply);
      return moved.bytes;
    } catch (error) {
      data.reset();
      // The caller may read its source anew, or close it: nobody else may be at it by then.
      await moving?.catch(() => {});
      if (error instanceof FtpError && (error.kind === 'reply' || error.kind === 'unconfirmed')) throw error;
      exchange.dataEnded();
      const reason = refusal ?? (await this.#explanation(answered, error));
      if (reason !== undefined) this.#explained(reason, verb);
      control.breakOff('a transfer on it failed');
      throw error;
    }
  }

  /** A data connection that broke, and the server's word on it: a refusal, or a sign that it is out of step. */
  #explained(reply: Reply, verb: string): void {
    if (replyClass(reply) >= 4) throw this.#unexpected(reply, 'transfer', verb);
    if (OF_OTHER_COMMANDS.includes(reply.code)) throw this.#outOfStep(reply, 'transfer', verb);
  }

  /** Never resolves for a reply that lets the transfer go on; throws the refusal. */
  async #refused(reply: Reply, verb: string): Promise<never> {
    if (replyClass(reply) >= 4) throw this.#unexpected(reply, 'transfer', verb);
    return new Promise<never>(() => {});
  }

  async #finalReply(answered: Promise<Reply>, verb: string): Promise<Reply> {
    try {
      return await answered;
    } catch (error) {
      throw new FtpError(
        'unconfirmed',
        `${this.where} did not confirm the ${verb}: all data went over, and then ${error instanceof Error ? error.message : 'the connection ended'}`,
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
        Math.min(EXPLANATION_WAIT_MS, this.#options.replyTimeoutMs),
      );
    });
    const reply = await Promise.race([answered.catch(() => undefined), late]);
    clearTimeout(timer);
    return reply;
  }

  async #passivePort(form: PassiveForm): Promise<number> {
    return this.#portOf(await this.#send(form, undefined, 'data-setup'), form);
  }

  #portOf(answer: Reply, form: PassiveForm): number {
    const code = form === 'EPSV' ? 229 : 227;
    const reply = this.#expect(answer, [2], 'data-setup', form);
    this.#exactly(reply, code, form, 'data-setup');
    const port = form === 'EPSV' ? extendedPassivePort(reply) : passivePort(reply);
    if (port === undefined) {
      throw new FtpError(
        'reply',
        `${this.where} answered ${form} without a usable port: ${reply.code} ${this.#control.words(reply)}`,
        { phase: 'data-setup', verb: form, reply: this.#control.censored(reply) },
      );
    }
    return port;
  }

  #send(verb: string, argument?: string, phase: Phase = 'command'): Promise<Reply> {
    return this.#control.send({ verb, argument, phase });
  }

  #sizeOf(reply: Reply): number {
    this.#expect(reply, [2], 'features', 'SIZE');
    const match = /^213 +(\d{1,15})\s*$/.exec(this.#exactly(reply, 213, 'SIZE'));
    if (match?.[1] === undefined) throw this.#unexpected(reply, 'features', 'SIZE');
    return Number(match[1]);
  }

  #timeOf(reply: Reply): number {
    this.#expect(reply, [2], 'features', 'MDTM');
    const time = parseTime(this.#exactly(reply, 213, 'MDTM').slice(4));
    if (time === undefined) throw this.#unexpected(reply, 'features', 'MDTM');
    return time;
  }

  #unlessAborted(signal: AbortSignal | undefined, verb: string): void {
    if (signal?.aborted !== true) return;
    throw new FtpError('aborted', `The ${verb} to ${this.where} was not wanted any more.`, {
      phase: 'transfer',
      verb,
    });
  }

  /**
   * A refusal (4yz, 5yz) is an error and no more. A consent of another class than the verb can have belongs to
   * another command, and then so would the next one's: the session ends. While it is being opened, where
   * answers such as 332 have their place, it is an error only.
   */
  #expect(reply: Reply, classes: readonly number[], phase: Phase, verb: string): Reply {
    const opening = phase === 'greeting' || phase === 'tls' || phase === 'login';
    // 202, "superfluous here", is how some servers say that they do not know a feature.
    const lacking = phase === 'features' && reply.code === 202;
    if (classes.includes(replyClass(reply)) && !lacking) return reply;
    if (replyClass(reply) >= 4 || opening || lacking) throw this.#unexpected(reply, phase, verb);
    throw this.#outOfStep(reply, phase, verb);
  }

  /** The first line of a reply that can only have this code; another one belongs to another command. */
  #exactly(reply: Reply, code: number, verb: string, phase: Phase = 'features'): string {
    if (reply.code !== code) throw this.#outOfStep(reply, phase, verb);
    return reply.lines[0] ?? '';
  }

  /** The final reply of a transfer: any 2yz (250 is common), but none that only another command can have. */
  #confirmed(reply: Reply, verb: string): void {
    this.#expect(reply, [2], 'transfer', verb);
    if (OF_OTHER_COMMANDS.includes(reply.code)) throw this.#outOfStep(reply, 'transfer', verb);
  }

  #unexpected(reply: Reply, phase: Phase, verb: string): FtpError {
    return new FtpError(
      'reply',
      `${this.where} answered ${verb} with ${reply.code} ${this.#control.words(reply)}`,
      { phase, verb, reply: this.#control.censored(reply) },
    );
  }

  #outOfStep(reply: Reply, phase: Phase, verb: string): FtpError {
    this.#control.breakOff('its replies are out of step');
    return new FtpError(
      'malformed',
      `${this.where} answered ${verb} with ${reply.code} ${this.#control.words(reply)}, which belongs to another command: replies are out of step.`,
      { phase, verb, reply: this.#control.censored(reply) },
    );
  }
}

function setTimeCommand(path: string, modifiedMs: number, form: SetTimeForm): Command {
  const time = formatTime(modifiedMs);
  return form === 'SITE UTIME'
    ? { verb: 'SITE', argument: `UTIME ${time} ${path}`, phase: 'features' }
    : { verb: form, argument: `${time} ${path}`, phase: 'features' };
}

function convoyCommands({ publish, prove }: Convoy): Command[] {
  return [
    ...(publish === undefined
      ? []
      : [
          { verb: 'RNFR', argument: publish.from },
          { verb: 'RNTO', argument: publish.to },
        ]),
    ...(prove === undefined
      ? []
      : [{ verb: 'SIZE', argument: prove.path }, setTimeCommand(prove.path, prove.modifiedMs, prove.form)]),
  ];
}

/** True where the packet surely arrives in one piece with a question for the next port at its end. */
function fitsPacket(steps: readonly Command[], path: string): boolean {
  const perCommandBytes = 12;
  const words = [...steps.map(({ argument = '' }) => argument), path];
  const sizeBytes = words.reduce((sum, text) => sum + Buffer.byteLength(text) + perCommandBytes, 0);
  return sizeBytes <= PACKET_LIMIT_BYTES;
}

/** Tells the end of a step, and lets no rejection escape. */
function settled<T>(work: Promise<T>, tell: (end: Settled<T>) => void): void {
  work.then(
    (value) => tell({ ok: true, value }),
    (error: unknown) => tell({ ok: false, error }),
  );
}

function sending(source: AsyncIterable<Buffer>): Move {
  return async (data) => {
    const bytes = await data.send(source);
    return { bytes, finish: () => data.closed() };
  };
}

function truncated(listing: Listing, complete: boolean): Listing {
  return complete ? listing : { ...listing, unreadable: listing.unreadable + 1 };
}
