/*
 * The plainest FTP client that can be: it sends what it is told and hands out replies, one after the other. It checks
 * servers of tests (ours and real ones) without a line of ferryd's own engine, and it forgives nothing.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { wasReset } from './ftp-server/wire.js';

const waitMs = 10_000;

export interface RawTls {
  readonly ca: string;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** Client certificate. */
  readonly cert?: string;
  readonly key?: string;
}

export interface RawOptions {
  readonly host?: string;
  readonly tls?: RawTls;
  /** TLS from the first byte. */
  readonly implicit?: boolean;
}

/** How a data connection is made. */
export interface RawDataOptions {
  /** Resumes the control connection's session (the default), or does not. */
  readonly session?: 'resumed' | 'fresh';
}

export class RawClient implements AsyncDisposable {
  readonly #host: string;
  readonly #tls: RawTls | undefined;
  readonly raw: Socket;
  #stream: Socket;
  #text = '';
  #protected = false;
  #waiting: (() => void) | undefined;
  /** How the control connection ended; undefined while it stands. */
  ended: 'end' | 'error' | undefined;
  /** The words of the connection's error (`ECONNRESET`). */
  errorCode: string | undefined;

  private constructor(host: string, raw: Socket, tls: RawTls | undefined) {
    this.#host = host;
    this.raw = raw;
    this.#tls = tls;
    this.#stream = raw;
  }

  /** Connects; the greeting is the first `reply()`. */
  static async open(port: number, options: RawOptions = {}): Promise<RawClient> {
    const host = options.host ?? '127.0.0.1';
    const raw = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const client = new RawClient(host, raw, options.tls);
    raw.on('error', (error: NodeJS.ErrnoException) => client.#failed(error));
    await once(raw, 'connect');
    if (options.implicit === true) await client.secure();
    else client.#listen();
    return client;
  }

  /** TLS on the control connection, right now. */
  async secure(): Promise<void> {
    this.raw.removeAllListeners('data');
    this.#stream = await this.#handshake(this.raw, 'fresh');
    this.#listen();
  }

  /** Sends exactly these bytes (a string as Latin-1). */
  send(bytes: string | Uint8Array): void {
    this.#stream.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Sends one line and waits for one reply. */
  command(line: string): Promise<string> {
    this.send(`${line}\r\n`);
    return this.reply();
  }

  /**
   * The next whole reply, without its last line end.
   *
   * @throws Error where the connection ended before, or 10 s went by; what came of it stands in the message
   */
  async reply(): Promise<string> {
    const deadline = Date.now() + waitMs;
    for (;;) {
      const match = /^(?:(\d{3})-[\s\S]*?^\1 |\d{3} )[^\n]*\n/m.exec(this.#text);
      if (match !== null && match.index === 0) {
        this.#text = this.#text.slice(match[0].length);
        return match[0].replace(/\r?\n$/, '');
      }
      if (this.ended !== undefined)
        throw new Error(`Connection over (${this.errorCode ?? 'FIN'}) with ${this.#rest()}`);
      if (Date.now() >= deadline) throw new Error(`No reply; there is ${this.#rest()}`);
      await this.#change(deadline - Date.now());
    }
  }

  /** What has arrived and is no whole reply yet. */
  get rest(): string {
    return this.#text;
  }

  /** Waits until the control connection is over. */
  async over(): Promise<'end' | 'error'> {
    const deadline = Date.now() + waitMs;
    while (this.ended === undefined) {
      if (Date.now() >= deadline) throw new Error(`The connection stays; there is ${this.#rest()}`);
      await this.#change(deadline - Date.now());
    }
    return this.ended;
  }

  /** Logs in, with AUTH TLS, PBSZ and PROT P before where there is TLS. Returns the reply to PASS. */
  async login(
    user = 'ferry',
    password = 'secret',
    options: { readonly auth?: boolean } = {},
  ): Promise<string> {
    await this.reply();
    if (this.#tls !== undefined) {
      if (options.auth !== false) {
        await this.command('AUTH TLS');
        await this.secure();
      }
      await this.command('PBSZ 0');
      await this.command('PROT P');
      this.#protected = true;
    }
    await this.command(`USER ${user}`);
    const welcome = await this.command(`PASS ${password}`);
    if (welcome.startsWith('2')) await this.command('TYPE I');
    return welcome;
  }

  /** EPSV; the port. */
  async passive(): Promise<number> {
    const reply = await this.command('EPSV');
    const port = /^229 .*\(\|\|\|(\d+)\|\)/.exec(reply)?.[1];
    if (port === undefined) throw new Error(`EPSV was answered with ${reply}`);
    return Number(port);
  }

  /** A data connection to that port: a plain TCP connection; TLS comes with `secureData`. */
  async connectData(port: number): Promise<Socket> {
    const socket = connect({ host: this.#host, port, noDelay: true, allowHalfOpen: true });
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    return socket;
  }

  /** TLS on a data connection where PROT P is on; the socket itself otherwise. */
  async secureData(socket: Socket, options: RawDataOptions = {}): Promise<Socket> {
    return this.#protected ? this.#handshake(socket, options.session ?? 'resumed') : socket;
  }

  /** Sends content with STOR (or another verb); all replies from the 150 to the last. */
  async upload(
    path: string,
    bytes: Uint8Array | string,
    options: RawDataOptions & { readonly verb?: string } = {},
  ): Promise<string[]> {
    const port = await this.passive();
    this.send(`${options.verb ?? 'STOR'} ${path}\r\n`);
    // A refusal may reset the connection before it stands; the reply says why.
    const socket = await this.connectData(port).catch(() => undefined);
    const first = await this.reply();
    if (socket === undefined || !first.startsWith('1')) {
      socket?.destroy();
      return [first];
    }
    const stream = await this.secureData(socket, options).catch(() => undefined);
    if (stream !== undefined) {
      stream.on('error', () => undefined);
      stream.resume();
      stream.end(bytes);
    }
    const last = await this.reply();
    socket.destroy();
    return [first, last];
  }

  /** Reads what RETR, MLSD, LIST or NLST sends; the replies, and the content. */
  async download(
    line: string,
    options: RawDataOptions = {},
  ): Promise<{ replies: string[]; content: Buffer; ended: 'end' | 'error' }> {
    const port = await this.passive();
    this.send(`${line}\r\n`);
    const socket = await this.connectData(port).catch(() => undefined);
    const first = await this.reply();
    if (socket === undefined || !first.startsWith('1')) {
      socket?.destroy();
      return { replies: [first], content: Buffer.alloc(0), ended: 'end' };
    }
    const stream = await this.secureData(socket, options);
    const chunks: Buffer[] = [];
    const ended = await new Promise<'end' | 'error'>((resolve) => {
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('end', () => void wasReset(socket).then((reset) => resolve(reset ? 'error' : 'end')));
      stream.once('error', () => resolve('error'));
      // It may have been over before anybody listened.
      if (stream.destroyed) resolve('error');
    });
    stream.end();
    const last = await this.reply();
    socket.destroy();
    return { replies: [first, last], content: Buffer.concat(chunks), ended };
  }

  /** Half-closes: FIN, and goes on reading. */
  end(): void {
    this.#stream.end();
  }

  close(): void {
    this.raw.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #handshake(raw: Socket, session: 'resumed' | 'fresh'): Promise<TLSSocket> {
    const control = this.#stream as Partial<TLSSocket>;
    const ticket = session === 'resumed' ? control.getSession?.() : undefined;
    const secured = connectTls({
      ...this.#tls,
      socket: raw,
      host: this.#host,
      ...(ticket === undefined ? {} : { session: ticket }),
    });
    secured.on('error', (error: NodeJS.ErrnoException) => {
      if (raw === this.raw) this.#failed(error);
    });
    await new Promise<void>((resolve, reject) => {
      const over = (): void => reject(new Error('The connection ended during the TLS handshake'));
      secured.once('secureConnect', resolve);
      secured.once('error', reject);
      secured.once('end', over);
      secured.once('close', over);
      raw.once('end', over);
      raw.once('close', over);
    });
    return secured;
  }

  #listen(): void {
    this.#stream.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#waiting?.();
    });
    this.#stream.once('end', () => {
      void wasReset(this.raw).then((reset) => {
        if (reset) this.errorCode ??= 'ECONNRESET';
        this.#finish(reset ? 'error' : 'end');
      });
    });
    this.#stream.once('close', () => this.#finish('end'));
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.errorCode ??= error.code;
    this.#finish('error');
  }

  #finish(how: 'end' | 'error'): void {
    this.ended ??= how;
    this.#waiting?.();
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting = undefined;
        resolve();
      };
      const timer = setTimeout(finish, timeoutMs);
      this.#waiting = finish;
    });
  }

  #rest(): string {
    return this.#text === '' ? 'nothing' : JSON.stringify(this.#text);
  }
}
