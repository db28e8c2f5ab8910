/*
 * SSH connections, by ssh2 (library.ts): TCP or a channel through another server, handshake, host key,
 * login, and the channels that SFTP speaks on. Keeps watch over a peer that falls silent, and takes an ended connection
 * apart without leaving anything.
 *
 * Which algorithms are offered is algorithms.ts's to say, which host key is trusted host-key.ts's, with what somebody
 * logs in credentials.ts's, and which way comes next login.ts's. Starts no shell and no program.
 */
import type { Duplex } from 'node:stream';
import { SftpError, type SftpErrorKind, type SftpPhase } from '../errors.js';
import { printable } from '../printable.js';
import { ALGORITHMS, algorithmsOf, noCommon, offeredTypes } from './algorithms.js';
import { SshChannel } from './channel.js';
import {
  type Credentials,
  credentialsOf,
  keyOf,
  OneKeyAgent,
  type SshLogin,
  secretsOf,
  withoutSha1,
} from './credentials.js';
import { Hop } from './hop.js';
import { HostKeyJudge, type SshTrust } from './host-key.js';
import { fingerprintOf, HOST_KEY_TYPES, keyLabel, keyTypeOf, type PublicKey } from './known-hosts.js';
import { type AnyAuthMethod, Client, type ClientChannel } from './library.js';
import { Login } from './login.js';
import { connectTcp, systemCode, Wire } from './wire.js';

export type { SshLogin } from './credentials.js';
export type { SshTrust } from './host-key.js';

/** Where a server is, who logs in there, and how long things may take. */
export interface SshOptions {
  /** How people call the server: in messages and in `ferryd trust NAME`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** One object for all connections of an account: what is costly to find out (an encrypted key) is kept with it. */
  readonly login: SshLogin;
  /** As `login`: one object for all connections. */
  readonly trust: SshTrust;
  /** The server that the connection goes through. Its own timeouts, its signal and its `onWire` are not used. */
  readonly via: SshOptions | undefined;
  /** For TCP, key exchange and login together, at each hop. */
  readonly connectTimeoutMs: number;
  /** A peer that gives and takes nothing for so long, though it was asked, is lost. */
  readonly replyTimeoutMs: number;
  /** Hears what happens, without secrets. */
  readonly onWire?: ((line: string) => void) | undefined;
  /** Ends the opening at once. Once it is over, this does nothing any more. */
  readonly signal?: AbortSignal | undefined;
}

/** What a server shows to whoever asks. */
export interface ShownHostKeys {
  readonly where: string;
  readonly software: string;
  /** One for each type that it has and that is understood, the best first. */
  readonly keys: readonly PublicKey[];
}

/** What `close` takes at most. */
const CLOSE_MS = 5_000;

/** How often in `replyTimeoutMs` somebody looks whether the peer lives, and after how many silent looks it does not. */
const LOOKS = 8;
const SILENT_LOOKS = 7;
/** A peer behind a gate gets one look more, so that a gate that is gone is what is told. */
const SILENT_LOOKS_BEHIND = 8;

/** As large as OpenSSH's own packets may be. */
const MOST_PACKET_BYTES = 256 * 1024;

/** SSH_DISCONNECT_ codes (RFC 4253 section 11.1) that say something about the login, or about how many there are. */
const TOO_MANY_CONNECTIONS = 12;
const LOGIN_REASONS: readonly number[] = [13, 14, 15];

/** SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254 section 5.1). */
const PROHIBITED = 1;

/** Which type of key a pinned server has, where it is not the first: fingerprints do not tell. */
const PINNED_TYPES = new WeakMap<SshTrust, readonly string[]>();

/** One SSH connection, logged in. */
export class SshConnection {
  /** Host and port, and through which server, for messages. */
  readonly where: string;
  /** Why it ended. Never rejects. */
  readonly ended: Promise<SftpError>;
  readonly #options: SshOptions;
  readonly #gate: SshConnection | undefined;
  readonly #wire: Wire;
  readonly #client = new Client();
  readonly #channels = new Set<SshChannel>();
  readonly #resolveEnded: (error: SftpError) => void;
  #phase: SftpPhase = 'handshake';
  #over: SftpError | undefined;
  #watch: NodeJS.Timeout | undefined;
  #hostKey: PublicKey | undefined;
  #refusal: SftpError | undefined;
  #login: Login | undefined;
  #refused = 0;
  /** While it is opened, the gate is kept for another attempt. */
  #holds: 'nothing' | 'gate' = 'nothing';

  private constructor(parts: {
    readonly options: SshOptions;
    readonly where: string;
    readonly below: Duplex;
    readonly gate: SshConnection | undefined;
  }) {
    this.where = parts.where;
    this.#options = parts.options;
    this.#gate = parts.gate;
    let resolveEnded: (error: SftpError) => void = () => {};
    this.ended = new Promise((resolve) => {
      resolveEnded = resolve;
    });
    this.#resolveEnded = resolveEnded;
    this.#wire = new Wire(parts.below, this.where, () => this.#measure());
    this.#client
      .on('error', (error: Error) => this.#onError(error))
      .on('close', () => this.#onGone())
      .on('end', () => this.#onGone());
  }

  /**
   * Connects and logs in.
   *
   * @throws {SftpError} kind `network`, `handshake`, `host-key`, `authentication`, `timeout`, `lost`, `channel` or
   *   `aborted`. Code `TURNED-AWAY` where the server has too many connections, or none for this address for now;
   *   `KEY` and `AGENT` where there is nothing to log in with; `FORWARD` where a gate does not pass anything on.
   */
  static async open(options: SshOptions): Promise<SshConnection> {
    // Every hop's: what can be known beforehand is not found out at a server's cost.
    for (let hop: SshOptions | undefined = options; hop !== undefined; hop = hop.via) keyOf(hop);
    return overGate(options, (gate) => SshConnection.#openHop(options, gate));
  }

  /**
   * Reads all host keys that a server has, without logging in there; nobody's trust is asked for. What is on the way
   * there is trusted and logged in to as ever.
   *
   * @throws {SftpError} as `open`
   */
  static async hostKeys(options: SshOptions): Promise<ShownHostKeys> {
    for (let hop = options.via; hop !== undefined; hop = hop.via) keyOf(hop);
    return overGate(options, async (gate) => {
      const hop = new Hop(whereThrough(options, gate), options.connectTimeoutMs, options.signal);
      const keys: PublicKey[] = [];
      try {
        let types = HOST_KEY_TYPES;
        for (;;) {
          const connection = await SshConnection.#connect(options, hop, gate);
          const { where } = connection;
          try {
            await connection.#handshake(hop, types, undefined);
            if (connection.#hostKey !== undefined) keys.push(connection.#hostKey);
            const seen = keys.map((key) => keyTypeOf(key));
            types = offeredTypes(connection.#wire.offer).filter((type) => !seen.includes(type));
            if (types.length > 0) continue;
            const rank = (key: PublicKey): number => HOST_KEY_TYPES.indexOf(keyTypeOf(key) ?? '');
            keys.sort((one, other) => rank(one) - rank(other));
            return { where, software: connection.software, keys };
          } finally {
            await connection.#endProbe();
          }
        }
      } finally {
        hop.end();
        await gate?.close();
      }
    });
  }

  static async #openHop(options: SshOptions, gate: SshConnection | undefined): Promise<SshConnection> {
    const where = whereThrough(options, gate);
    const hop = new Hop(where, options.connectTimeoutMs, options.signal);
    gate?.ended.then((error) => hop.fail(onTheWay(options, error)));
    try {
      const judge = await HostKeyJudge.of({ ...options, where });
      const credentials = await credentialsOf({ ...options, where: whereOf(options) }, hop);
      const tried: string[] = [];
      let types = PINNED_TYPES.get(options.trust) ?? judge.types();
      let first: unknown;
      for (;;) {
        const connection = await SshConnection.#connect(options, hop, gate);
        try {
          await connection.#handshake(hop, types, { judge, credentials });
          connection.#holds = 'gate';
          connection.#keepWatch();
          if (tried.length > 0) PINNED_TYPES.set(options.trust, types);
          return connection;
        } catch (error) {
          connection.#end(asSftpError(error, hop.phase));
          // A server shows one key, and which of its keys is pinned is not known: it is asked for the others.
          first ??= error;
          const isRefused = error instanceof SftpError && error.kind === 'host-key';
          const offered = offeredTypes(connection.#wire.offer);
          const shown = types.find((type) => offered.includes(type));
          if (!judge.pinned || !isRefused || shown === undefined) throw first;
          tried.push(shown);
          const next = offered.find((type) => !tried.includes(type));
          if (next === undefined) throw first;
          types = [next, ...HOST_KEY_TYPES.filter((type) => type !== next)];
        }
      }
    } finally {
      hop.end();
    }
  }

  static async #connect(
    options: SshOptions,
    hop: Hop,
    gate: SshConnection | undefined,
  ): Promise<SshConnection> {
    const { host, port, connectTimeoutMs: timeoutMs } = options;
    const where = whereThrough(options, gate);
    hop.enter(gate === undefined ? 'connect' : 'forward');
    const below =
      gate === undefined
        ? await connectTcp({ host, port, where, timeoutMs }, hop.signal)
        : await gate.#forward(options, hop.signal);
    const connection = new SshConnection({ options, where, below, gate });
    connection.#trace(`connected to ${where}`);
    return connection;
  }

  /** The server's identification (`OpenSSH_9.2p1 Debian-2`), cleaned. */
  get software(): string {
    return this.#wire.software ?? '';
  }

  /** False once no channel can be opened any more. */
  get usable(): boolean {
    return this.#over === undefined;
  }

  /**
   * Opens a channel with the SFTP subsystem on it. Where the channel breaks, it is destroyed with an SftpError; an
   * 'error' that nobody hears harms nobody.
   *
   * @throws {SftpError} kind `channel` (code `CHANNEL`: no more sessions, `SUBSYSTEM`: no SFTP), `timeout`, `lost`
   */
  async openSftp(): Promise<Duplex> {
    const refused = (error: Error): SftpError => {
      const reason = 'reason' in error;
      const words = this.#wordsOf(error);
      return reason
        ? new SftpError(
            'channel',
            `${this.where} opens no more sessions on this connection${words}. It has to allow one (MaxSessions in sshd_config).`,
            {
              phase: 'session',
              code: 'CHANNEL',
            },
          )
        : new SftpError(
            'channel',
            `${this.where} has no SFTP for ${printable(this.#options.user)}: it refuses the subsystem. Is SFTP set up there (Subsystem sftp in sshd_config)?`,
            { phase: 'session', code: 'SUBSYSTEM' },
          );
    };
    const channel = await this.#channel('session', refused, (done) => this.#client.subsys('sftp', done));
    // It may have ended before anybody could hear of it.
    if (channel.errored !== null) throw channel.errored;
    return channel;
  }

  /** The way to a server behind this one. */
  async #forward(to: SshOptions, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted();
    const target = whereOf(to);
    const refused = (error: Error): SftpError => {
      const words = this.#wordsOf(error);
      return 'reason' in error && error.reason === PROHIBITED
        ? new SftpError(
            'channel',
            `${this.where} does not pass connections on${words}. It has to allow that (AllowTcpForwarding and PermitOpen in sshd_config).`,
            { phase: 'connect', code: 'FORWARD' },
          )
        : new SftpError('network', `${this.where} does not reach ${target}${words}.`, {
            phase: 'connect',
            code: 'UNREACHABLE',
          });
    };
    const opening = this.#channel('connect', refused, (done) =>
      this.#client.forwardOut('127.0.0.1', 0, to.host, to.port, done),
    );
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        reject(signal.reason);
        opening.then(
          (channel) => channel.destroy(),
          () => {},
        );
      };
      signal.addEventListener('abort', onAbort, { once: true });
      opening.finally(() => signal.removeEventListener('abort', onAbort)).then(resolve, reject);
    });
  }

  #channel(
    phase: SftpPhase,
    refused: (error: Error) => SftpError,
    open: (done: (error: Error | undefined, raw: ClientChannel) => void) => void,
  ): Promise<SshChannel> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      const { replyTimeoutMs } = this.#options;
      const timer = setTimeout(() => {
        const message = `${this.where} did not open a channel in ${replyTimeoutMs} ms.`;
        this.#end(new SftpError('timeout', message, { phase, code: 'ETIMEDOUT' }));
      }, replyTimeoutMs);
      // Where the connection ends, ssh2 does not answer in every case.
      this.ended.then((error) => {
        clearTimeout(timer);
        reject(error);
      });
      try {
        open((error, raw) => {
          clearTimeout(timer);
          if (error !== undefined) reject(this.#over ?? refused(error));
          else if (this.#over !== undefined) reject(this.#over);
          else this.#takeChannel(raw, resolve, reject);
        });
      } catch (error) {
        this.#end(lost(this.where, asSftpError(error, phase).message, phase));
      }
    });
  }

  #takeChannel(
    raw: ClientChannel,
    resolve: (channel: SshChannel) => void,
    reject: (error: SftpError) => void,
  ): void {
    const { outgoing } = raw;
    const limits = hasPacketSize(outgoing) ? outgoing : undefined;
    // ssh2 would write packets of no bytes for ever.
    if (limits === undefined || limits.packetSize < 1) {
      const message = `${this.where} opens a channel that nothing fits through.`;
      const error = new SftpError('malformed', message, { phase: 'session' });
      this.#end(error);
      reject(error);
      return;
    }
    limits.packetSize = Math.min(limits.packetSize, MOST_PACKET_BYTES);
    const channel = new SshChannel(raw, {
      where: this.where,
      wire: this.#wire,
      over: () => this.#over,
      secrets: secretsOf(this.#options.login),
    });
    this.#channels.add(channel);
    channel.once('close', () => this.#channels.delete(channel));
    resolve(channel);
  }

  /** Ends in good order, at the latest after 5 s; never throws. */
  async close(): Promise<void> {
    await this.#closeUntil(performance.now() + CLOSE_MS);
  }

  async #closeUntil(untilMs: number): Promise<void> {
    if (this.#over === undefined) {
      this.#trace('closing');
      const over = new SftpError('aborted', `The connection to ${this.where} was closed.`, {
        phase: 'session',
      });
      for (const channel of this.#channels) channel.destroy(over);
      this.#settle(over);
      this.#client.end();
    }
    const wire = this.#wire;
    if (!wire.closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => wire.cut(), Math.max(0, untilMs - performance.now()));
        wire.once('close', () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    if (this.#gate !== undefined) await this.#gate.#closeUntil(untilMs);
  }

  /** Ends a connection that was only made to see its key; the way there stays. */
  async #endProbe(): Promise<void> {
    this.#settle(
      new SftpError('aborted', `${this.where} was only asked for its key.`, { phase: 'handshake' }),
    );
    this.#client.end();
    this.#wire.cut();
    if (!this.#wire.closed) await new Promise((resolve) => this.#wire.once('close', resolve));
  }

  /** Ends at once. */
  reset(): void {
    this.#end(new SftpError('aborted', `The connection to ${this.where} was ended.`, { phase: this.#phase }));
  }

  /** Resolves once the login is over; without anybody to log in, once the handshake is. */
  async #handshake(
    hop: Hop,
    types: readonly string[],
    parts: { readonly judge: HostKeyJudge; readonly credentials: Credentials } | undefined,
  ): Promise<void> {
    hop.enter('handshake');
    const { user } = this.#options;
    const onAbort = (): void => this.#end(asSftpError(hop.signal.reason, hop.phase));
    hop.signal.addEventListener('abort', onAbort, { once: true });
    if (hop.signal.aborted) onAbort();
    const login = parts && new Login({ where: this.where, user, ...parts.credentials });
    this.#login = login;
    const done = new Promise<void>((resolve, reject) => {
      this.ended.then(reject);
      this.#client
        .on('handshake', ({ kex, serverHostKey, cs }) => {
          this.#trace(`algorithms: ${kex}, ${serverHostKey}, ${cs.cipher}`);
          if (this.#phase !== 'handshake') return;
          hop.enter('login');
          this.#phase = 'login';
          if (login === undefined) resolve();
        })
        .on('ready', () => {
          this.#phase = 'session';
          this.#trace('logged in');
          resolve();
        })
        .on('banner', (words) => {
          const said = this.#words(words);
          if (said !== '') this.#trace(`notice: ${said}`);
          if (said !== '') login?.remark(`The server says: ${said}`);
        })
        .on('change password', () => {
          const message = `The password of ${printable(user)} at ${this.where} has run out: the server asks for a new one. Log in there by hand and change it.`;
          this.#end(new SftpError('authentication', message, { phase: 'login', code: 'EXPIRED' }));
        });
    });
    done.catch(() => {});
    try {
      if (this.#over === undefined) this.#start(types, hop, parts);
      await done;
      if (this.#over !== undefined) throw this.#over;
    } finally {
      hop.signal.removeEventListener('abort', onAbort);
    }
  }

  #start(
    types: readonly string[],
    hop: Hop,
    parts: { readonly judge: HostKeyJudge; readonly credentials: Credentials } | undefined,
  ): void {
    const login = this.#login;
    this.#client.connect({
      sock: this.#wire,
      username: this.#options.user,
      ident: 'ferryd',
      readyTimeout: 0,
      keepaliveInterval: Math.max(50, Math.floor(this.#options.replyTimeoutMs / 4)),
      // Whether the peer lives is judged by what moves.
      keepaliveCountMax: Number.POSITIVE_INFINITY,
      algorithms: {
        kex: [...ALGORITHMS.kex],
        cipher: [...ALGORITHMS.cipher],
        hmac: [...ALGORITHMS.hmac],
        compress: [...ALGORITHMS.compress],
        serverHostKey: types.flatMap(algorithmsOf),
      },
      hostVerifier: (key: Buffer): boolean => this.#isTrusted(key, parts?.judge),
      authHandler: (offered: readonly string[] | null, _partial, next) => {
        if (parts === undefined || login === undefined) return;
        const step = this.#nextStep(login, offered, _partial, parts.credentials, hop.signal);
        if (step !== undefined) next(step);
      },
    });
  }

  #isTrusted(key: PublicKey, judge: HostKeyJudge | undefined): boolean {
    // Keys are exchanged again while the connection lasts; who is there must not change by that.
    if (this.#hostKey !== undefined) {
      if (this.#hostKey.equals(key)) return true;
      const message = `The host key of ${this.where} changed within the connection.`;
      this.#refusal = new SftpError('host-key', message, { phase: 'session', code: 'KEY-CHANGED' });
      return false;
    }
    this.#hostKey = Buffer.from(key);
    this.#trace(`host key: ${keyLabel(key)} ${fingerprintOf(key)}`);
    this.#refusal = judge?.refusal(key);
    return this.#refusal === undefined;
  }

  #nextStep(
    login: Login,
    offered: readonly string[] | null,
    partial: boolean,
    credentials: Credentials,
    signal: AbortSignal,
  ): AnyAuthMethod | undefined {
    if (this.#over !== undefined) return undefined;
    if (offered !== null)
      this.#trace(`login: the server offers ${offered.map((way) => printable(way)).join(', ')}`);
    if (login.steps > 1) this.#refused += 1;
    const step = login.next(offered ?? undefined, partial ? 'partial' : 'refused');
    if (step === undefined) {
      this.#end(new SftpError('authentication', login.refusal(), { phase: 'login' }));
      return undefined;
    }
    const username = this.#options.user;
    this.#trace(`login: ${step.kind === 'key' ? (credentials.keys[step.index]?.label ?? 'key') : step.kind}`);
    switch (step.kind) {
      case 'none':
        return { type: 'none', username };
      case 'password':
        return { type: 'password', username, password: credentials.password ?? '' };
      case 'questions':
        return {
          type: 'keyboard-interactive',
          username,
          prompt: (_name, _instructions, _language, prompts, finish) => {
            const answer = login.answer(prompts);
            if (answer.kind === 'answers') finish([...answer.answers]);
            else
              this.#end(
                new SftpError('authentication', answer.message, { phase: 'login', code: 'QUESTION' }),
              );
          },
        };
      case 'key': {
        const key = credentials.keys[step.index];
        if (key?.parsed !== undefined) return { type: 'publickey', username, key: withoutSha1(key.parsed) };
        const { agentSocket } = credentials;
        if (key?.agents !== undefined && agentSocket !== undefined) {
          const agent = new OneKeyAgent(key.agents, agentSocket, signal);
          return { type: 'agent', username, agent };
        }
        return undefined;
      }
    }
  }

  /** ssh2's errors. Some are only told on the way. */
  #onError(error: Error): void {
    const level = 'level' in error ? error.level : undefined;
    if (this.#refusal !== undefined) {
      this.#end(this.#refusal);
      return;
    }
    if (error instanceof SftpError && level !== 'agent') {
      const gates = this.#gate !== undefined && this.#gate.#over === error;
      this.#end(gates ? onTheWay(this.#options, error) : error);
      return;
    }
    // A key that cannot sign: ssh2 goes on with the next way.
    if (level === 'agent' || level === 'client-authentication') {
      this.#login?.remark(this.#words(error.message));
      return;
    }
    const reason = 'code' in error && typeof error.code === 'number' ? error.code : undefined;
    if (reason !== undefined) {
      this.#end(this.#disconnected(reason, this.#words(error.message)));
      return;
    }
    if (level === 'client-socket' || level === 'client-timeout') {
      const code = systemCode(error);
      const message = `The connection to ${this.where} broke (${code ?? this.#words(error.message)}).`;
      this.#end(new SftpError('lost', message, { phase: this.#phase, code, cause: error }));
      return;
    }
    this.#end(this.#protocolError(error));
  }

  /** Words of the server, safe to print. */
  #words(text: string): string {
    return printable(text, secretsOf(this.#options.login));
  }

  /** The reason why a channel was not opened: `: words` or nothing. */
  #wordsOf(error: Error): string {
    const words = this.#words(error.message.replace(/^\(SSH\) Channel open failure: /, ''));
    return words === '' || words === 'undefined' ? '' : `: ${words.replace(/\.$/, '')}`;
  }

  #protocolError(error: Error): SftpError {
    const words = this.#words(error.message).replace(/^Handshake failed: /, '');
    if (this.#phase !== 'handshake') {
      const message = `What ${this.where} sends is not in order: ${words}.`;
      return new SftpError('malformed', message, { phase: this.#phase, cause: error });
    }
    const common = /^no matching (.*?)(?: algorithm| format)?$/i.exec(words)?.[1];
    const message =
      common === undefined
        ? `The SSH handshake with ${this.where} failed: ${words}.`
        : noCommon(this.where, common, this.#wire.offer);
    return new SftpError('handshake', message, {
      phase: 'handshake',
      code: common === undefined ? undefined : 'ALGORITHMS',
      cause: error,
    });
  }

  /** The server said goodbye, and why. */
  #disconnected(reason: number, words: string): SftpError {
    const phase = this.#phase;
    const said = words === '' ? '' : `: ${words}`;
    const tooMany =
      reason === TOO_MANY_CONNECTIONS ||
      /too many (connections|sessions|logins)|not allowed at this time/i.test(words);
    if (tooMany)
      return new SftpError('lost', `${this.where} does not let more in${said}.`, {
        phase,
        code: 'TURNED-AWAY',
      });
    if (phase === 'login' && (LOGIN_REASONS.includes(reason) || /authentication/i.test(words))) {
      this.#login?.remark(`The server ended the connection${said}.`);
      return new SftpError('authentication', this.#login?.refusal() ?? words, { phase });
    }
    return new SftpError('lost', `${this.where} ended the connection${said}.`, { phase });
  }

  #onGone(): void {
    if (this.#over === undefined) this.#end(this.#whyGone());
  }

  #whyGone(): SftpError {
    const phase = this.#phase;
    if (this.#refusal !== undefined) return this.#refusal;
    const gate = this.#gate === undefined ? undefined : this.#gate.#over;
    if (gate !== undefined) return onTheWay(this.#options, gate);
    // Some servers hang up in place of a refusal; trying that again would lock the account.
    if (phase === 'login' && this.#refused > 0 && this.#login !== undefined) {
      this.#login.remark('Then the server closed the connection.');
      return new SftpError('authentication', this.#login.refusal(), { phase });
    }
    const during =
      phase === 'handshake' ? ' during the SSH handshake' : phase === 'login' ? ' during the login' : '';
    return new SftpError('lost', `${this.where} closed the connection${during}.`, { phase });
  }

  /** What comes in must fit the windows that were given. */
  #measure(): void {
    for (const channel of this.#channels) {
      if (!channel.overfull) continue;
      const message = `${this.where} sends more than it was allowed to.`;
      this.#end(new SftpError('malformed', message, { phase: this.#phase }));
      return;
    }
  }

  /** ssh2 asks the peer for a sign of life; here is looked whether one comes, or what is sent is taken. */
  #keepWatch(): void {
    const { replyTimeoutMs } = this.#options;
    const limit = this.#gate === undefined ? SILENT_LOOKS : SILENT_LOOKS_BEHIND;
    const wire = this.#wire;
    let received = wire.receivedBytes;
    let sent = wire.sentBytes;
    let silent = 0;
    // Looks are counted, not milliseconds: where this process stood still, the peer gets its time all the same.
    const look = (): void => {
      const lives = wire.receivedBytes !== received || (wire.backlogBytes > 0 && wire.sentBytes !== sent);
      received = wire.receivedBytes;
      sent = wire.sentBytes;
      silent = lives ? 0 : silent + 1;
      if (silent < limit) return;
      const message = `${this.where} has not been heard of for ${replyTimeoutMs} ms.`;
      this.#end(new SftpError('lost', message, { phase: 'session', code: 'ETIMEDOUT' }));
    };
    this.#watch = setInterval(look, Math.max(10, Math.floor(replyTimeoutMs / LOOKS)));
    if (this.#over !== undefined) clearInterval(this.#watch);
  }

  /** Ends the connection, and what it goes through: nobody else uses that. */
  #end(error: SftpError): void {
    if (this.#over === undefined) {
      this.#trace(`ended: ${error.message}`);
      this.#settle(error);
      for (const channel of this.#channels) channel.destroy(error);
    }
    this.#wire.cut();
    if (this.#holds === 'gate') this.#gate?.reset();
  }

  /** The one place where it is over. */
  #settle(error: SftpError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    clearInterval(this.#watch);
    this.#resolveEnded(error);
  }

  #trace(line: string): void {
    this.#options.onWire?.(line);
  }
}

/** Opens the way first, and ends it where what goes through it does not come about. */
async function overGate<T>(
  options: SshOptions,
  use: (gate: SshConnection | undefined) => Promise<T>,
): Promise<T> {
  const { via, connectTimeoutMs, replyTimeoutMs, signal, onWire } = options;
  if (via === undefined) return use(undefined);
  const trace = onWire && ((line: string): void => onWire(`${via.name}: ${line}`));
  let gate: SshConnection;
  try {
    gate = await SshConnection.open({ ...via, connectTimeoutMs, replyTimeoutMs, signal, onWire: trace });
  } catch (error) {
    throw onTheWay(options, asSftpError(error, 'connect'));
  }
  try {
    return await use(gate);
  } catch (error) {
    gate.reset();
    throw error;
  }
}

function hasPacketSize(value: unknown): value is { packetSize: number } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'packetSize' in value &&
    typeof value.packetSize === 'number'
  );
}

function lost(where: string, words: string, phase: SftpPhase): SftpError {
  return new SftpError('lost', `The connection to ${where} is gone (${words}).`, { phase });
}

function asSftpError(error: unknown, phase: SftpPhase): SftpError {
  if (error instanceof SftpError) return error;
  const kind: SftpErrorKind = 'lost';
  const words = error instanceof Error ? error.message : String(error);
  return new SftpError(kind, printable(words), { phase, cause: error });
}

/** An error of a server on the way, said as what it is to the one that wanted to go through it. */
function onTheWay(options: SshOptions, error: SftpError): SftpError {
  const { phase, code, cause } = error;
  const message = `The way to ${whereOf(options)} goes through ${options.via?.name ?? 'a gate'}. ${error.message}`;
  return new SftpError(error.kind, message, { phase, code, cause });
}

function whereOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function whereThrough(options: SshOptions, gate: SshConnection | undefined): string {
  return gate === undefined ? whereOf(options) : `${whereOf(options)} through ${gate.where}`;
}
