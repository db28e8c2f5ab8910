/*
 * The server's side of an SFTP channel, in memory: a test reads each request and writes whatever answer it likes, in
 * any order, cut anywhere, or none at all. It has its own way to build and read packets, so that a mistake of the
 * engine's is not made twice.
 */
import { Duplex } from 'node:stream';
import { type ChannelOptions, SftpClient } from '../../src/sftp/client.js';

/** One request, as it came. */
export interface Asked {
  readonly type: number;
  readonly id: number;
  /** All behind the id. */
  readonly body: Buffer;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

export const text = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u32(bytes.length), bytes]);
};

/** A whole packet: length, type, and what is given. */
export const packet = (type: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u32(body.length + 1), Buffer.from([type]), body]);
};

export const version = (number = 3, extensions: Readonly<Record<string, string>> = {}): Buffer =>
  packet(2, u32(number), ...Object.entries(extensions).flat().map(text));

export const status = (id: number, code: number, words = ''): Buffer =>
  packet(101, u32(id), u32(code), text(words), text('en'));

export const handle = (id: number, name: string | Buffer): Buffer => packet(102, u32(id), text(name));

export const data = (id: number, bytes: Buffer): Buffer => packet(103, u32(id), text(bytes));

/** Attributes with a size, a mode and times. */
export const attributes = ({ size = 0, mode = 0o100644, modified = 0 } = {}): Buffer =>
  Buffer.concat([u32(0x1 | 0x4 | 0x8), u64(size), u32(mode), u32(modified), u32(modified)]);

export const attrs = (id: number, bytes: Buffer): Buffer => packet(105, u32(id), bytes);

export interface Named {
  readonly name: string | Buffer;
  readonly line?: string;
  readonly attributes?: Buffer;
}

export const names = (id: number, entries: readonly Named[]): Buffer =>
  packet(
    104,
    u32(id),
    u32(entries.length),
    ...entries.flatMap((entry) => [
      text(entry.name),
      text(entry.line ?? ''),
      entry.attributes ?? attributes(),
    ]),
  );

/** Reads the fields of a request. */
export function fields(body: Buffer) {
  let at = 0;
  const advance = (bytes: number): Buffer => {
    if (at + bytes > body.length) throw new Error('a request that ends within a field');
    at += bytes;
    return body.subarray(at - bytes, at);
  };
  const uint32 = (): number => advance(4).readUInt32BE(0);
  return {
    uint32,
    uint64: (): number => Number(advance(8).readBigUInt64BE(0)),
    text: (): Buffer => advance(uint32()),
    rest: (): Buffer => advance(body.length - at),
  };
}

export class Peer {
  /** What the client speaks on. */
  readonly channel: Duplex;
  /** Requests that nobody has read. */
  readonly asked: Asked[] = [];
  /** How large the client's writes were. */
  readonly writes: number[] = [];
  /** `taken`: the client's writes are taken at once. `held`: not before `release`. */
  #intake: 'taken' | 'held' = 'taken';
  #held: (() => void)[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #onAsked: (() => void) | undefined;
  #serve: ((asked: Asked) => void) | undefined;

  constructor() {
    this.channel = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        this.writes.push(chunk.length);
        const take = (): void => {
          this.#take(chunk);
          done();
        };
        if (this.#intake === 'held') this.#held.push(take);
        else take();
      },
      final: (done) => {
        // A server goes when nobody is there any more.
        this.channel.push(null);
        done();
      },
    });
  }

  /** The next request, when it comes. */
  async next(): Promise<Asked> {
    for (;;) {
      const asked = this.asked.shift();
      if (asked !== undefined) return asked;
      await new Promise<void>((resolve) => {
        this.#onAsked = resolve;
      });
    }
  }

  /** Every request goes there from now on. */
  serve(handler: (asked: Asked) => void): void {
    this.#serve = handler;
    for (const asked of this.asked.splice(0)) handler(asked);
  }

  /** Writes bytes, whatever they are. */
  send(...bytes: readonly Buffer[]): void {
    if (!this.channel.destroyed) this.channel.push(Buffer.concat(bytes));
  }

  /** The same, a byte at a time. */
  drip(bytes: Buffer): void {
    for (const byte of bytes) this.channel.push(Buffer.from([byte]));
  }

  end(): void {
    this.channel.push(null);
  }

  hold(): void {
    this.#intake = 'held';
  }

  release(): void {
    this.#intake = 'taken';
    for (const take of this.#held.splice(0)) take();
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 4) {
      const length = this.#rest.readUInt32BE(0);
      if (this.#rest.length < 4 + length) return;
      const bytes = Buffer.from(this.#rest.subarray(4, 4 + length));
      this.#rest = this.#rest.subarray(4 + length);
      const asked = { type: bytes[0] ?? 0, id: bytes.readUInt32BE(1), body: bytes.subarray(5) };
      if (this.#serve !== undefined) this.#serve(asked);
      else this.asked.push(asked);
      this.#onAsked?.();
    }
  }
}

export const utf8 = {
  encode: (name: string): Buffer => Buffer.from(name),
  decode: (bytes: Buffer): string | undefined => {
    const decoded = bytes.toString('utf8');
    return Buffer.from(decoded).equals(bytes) ? decoded : undefined;
  },
};

export const options: ChannelOptions = {
  where: 'nas.example.net:22',
  software: 'Test_1.0',
  names: utf8,
  replyTimeoutMs: 10_000,
  stallTimeoutMs: 10_000,
  transferTimeoutMs: 60_000,
};

/** A client whose session stands, and the peer that it talks to. */
export async function connected({
  extensions = {},
  limits,
  ...own
}: Partial<ChannelOptions> & {
  readonly extensions?: Readonly<Record<string, string>>;
  /** Packet, read, write, handles. */
  readonly limits?: readonly number[];
} = {}): Promise<{ client: SftpClient; peer: Peer }> {
  const peer = new Peer();
  const opening = SftpClient.over(peer.channel, { ...options, ...own });
  opening.catch(() => {});
  await peer.next();
  peer.send(version(3, limits === undefined ? extensions : { 'limits@openssh.com': '1', ...extensions }));
  if (limits !== undefined) {
    const { id } = await peer.next();
    peer.send(packet(201, u32(id), ...limits.map(u64)));
  }
  return { client: await opening, peer };
}

/** Lets everything happen that is about to. */
export async function turns(count = 4): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
