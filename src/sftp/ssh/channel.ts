/*
 * A channel of an SSH connection (RFC 4254 section 5) as a stream that keeps its word: it takes no more than TCP does,
 * holds no more than its window, and where the connection ends it says why. Several writes of one turn of the event loop
 * leave in one packet. What a program on the other side says on its standard error is kept for the message.
 */
import { Duplex, type Readable } from 'node:stream';
import { SftpError } from '../errors.js';
import { printable } from '../printable.js';

/** What is needed of ssh2's channel. */
export interface RawChannel extends Duplex {
  readonly stderr: Readable;
  /** Sends CHANNEL_CLOSE. */
  close(): void;
}

/** What a channel is told by its connection. */
export interface ChannelOptions {
  /** Host and port, for messages. */
  readonly where: string;
  /** The connection's stream: what it cannot take yet, the channel does not take either. */
  readonly wire: Duplex;
  /** Why the connection has ended; undefined while it stands. */
  readonly over: () => SftpError | undefined;
  /** What its words must not show. */
  readonly secrets?: readonly string[];
}

/** Twice the window that ssh2 gives: what lies above was sent against the rules. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;
const MOST_STDERR_BYTES = 1_024;
const HIGH_WATER_BYTES = 256 * 1024;

export class SshChannel extends Duplex {
  readonly #raw: RawChannel;
  readonly #options: ChannelOptions;
  #received: 'nothing' | 'something' = 'nothing';
  #stderr = '';
  #exit: string | undefined;
  #closing: 'no' | 'sent' | 'done' = 'no';

  constructor(raw: RawChannel, options: ChannelOptions) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES });
    this.#raw = raw;
    this.#options = options;
    raw.on('data', (chunk: Buffer) => {
      this.#received = 'something';
      if (!this.destroyed && !this.push(chunk)) raw.pause();
    });
    raw.on('error', (error: Error) => this.destroy(error));
    raw.on('exit', (code: unknown, signal: unknown) => {
      this.#exit = typeof code === 'number' ? `code ${code}` : `signal ${printable(String(signal))}`;
    });
    raw.on('end', () => {
      if (!this.destroyed) this.push(null);
    });
    raw.on('close', () => this.#closed());
    raw.stderr.on('data', (chunk: Buffer) => {
      if (this.#stderr.length < MOST_STDERR_BYTES)
        this.#stderr += chunk.toString('utf8', 0, MOST_STDERR_BYTES);
    });
    raw.stderr.on('error', () => {});
    raw.pause();
    // Whoever holds it has ended perhaps, and listens no more.
    this.on('error', () => {});
  }

  /** True where the peer has sent more than it was allowed to. */
  get overfull(): boolean {
    return this.#raw.readableLength > MOST_WAITING_BYTES;
  }

  /** What is known of the other side's end, to go on a sentence with. */
  get #farewell(): string {
    const words = printable(this.#stderr, this.#options.secrets);
    const exit = this.#exit === undefined || this.#exit === 'code 0' ? '' : ` (${this.#exit})`;
    return `${exit}${words === '' ? '' : `: ${words}`}`;
  }

  #closed(): void {
    this.#closing = 'done';
    if (this.destroyed) return;
    const over = this.#options.over();
    if (over !== undefined) {
      this.destroy(over);
      return;
    }
    // Our side was done as well: that is a good end, once everything is read.
    if (this.writableEnded) {
      if (this.readableEnded) this.destroy();
      else this.once('end', () => this.destroy());
      return;
    }
    const { where } = this.#options;
    this.destroy(
      this.#received === 'nothing'
        ? new SftpError(
            'channel',
            `${where} takes the session and ends it at once${this.#farewell}. Is SFTP set up there for this account?`,
            { phase: 'session', code: 'SUBSYSTEM' },
          )
        : new SftpError('lost', `${where} ended the session${this.#farewell}.`, { phase: 'session' }),
    );
  }

  override _read(): void {
    this.#raw.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const over = this.#options.over();
    if (over !== undefined || this.#closing !== 'no') {
      done(over ?? new SftpError('lost', `${this.#options.where} ended the session.`, { phase: 'session' }));
      return;
    }
    this.#raw.write(chunk, () => {
      const { wire } = this.#options;
      if (wire.writableNeedDrain && !wire.destroyed) wire.once('drain', () => done());
      else done();
    });
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#closing === 'no' && this.#options.over() === undefined) this.#raw.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#closing === 'no' && this.#options.over() === undefined) {
      this.#closing = 'sent';
      this.#raw.close();
    }
    // Its end comes only behind what it still holds.
    this.#raw.resume();
    done(error);
  }
}
