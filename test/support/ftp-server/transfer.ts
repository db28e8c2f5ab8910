/*
 * What moves over a data connection: STOR and APPE, RETR, listings (RFC 959 section 4.1.3, RFC 4217 sections 7 to 10),
 * and the faults that strike at a byte of it. A short upload stays on disk as it is: that is what real servers do, and
 * what their clients have to survive.
 */
import { constants, promises as fs } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { NoDataConnection } from './data.js';
import { type ByteString, errorCode } from './disk.js';
import type { Fault, Faults } from './fault.js';
import type { Exchange, RunningTransfer, Session } from './session.js';
import { handshake, lastWords, wasReset } from './wire.js';

const chunkBytes = 64 * 1024;

interface Channel {
  readonly raw: Socket;
  /** The raw socket, or TLS over it. */
  readonly stream: Socket;
}

/** How the bytes of a transfer ended. */
type End =
  | { readonly kind: 'whole' }
  /** A fault or the other side ended it; the reply says so (or lies). */
  | { readonly kind: 'broken'; readonly reply: string }
  /** The session is over, or nobody is to answer. */
  | { readonly kind: 'unanswered' };

const readFailure = '426 Failure reading network stream.';

function broken(reply: string): End {
  return { kind: 'broken', reply };
}

/** STOR (with the offset of REST) and APPE. */
export async function store(
  session: Session,
  exchange: Exchange,
  path: ByteString,
  how: { readonly append: boolean; readonly offset: number },
): Promise<void> {
  if (!(await dataAllowed(session, exchange))) return;
  const { settings, disk } = session.shared;
  let file: FileHandle;
  let position: number;
  try {
    const real = await disk.real(path, { lastLink: 'followed' });
    const truncate = how.append || how.offset > 0 ? 0 : constants.O_TRUNC;
    file = await fs.open(real, constants.O_WRONLY | constants.O_CREAT | truncate, 0o644);
    position = how.append ? (await file.stat()).size : how.offset;
  } catch (error) {
    session.data.discard();
    await exchange.final(`${settings.replies.storeRefused} ${errorCode(error) ?? ''}`.trimEnd());
    return;
  }
  const running = new Running(session);
  await running.over(async () => {
    let end: End;
    try {
      const channel = await open(session, exchange, running, settings.replies.stored);
      if (channel === undefined) return;
      end = await receive(session, exchange.faults, running, channel, file, position);
    } finally {
      await file.close();
    }
    if (end.kind === 'whole') session.shared.journal.count('stored');
    await conclude(exchange, running, end, settings.replies.stored);
  });
}

/** RETR, with the offset of REST. */
export async function retrieve(
  session: Session,
  exchange: Exchange,
  path: ByteString,
  offset: number,
): Promise<void> {
  if (!(await dataAllowed(session, exchange))) return;
  const { settings, disk } = session.shared;
  let file: FileHandle;
  try {
    file = await fs.open(
      await disk.real(path, { lastLink: 'followed' }),
      constants.O_RDONLY | constants.O_NONBLOCK,
    );
  } catch (error) {
    session.data.discard();
    await exchange.final(`550 Failed to open file. ${errorCode(error) ?? ''}`.trimEnd());
    return;
  }
  // A transfer may go on beside the commands, and needs its file for so long.
  let closing: 'here' | 'by the transfer' = 'here';
  try {
    if (!(await file.stat()).isFile()) {
      session.data.discard();
      await exchange.final('550 Not a plain file.');
      return;
    }
    const source = exchange.faults.find('content') === undefined ? readFrom(file, offset) : [];
    const content = session.ascii ? carriageReturns(source) : source;
    closing = 'by the transfer';
    await send(session, exchange, content, settings.replies.sent, { what: 'file', done: () => file.close() });
  } finally {
    if (closing === 'here') await file.close();
  }
}

/** LIST, NLST, MLSD: bytes that are ready. */
export async function sendListing(
  session: Session,
  exchange: Exchange,
  listing: Buffer,
  finalReply: string,
): Promise<void> {
  if (!(await dataAllowed(session, exchange))) return;
  await send(session, exchange, [listing], finalReply, { what: 'listing', done: async () => {} });
}

type Source = Iterable<Buffer> | AsyncIterable<Buffer>;

async function send(
  session: Session,
  exchange: Exchange,
  source: Source,
  finalReply: string,
  { what, done }: { readonly what: 'file' | 'listing'; readonly done: () => Promise<void> },
): Promise<void> {
  const running = new Running(session);
  await running.over(async () => {
    let end: End;
    try {
      const channel = await open(session, exchange, running, finalReply);
      if (channel === undefined) return;
      const replaced = exchange.faults.find('content');
      const content = replaced === undefined ? source : [Buffer.from(replaced.bytes as string)];
      end = await transmit(session, exchange.faults, running, channel, content, what);
    } finally {
      await done();
    }
    await conclude(exchange, running, end, finalReply);
  });
}

/** One transfer as the rest of the session sees it. */
class Running implements RunningTransfer {
  readonly #session: Session;
  readonly #stop = new AbortController();
  #state: 'on' | 'aborted' | 'unanswered' = 'on';
  flowing = false;
  channel: Socket | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  get state(): 'on' | 'aborted' | 'unanswered' {
    return this.#state;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  stop(how: 'aborted' | 'unanswered'): void {
    if (this.#state === 'on') this.#state = how;
    this.#stop.abort();
    this.channel?.destroy();
  }

  /** Runs the transfer; beside the commands where the server is like pyftpdlib. */
  async over(work: () => Promise<void>): Promise<void> {
    const session = this.#session;
    session.transfer = this;
    const whole = work().finally(() => {
      if (session.transfer === this) session.transfer = undefined;
    });
    if (session.shared.settings.pipelining === 'pyftpdlib') session.background(whole);
    else await whole;
  }
}

async function dataAllowed(session: Session, exchange: Exchange): Promise<boolean> {
  if (session.shared.settings.requireTls && !session.protectedData) {
    session.data.discard();
    await exchange.final('522 Data connections must be encrypted.');
    return false;
  }
  if (!session.data.ready) {
    await exchange.final('425 Use PASV or EPSV first.');
    return false;
  }
  return true;
}

/** The data connection, the 150 and the handshake. Undefined where one of them failed; all is answered then. */
async function open(
  session: Session,
  exchange: Exchange,
  running: Running,
  finalReply: string,
): Promise<Channel | undefined> {
  const { settings } = session.shared;
  let raw: Socket;
  try {
    raw = await session.data.take(settings.dataTimeoutMs, AbortSignal.any([session.gone, running.signal]));
  } catch (error) {
    if (!(error instanceof NoDataConnection)) throw error;
    if (running.state === 'aborted') await exchange.final('426 Transfer aborted.');
    else if (running.state === 'on') await exchange.final(`425 ${error.message}`);
    return undefined;
  }
  running.channel = raw;
  running.flowing = true;
  const early = exchange.faults.find('finalReplyFirst');
  if (early?.before === 'mark') await exchange.final(finalReply);
  if (!(await exchange.mark(settings.replies.mark))) return undefined;
  if (early !== undefined) await exchange.final(finalReply);
  if (!session.protectedData) return { raw, stream: raw };
  const stream = await secureData(session, exchange, raw);
  return stream === undefined ? undefined : { raw, stream };
}

async function secureData(session: Session, exchange: Exchange, raw: Socket): Promise<TLSSocket | undefined> {
  const { settings, journal } = session.shared;
  const faults = session.meet('data-tls');
  const delay = faults.at('delay', 'start');
  if (delay !== undefined) await session.pause(delay.ms);
  if (faults.at('hang', 'start') !== undefined) {
    await session.pause(Number.POSITIVE_INFINITY);
    return undefined;
  }
  const refused = '425 TLS handshake on the data connection failed.';
  const bytes = faults.at('bytes', 'start')?.pieces;
  if (typeof bytes === 'string' || bytes instanceof Uint8Array) raw.write(bytes);
  const reset = faults.at('reset', 'start') !== undefined;
  if (reset || bytes !== undefined || faults.at('close', 'start') !== undefined) {
    if (reset) raw.resetAndDestroy();
    else lastWords(raw, raw);
    await exchange.final(refused);
    return undefined;
  }
  const foreign = exchange.faults.find('noResumption') !== undefined;
  let stream: TLSSocket;
  try {
    stream = await handshake(session.tlsServer({ tickets: foreign ? 'foreign' : 'own' }), raw);
  } catch {
    raw.destroy();
    await exchange.final(refused);
    return undefined;
  }
  if (stream.isSessionReused()) {
    journal.count('resumedDataConnections');
    return stream;
  }
  if (settings.requireSessionReuse === 'no') return stream;
  stream.destroy();
  if (settings.requireSessionReuse === 'proftpd') {
    await exchange.final(
      '425 Unable to build data connection: TLS session of the control connection not resumed.',
    );
    return undefined;
  }
  await exchange.final(
    '522 SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page',
  );
  session.finish('close');
  return undefined;
}

async function receive(
  session: Session,
  faults: Faults,
  running: Running,
  channel: Channel,
  file: FileHandle,
  start: number,
): Promise<End> {
  const { journal, settings } = session.shared;
  const short = faults.find('storeShort');
  const points = new Points(session, faults, running, channel, settings.replies.stored);
  const lines = session.ascii ? new LineFeeds() : undefined;
  let count = 0;
  let position = start;
  const keep = async (bytes: Buffer): Promise<void> => {
    await writeWhole(file, bytes, position);
    position += bytes.length;
  };
  const pass = async (bytes: Buffer): Promise<void> => {
    const kept = short === undefined ? bytes : bytes.subarray(0, Math.max(0, short.sizeBytes - count));
    await keep(lines === undefined ? kept : lines.pass(kept));
    count += bytes.length;
    journal.count('receivedBytes', bytes.length);
  };
  try {
    const early = await points.strike();
    if (early !== undefined) return early;
    for await (const chunk of channel.stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const end = await points.move(chunk, pass);
      if (end !== undefined) return end;
    }
    if (lines !== undefined) await keep(lines.rest());
    if (await wasReset(channel.raw)) throw new Error('reset');
  } catch (error) {
    if (running.state !== 'on') return stopped(running);
    return broken(errorCode(error) === 'ENOSPC' ? '452 No space left on device.' : readFailure);
  } finally {
    // What is not read to its end by now never will be: the client gets a RST for it, as from a server's close().
    if (!channel.stream.readableEnded) channel.raw.destroy();
  }
  if (running.state !== 'on') return stopped(running);
  lastWords(channel.stream, channel.raw);
  return short === undefined ? { kind: 'whole' } : broken(short.reply ?? settings.replies.stored);
}

async function transmit(
  session: Session,
  faults: Faults,
  running: Running,
  channel: Channel,
  source: Source,
  what: 'file' | 'listing',
): Promise<End> {
  const { journal, settings } = session.shared;
  const points = new Points(
    session,
    faults,
    running,
    channel,
    what === 'file' ? settings.replies.sent : settings.replies.listed,
  );
  // A client that closes early must be noticed, and its close_notify read.
  channel.stream.resume();
  try {
    const early = await points.strike();
    if (early !== undefined) return early;
    for await (const chunk of source) {
      const end = await points.move(chunk, async (bytes) => {
        await push(channel.stream, bytes);
        if (what === 'file') journal.count('sentBytes', bytes.length);
      });
      if (end !== undefined) return end;
    }
    if (running.state !== 'on') return stopped(running);
    if (faults.find('noCloseNotify') !== undefined) {
      channel.raw.destroy();
      return { kind: 'whole' };
    }
    await ended(channel);
    return { kind: 'whole' };
  } catch {
    channel.raw.destroy();
    return running.state === 'on' ? broken('426 Failure writing network stream.') : stopped(running);
  }
}

function stopped(running: Running): End {
  if (running.state === 'aborted') return broken('426 Transfer aborted.');
  return { kind: 'unanswered' };
}

async function conclude(exchange: Exchange, running: Running, end: End, finalReply: string): Promise<void> {
  if (running.state === 'unanswered' || end.kind === 'unanswered') exchange.swallowFinal();
  else await exchange.final(end.kind === 'whole' ? finalReply : end.reply);
}

type Point = Extract<Fault, { readonly kind: 'dataReset' | 'dataClose' | 'dataStall' | 'controlEnd' }>;

/** The faults that strike at a byte of the content, in the order of their bytes. */
class Points {
  readonly #session: Session;
  readonly #running: Running;
  readonly #channel: Channel;
  readonly #doneReply: string;
  readonly #corruptAt: number;
  readonly #points: Point[];
  #count = 0;

  constructor(session: Session, faults: Faults, running: Running, channel: Channel, doneReply: string) {
    this.#session = session;
    this.#running = running;
    this.#channel = channel;
    this.#doneReply = doneReply;
    this.#corruptAt = faults.find('corrupt')?.atByte ?? -1;
    const found = [
      faults.find('dataReset'),
      faults.find('dataClose'),
      faults.find('dataStall'),
      faults.find('controlEnd'),
    ];
    this.#points = found.filter((point) => point !== undefined).sort((a, b) => a.atByte - b.atByte);
  }

  /** Passes a chunk on, up to each point and past those that let it go on. */
  async move(chunk: Buffer, pass: (bytes: Buffer) => Promise<void>): Promise<End | undefined> {
    let rest = this.#corrupted(chunk);
    while (rest.length > 0) {
      if (this.#running.state !== 'on') return stopped(this.#running);
      const room = (this.#points[0]?.atByte ?? Number.POSITIVE_INFINITY) - this.#count;
      const part = rest.subarray(0, room);
      await pass(part);
      this.#count += part.length;
      rest = rest.subarray(part.length);
      const end = await this.strike();
      if (end !== undefined) return end;
    }
    return undefined;
  }

  /** Carries out the points that are reached. */
  async strike(): Promise<End | undefined> {
    for (;;) {
      const point = this.#points[0];
      if (point === undefined || point.atByte > this.#count) return undefined;
      this.#points.shift();
      if (point.kind === 'dataStall') {
        await this.#session.pause(point.ms ?? Number.POSITIVE_INFINITY, this.#running.signal);
        if (this.#running.state !== 'on' || this.#session.gone.aborted) return stopped(this.#running);
        continue;
      }
      if (point.kind === 'controlEnd') {
        this.#session.finish(point.how);
        // Fallen silent, it goes on to take the data.
        if (point.how === 'hang') continue;
        return stopped(this.#running);
      }
      if (point.kind === 'dataReset') {
        this.#channel.raw.resetAndDestroy();
        return broken(point.reply ?? readFailure);
      }
      await ended(this.#channel);
      return broken(point.reply ?? this.#doneReply);
    }
  }

  #corrupted(chunk: Buffer): Buffer {
    const at = this.#corruptAt - this.#count;
    const byte = chunk[at];
    if (byte === undefined) return chunk;
    const copy = Buffer.from(chunk);
    copy[at] = byte ^ 0xff;
    return copy;
  }
}

/** Ends a data connection in good order; resolves when the end is out (or cannot get out any more). */
async function ended(channel: Channel): Promise<void> {
  const { stream } = channel;
  await new Promise<void>((resolve) => {
    stream.once('finish', resolve);
    channel.raw.once('close', () => resolve());
    lastWords(stream, channel.raw);
  });
}

function push(stream: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

async function writeWhole(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

async function* readFrom(file: FileHandle, offset: number): AsyncGenerator<Buffer> {
  let position = offset;
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** TYPE A on the way out: CRLF for LF. */
async function* carriageReturns(source: Source): AsyncGenerator<Buffer> {
  for await (const chunk of source)
    yield Buffer.from(chunk.toString('latin1').replaceAll('\n', '\r\n'), 'latin1');
}

/** TYPE A on the way in: every CR goes that an LF follows, also in the next chunk. */
class LineFeeds {
  #pending = '';

  pass(chunk: Buffer): Buffer {
    const text = this.#pending + chunk.toString('latin1');
    this.#pending = text.endsWith('\r') ? '\r' : '';
    return Buffer.from(text.slice(0, text.length - this.#pending.length).replaceAll('\r\n', '\n'), 'latin1');
  }

  rest(): Buffer {
    return Buffer.from(this.#pending, 'latin1');
  }
}
