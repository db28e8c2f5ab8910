/*
 * The bytes below SSH: a TCP connection, or a channel of another SSH connection. Reads what comes ahead of the server's
 * identification (RFC 4253 section 4.2), so that whatever is no SSH server is told by its first words, and hands the
 * identification on in one piece. Keeps the server's first offer of algorithms, for messages. Counts what moves.
 * Understands nothing behind that.
 */
import net from 'node:net';
import { Duplex } from 'node:stream';
import { SftpError, type SftpErrorKind } from '../errors.js';
import { printable } from '../printable.js';

/** Bytes ahead of the identification, and lines; a notice to those who connect is a few lines. */
const MOST_GREETING_BYTES = 32 * 1024;
/** RFC 4253 has 255 bytes; some servers are proud of longer names. */
const LONGEST_IDENTIFICATION = 1_024;
/** What the socket may hold: node's own 16 KiB are half a packet, and each packet would be a turn of the event loop. */
const MOST_UNSENT_BYTES = 512 * 1024;
/** The server's offer of algorithms is one packet (RFC 4253 section 6.1). */
const MOST_OFFER_BYTES = 35_000;

/** The names of the lists in a KEXINIT (RFC 4253 section 7.1), in its order. */
const OFFERED = ['key exchange', 'host key', 'cipher', 'cipher back', 'MAC', 'MAC back'] as const;

/** What a server offers: lists of algorithms. */
export type Offer = ReadonlyMap<(typeof OFFERED)[number], readonly string[]>;

/** Where bytes come from and go to. A socket, or a channel. */
export class Wire extends Duplex {
  readonly #below: Duplex;
  readonly #where: string;
  /** What came ahead of the end of the identification; undefined once that is complete. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #identification: string | undefined;
  #offer = Buffer.alloc(0);
  #receivedBytes = 0;
  #sentBytes = 0;
  #corked: 'no' | 'yes' = 'no';
  readonly #onBytes: () => void;

  /** @param onBytes hears of everything that comes behind the identification, once it was handed on */
  constructor(below: Duplex, where: string, onBytes: () => void) {
    super({ allowHalfOpen: false });
    this.#below = below;
    this.#where = where;
    this.#onBytes = onBytes;
    below.on('data', (chunk: Buffer) => this.#receive(chunk));
    below.on('end', () => this.#ended());
    below.on('error', (error: Error) => this.destroy(error));
    below.on('close', () => {
      this.#ended();
      this.destroy();
    });
    below.pause();
  }

  /** The server's identification without `SSH-2.0-`, cleaned; undefined until it has come. */
  get software(): string | undefined {
    return this.#identification?.replace(/^SSH-[0-9.]+-/, '');
  }

  /** How much has come. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** How much the system, or the channel below, has taken. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** How much still waits to be taken. */
  get backlogBytes(): number {
    return this.#below.writableLength + this.writableLength;
  }

  /** The algorithms that the server offered first; undefined where they have not come whole. */
  get offer(): Offer | undefined {
    return readOffer(this.#offer);
  }

  /** Ends at once: by TCP reset where there is a socket. */
  cut(): void {
    this.on('error', () => {});
    if (this.#below instanceof net.Socket && !this.#below.connecting && !this.#below.destroyed) {
      const sent = this.#below.writableEnded && this.#below.writableLength === 0;
      // All is sent and the FIN is under way: the system refuses a reset then.
      if (!sent) this.#below.resetAndDestroy();
    }
    this.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#receivedBytes += chunk.length;
    if (this.#head !== undefined) {
      this.#head = Buffer.concat([this.#head, chunk]);
      this.#readHead(this.#head);
      return;
    }
    this.#keepOffer(chunk);
    this.#pass(chunk);
    this.#onBytes();
  }

  #pass(chunk: Buffer): void {
    if (!this.push(chunk)) this.#below.pause();
  }

  #keepOffer(chunk: Buffer): void {
    const room = MOST_OFFER_BYTES - this.#offer.length;
    if (room > 0 && !offerIsWhole(this.#offer))
      this.#offer = Buffer.concat([this.#offer, chunk.subarray(0, room)]);
  }

  #readHead(head: Buffer): void {
    for (let start = 0; ; ) {
      const end = head.indexOf('\n', start);
      if (head.toString('latin1', start, start + 4) === 'SSH-') {
        if (end === -1 && head.length - start > LONGEST_IDENTIFICATION) this.#refuse(head);
        if (end === -1) return;
        this.#identification = printable(head.toString('utf8', start, end));
        this.#head = undefined;
        this.#keepOffer(head.subarray(end + 1));
        this.#pass(head.subarray(start));
        return;
      }
      // A line of words may come ahead (RFC 4253 section 4.2); these are other protocols' greetings.
      if (/^(\d{3}[ -]|HTTP\/|[\x15\x16]\x03|<|\+OK|\* OK)/.test(head.toString('latin1', start, start + 8))) {
        this.#refuse(head.subarray(start));
        return;
      }
      if (end === -1) break;
      start = end + 1;
    }
    if (head.length > MOST_GREETING_BYTES) this.#refuse(head);
  }

  #refuse(head: Buffer): void {
    this.#head = undefined;
    const what = otherProtocol(head.toString('latin1', 0, 1_024));
    const message = `${this.#where} does not answer like an SSH server: ${what}. Is this its port?`;
    this.#fail('handshake', message, 'NOT-SSH');
  }

  /** The peer is done. Ahead of the identification that is an answer too. */
  #ended(): void {
    if (this.readableEnded || this.destroyed) return;
    const head = this.#head;
    if (head === undefined) {
      this.push(null);
      return;
    }
    this.#head = undefined;
    const words = printable(head.toString('utf8'));
    const said = words === '' ? 'without a word' : `and said: ${words}`;
    const message = `${this.#where} closed the connection before anything began, ${said}. So servers do that have too many connections, or that refuse this address for now.`;
    this.#fail('lost', message, 'TURNED-AWAY');
  }

  #fail(kind: SftpErrorKind, message: string, code: string | undefined): void {
    this.destroy(new SftpError(kind, message, { phase: 'handshake', code }));
  }

  override _read(): void {
    this.#below.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // One packet comes in several pieces, and several packets in one turn: they leave together.
    if (this.#corked === 'no') {
      this.#corked = 'yes';
      this.#below.cork();
      process.nextTick(() => {
        this.#corked = 'no';
        this.#below.uncork();
      });
    }
    const taken = this.#below.write(chunk, () => {
      this.#sentBytes += chunk.length;
    });
    if (taken || this.#below.writableLength < MOST_UNSENT_BYTES) done();
    else this.#below.once('drain', done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#below.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#below.on('error', () => {});
    this.#below.destroy();
    done(error);
  }
}

/** What speaks in an SSH server's place. */
function otherProtocol(text: string): string {
  if (/^(HTTP\/|<)/i.test(text)) return 'a web server (HTTP) answers there';
  if (/^[\x15\x16]\x03/.test(text)) return 'it speaks TLS';
  const line = printable(text.split('\n')[0] ?? '');
  return /^220[ -]/.test(text)
    ? `its first words are "${line}", as an FTP or mail server's`
    : `its first words are "${line}"`;
}

function offerIsWhole(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0);
}

function readOffer(bytes: Buffer): Offer | undefined {
  // Length, padding, type 20 (KEXINIT), 16 random bytes, and then the lists.
  if (!offerIsWhole(bytes) || bytes[5] !== 20) return undefined;
  const lists = new Map<(typeof OFFERED)[number], readonly string[]>();
  let at = 22;
  for (const name of OFFERED) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readUInt32BE(at);
    if (at + 4 + length > bytes.length) return undefined;
    lists.set(name, bytes.toString('latin1', at + 4, at + 4 + length).split(','));
    at += 4 + length;
  }
  return lists;
}

/**
 * Opens a TCP connection.
 *
 * @throws {SftpError} kind `network`, phase `connect`; the signal's reason
 */
export async function connectTcp(
  { host, port, where, timeoutMs }: { host: string; port: number; where: string; timeoutMs: number },
  signal: AbortSignal,
): Promise<net.Socket> {
  signal.throwIfAborted();
  const socket = net.connect({
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // Where a name has several addresses, each gets its share: one that is dead must leave time for the next. Node's
    // own 250 ms for each is less than a round trip over a satellite.
    autoSelectFamilyAttemptTimeout: Math.max(250, Math.floor(timeoutMs / 3)),
  });
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect).off('error', onError);
    };
    const fail = (error: unknown): void => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => {
      settle();
      resolve();
    };
    const onError = (error: Error): void => fail(connectError(error, where));
    const onAbort = (): void => fail(signal.reason);
    socket.once('connect', onConnect).once('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  return socket;
}

function connectError(error: Error, where: string): SftpError {
  const code = codeOf(error);
  const message = sentenceOf(code, where) ?? `${where} cannot be reached (${code ?? error.message}).`;
  return new SftpError('network', message, { phase: 'connect', code, cause: error });
}

function sentenceOf(code: string | undefined, where: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return `${where} refuses connections. Is the SSH service running, and is this its port?`;
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

/** The system's word for an error (`ECONNRESET`). */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
