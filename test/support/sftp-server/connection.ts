/*
 * One TCP connection to the scripted SFTP server: the login by whatever methods the settings ask for, channels, and
 * every way to end. SSH itself is ssh2's; SFTP is session.ts'.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import ssh2, {
  type AuthContext,
  type KeyboardAuthContext,
  type PublicKeyAuthContext,
  type ServerChannel,
  type Session,
  type Connection as SshConnection,
} from 'ssh2';
import { lastWords } from '../ftp-server/wire.js';
import type { Ending, Faults, Phase } from './fault.js';
import { noFaults } from './fault.js';
import { type Carrier, SftpSession, type Shared } from './session.js';
import type { Account, AuthMethod } from './settings.js';

/** RFC 4253 section 11.1: SSH_DISCONNECT_TOO_MANY_CONNECTIONS. */
const tooManyConnections = 12;
/** RFC 4253 section 11.1: SSH_DISCONNECT_PROTOCOL_ERROR, as OpenSSH says it of too many attempts. */
const protocolError = 2;

export class Connection implements Carrier {
  readonly id: number;
  /** Resolves when the socket is gone. */
  readonly done: Promise<void>;
  readonly #shared: Shared;
  readonly #socket: Socket;
  readonly #gone = new AbortController();
  readonly #sessions = new Set<SftpSession>();
  #ssh: SshConnection | undefined;
  #silent = false;
  #leaving = false;
  #handshakes = 0;
  #failed = 0;
  #passed: AuthMethod[] = [];
  /** Channels that are open now, and SFTP sessions there ever were. */
  #count = 0;
  #sessionsEver = 0;
  #requestsLeft = Number.POSITIVE_INFINITY;
  #requestsEnding: Ending = 'reset';

  constructor(shared: Shared, socket: Socket, id: number) {
    this.#shared = shared;
    this.#socket = socket;
    this.id = id;
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    shared.journal.connected();
    this.done = new Promise((resolve) => {
      socket.once('close', () => {
        this.#leaving = true;
        this.#gone.abort();
        shared.journal.disconnected();
        resolve();
      });
    });
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get talking(): boolean {
    return !this.#silent && !this.#leaving;
  }

  get sessions(): readonly SftpSession[] {
    return [...this.#sessions];
  }

  /** The faults due for a phase. */
  meet(phase: Phase, path?: string): Faults {
    const faults = this.#shared.script.meet({ name: phase, path, connection: this.id });
    this.arm(faults);
    return faults;
  }

  /** False where the connection is over before SSH begins. */
  async begin(): Promise<boolean> {
    const { settings } = this.#shared;
    if (this.#shared.open() > settings.maxConnections && settings.tooManyAt === 'connect') {
      this.finish('close');
      return false;
    }
    const faults = this.meet('connect');
    const delay = faults.at('delay', 'start');
    if (delay !== undefined) await this.#pause(delay.ms);
    const bytes = faults.at('bytes', 'start');
    if (bytes !== undefined) this.#socket.write(bytes.bytes);
    const end = faults.at('end', 'start');
    if (end !== undefined) {
      this.finish(end.how);
      return false;
    }
    return bytes === undefined && this.talking;
  }

  /** ssh2 has read the client's identification. */
  take(ssh: SshConnection): void {
    this.#ssh = ssh;
    ssh.on('error', () => undefined);
    ssh.on('handshake', () => {
      this.#handshakes += 1;
      if (this.#handshakes > 1) this.#shared.journal.count('rekeys');
    });
    ssh.on('authentication', (context) => void this.#login(context).catch(this.#shared.problem));
    ssh.on('ready', () => {
      const { settings } = this.#shared;
      if (settings.tooManyAt === 'login' && this.#shared.open() > settings.maxConnections)
        this.#disconnect(tooManyConnections);
    });
    ssh.on('session', (accept, reject) => {
      void this.#session(accept, reject).catch(this.#shared.problem);
    });
    ssh.on('tcpip', (accept, reject, { destIP, destPort }) => {
      const refused =
        this.#shared.settings.forwarding === 'refused' || this.meet('forward').find('refuse') !== undefined;
      if (refused) reject();
      else this.#forward(accept, reject, { host: destIP, port: destPort });
    });
  }

  finish(how: Ending): void {
    if (how === 'channel') {
      for (const session of this.#sessions) session.finish('channel');
      return;
    }
    if (how === 'hang') {
      for (const session of this.#sessions) session.finish('hang');
      return;
    }
    if (how === 'mute') {
      this.#mute();
      return;
    }
    if (this.#leaving) return;
    this.#leaving = true;
    if (how === 'close') lastWords(this.#socket, this.#socket);
    else if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
  }

  /** Leaves at once, whatever is going on. */
  destroy(): void {
    this.#leaving = true;
    this.#socket.destroy();
  }

  arm(faults: Faults): void {
    const fault = faults.find('dropAfter');
    if (fault === undefined) return;
    const { how = 'reset', requests, sentBytes, receivedBytes } = fault;
    this.#requestsEnding = how;
    if (requests !== undefined) this.#requestsLeft = requests;
    if (sentBytes !== undefined) this.#limitSending(sentBytes, how);
    if (receivedBytes !== undefined) this.#limitReceiving(receivedBytes, how);
  }

  served(): void {
    this.#requestsLeft -= 1;
    if (this.#requestsLeft <= 0) {
      this.#requestsLeft = Number.POSITIVE_INFINITY;
      this.finish(this.#requestsEnding);
    }
  }

  rekey(): void {
    this.#ssh?.rekey();
  }

  /** Reads and forgets, so that the other side's end is heard, and says nothing any more. */
  #mute(): void {
    this.#silent = true;
    const socket = this.#socket;
    socket.removeAllListeners('data');
    socket.on('data', () => undefined);
    socket.once('end', () => socket.destroy());
    socket.write = () => true;
    socket.resume();
  }

  async #login(context: AuthContext): Promise<void> {
    const { settings, journal } = this.#shared;
    if (context.method === 'hostbased') {
      context.reject(this.#methods());
      return;
    }
    const method: AuthMethod = context.method;
    const faults = context.method === 'none' ? noFaults : this.meet('auth', method);
    const delay = faults.at('delay', 'start');
    if (delay !== undefined) await this.#pause(delay.ms);
    const end = faults.at('end', 'start');
    if (end !== undefined) this.finish(end.how);
    if (!this.talking) return;
    const name = context.username;
    const account = Object.hasOwn(settings.users, name) ? settings.users[name] : undefined;
    const right =
      faults.find('refuse') === undefined &&
      this.#methods().includes(method) &&
      (await shows(context, accountOf(account), account !== undefined));
    if (!this.talking) return;
    // A key that is only asked about is not a login yet.
    if (right && context.method === 'publickey' && context.signature === undefined) {
      context.accept();
      return;
    }
    const passed = right ? [...this.#passed, method] : this.#passed;
    const whole = right && settings.authentication.some((row) => row.join() === passed.join());
    // The `none` that asks for the methods counts as no attempt, as with OpenSSH.
    if (method !== 'none' || settings.authentication.some((row) => row.includes('none')))
      journal.attempted({
        connection: this.id,
        method,
        user: name,
        outcome: whole ? 'accepted' : right ? 'partial' : 'refused',
      });
    this.#passed = passed;
    if (whole) {
      context.accept();
      return;
    }
    if (!right && method !== 'none') this.#failed += 1;
    if (this.#failed >= settings.maxAttempts) {
      this.#disconnect(protocolError);
      return;
    }
    context.reject(this.#methods(), right);
  }

  /** What may come next. */
  #methods(): AuthMethod[] {
    const depth = this.#passed.length;
    const next = this.#shared.settings.authentication
      .filter((row) => row.slice(0, depth).join() === this.#passed.join())
      .map((row) => row[depth])
      .filter((method) => method !== undefined);
    return [...new Set(next)];
  }

  async #session(accept: () => Session, reject: () => void): Promise<void> {
    const faults = this.meet('session');
    const delay = faults.at('delay', 'start');
    if (delay !== undefined) await this.#pause(delay.ms);
    const end = faults.at('end', 'start');
    if (end !== undefined) this.finish(end.how);
    if (!this.talking) return;
    if (faults.find('refuse') !== undefined || this.#count >= this.#shared.settings.maxSessions) {
      reject();
      return;
    }
    this.#count += 1;
    const session = accept();
    let began = false;
    const over = (): void => {
      if (!began) this.#count -= 1;
      began = true;
    };
    session.once('close', over);
    session.on(
      'subsystem',
      (take: () => ServerChannel, refuse: (() => void) | undefined, { name }: { name: string }) => {
        const struck = this.meet('subsystem');
        const ending = struck.at('end', 'start');
        if (ending !== undefined) this.finish(ending.how);
        if (!this.talking) return;
        if (
          name !== 'sftp' ||
          this.#shared.settings.subsystem === 'none' ||
          struck.find('refuse') !== undefined
        ) {
          refuse?.();
          return;
        }
        began = true;
        this.#began(take());
      },
    );
  }

  #began(channel: ServerChannel): void {
    const session = new SftpSession(this.#shared, this, channel, this.#sessionsEver + 1);
    this.#sessionsEver += 1;
    this.#sessions.add(session);
    void session.done.then(() => {
      this.#sessions.delete(session);
      this.#count -= 1;
    });
  }

  #forward(
    accept: () => ServerChannel,
    reject: () => void,
    to: { readonly host: string; readonly port: number },
  ): void {
    const other = connectTcp(to);
    const leave = (): void => void other.destroy();
    this.gone.addEventListener('abort', leave, { once: true });
    other.once('close', () => this.gone.removeEventListener('abort', leave));
    other.once('error', reject);
    other.once('connect', () => {
      other.off('error', reject);
      other.on('error', () => undefined);
      this.#shared.journal.count('forwards');
      const channel = accept();
      channel.on('error', () => undefined);
      channel.once('close', leave);
      other.once('close', () => channel.close());
      channel.pipe(other).pipe(channel);
    });
  }

  #disconnect(reason: number): void {
    const protocol: unknown = this.#ssh === undefined ? undefined : Reflect.get(this.#ssh, '_protocol');
    const say: unknown =
      typeof protocol === 'object' && protocol !== null ? Reflect.get(protocol, 'disconnect') : undefined;
    if (typeof say === 'function') say.call(protocol, reason);
    this.finish('close');
  }

  /** What is sent is cut at that byte, and the connection ends there. */
  #limitSending(bytes: number, how: Ending): void {
    const socket = this.#socket;
    const write = socket.write.bind(socket);
    let left = bytes;
    socket.write = (chunk: Uint8Array | string): boolean => {
      const all = Buffer.from(chunk as Uint8Array);
      if (left <= 0) return true;
      const part = all.subarray(0, left);
      left -= part.length;
      const more = write(part);
      if (left <= 0) setImmediate(() => this.finish(how));
      return more;
    };
  }

  #limitReceiving(bytes: number, how: Ending): void {
    const socket = this.#socket;
    const until = socket.bytesRead + bytes;
    const look = (): void => {
      if (socket.bytesRead < until) return;
      socket.off('data', look);
      this.finish(how);
    };
    socket.prependListener('data', look);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.gone.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, ms);
      this.gone.addEventListener('abort', finish, { once: true });
      if (this.gone.aborted) finish();
    });
  }
}

interface FullAccount {
  readonly password: string | undefined;
  readonly keys: readonly string[];
  readonly questions: readonly {
    readonly prompt: string;
    readonly answer: string;
    readonly echo?: 'shown' | 'hidden';
  }[];
}

function accountOf(account: Account | undefined): FullAccount {
  const full = typeof account === 'string' ? { password: account } : (account ?? {});
  const { password } = full;
  const questions =
    'questions' in full && full.questions !== undefined
      ? full.questions
      : [{ prompt: 'Password: ', answer: password ?? '' }];
  return { password, keys: 'keys' in full ? (full.keys ?? []) : [], questions };
}

/** Whether what the client shows is right. */
async function shows(context: AuthContext, account: FullAccount, known: boolean): Promise<boolean> {
  switch (context.method) {
    case 'none':
      return known;
    case 'password':
      return known && account.password !== undefined && context.password === account.password;
    case 'publickey':
      return known && account.keys.some((line) => keyFits(context, line));
    case 'keyboard-interactive':
      return (await answersOf(context, account)) && known;
    default:
      return false;
  }
}

function keyFits(context: PublicKeyAuthContext, line: string): boolean {
  const key = ssh2.utils.parseKey(line);
  if (key instanceof Error) throw key;
  const [one] = Array.isArray(key) ? key : [key];
  if (one === undefined || !one.getPublicSSH().equals(context.key.data)) return false;
  if (context.signature === undefined || context.blob === undefined) return true;
  return one.verify(context.blob, context.signature, context.hashAlgo) === true;
}

function answersOf(context: KeyboardAuthContext, { questions }: FullAccount): Promise<boolean> {
  const prompts = questions.map(({ prompt, echo }) => ({ prompt, echo: echo === 'shown' }));
  return new Promise((resolve) => {
    context.once('abort', () => resolve(false));
    context.prompt(prompts, 'Scripted server', '', (answers) => {
      resolve(
        Array.isArray(answers) &&
          answers.length === questions.length &&
          questions.every(({ answer }, place) => answers[place] === answer),
      );
    });
  });
}
