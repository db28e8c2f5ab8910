/*
 * Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02 section 3): a length, a type, a request id, and fields. Reads
 * them from a byte stream that may be cut anywhere, and writes them into a buffer of the caller. A packet over the
 * limit is refused by its length, before a byte of it is kept. Knows nothing of requests and answers.
 */

/** Types of packets. Those of later versions are not spoken. */
export const PACKET = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  READLINK: 19,
  SYMLINK: 20,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 200,
  EXTENDED_REPLY: 201,
} as const;

const ANSWERS: ReadonlyMap<number, string> = new Map([
  [PACKET.VERSION, 'VERSION'],
  [PACKET.STATUS, 'STATUS'],
  [PACKET.HANDLE, 'HANDLE'],
  [PACKET.DATA, 'DATA'],
  [PACKET.NAME, 'NAME'],
  [PACKET.ATTRS, 'ATTRS'],
  [PACKET.EXTENDED_REPLY, 'EXTENDED_REPLY'],
]);

/** The name of an answer's type, for messages. */
export function answerName(type: number): string {
  return ANSWERS.get(type) ?? `a packet of the type ${type}`;
}

/** OpenSSH's servers and clients take 256 KiB; the rest is for those who count the header another way. */
export const PACKET_LIMIT_BYTES = 272 * 1024;

/** Type and request id: what every packet has. */
const SMALLEST_BYTES = 5;

/** Thrown when what arrives cannot be SFTP. The message says what was wrong, without quoting raw bytes. */
export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket';
}

/** One packet, without its length. */
export interface Packet {
  readonly type: number;
  /** The request's; of VERSION it is the version. */
  readonly id: number;
  /** What stands behind the id. May be a view of the chunk it came in; of DATA it is good until the next packet only. */
  readonly body: Buffer;
}

/** Collects bytes and hands out whole packets. */
export class PacketParser {
  /** Where DATA is put together, one after the other: it is large, and there is much of it. */
  #bench: Buffer | undefined;
  #packet: Buffer | undefined;
  #filled = 0;
  #length = 0;
  #lengthBytes = 0;

  /** The request whose answer has come in part, where that can be told already. */
  get arrivingId(): number | undefined {
    return this.#packet !== undefined && this.#filled >= SMALLEST_BYTES
      ? this.#packet.readUInt32BE(1)
      : undefined;
  }

  /** How many bytes lie here that are part of an unfinished packet. Never more than the limit. */
  get heldBytes(): number {
    return this.#packet === undefined ? this.#lengthBytes : this.#filled;
  }

  /**
   * Takes what arrived and yields the packets it completes, in order.
   *
   * @throws {MalformedPacket} on a length that no packet can have
   */
  *push(chunk: Buffer): Generator<Packet, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#packet !== undefined) {
        const taken = chunk.copy(this.#packet, this.#filled, at);
        at += taken;
        this.#filled += taken;
        if (this.#filled < this.#packet.length) return;
        const whole = this.#packet;
        this.#packet = undefined;
        yield packetOf(whole);
        continue;
      }
      if (this.#lengthBytes === 0 && chunk.length - at >= 4) {
        this.#length = chunk.readUInt32BE(at);
        at += 4;
      } else {
        this.#length = this.#length * 256 + (chunk[at] ?? 0);
        this.#lengthBytes += 1;
        at += 1;
        if (this.#lengthBytes < 4) continue;
        this.#lengthBytes = 0;
      }
      const length = this.#length;
      this.#length = 0;
      if (length < SMALLEST_BYTES || length > PACKET_LIMIT_BYTES)
        throw new MalformedPacket(`a packet of ${length} bytes`);
      if (chunk.length - at >= length) {
        yield packetOf(chunk.subarray(at, at + length));
        at += length;
      } else {
        this.#packet = chunk[at] === PACKET.DATA ? this.#benchOf(length) : Buffer.allocUnsafe(length);
        this.#filled = chunk.copy(this.#packet, 0, at);
        return;
      }
    }
  }

  #benchOf(bytes: number): Buffer {
    this.#bench ??= Buffer.allocUnsafeSlow(PACKET_LIMIT_BYTES);
    return this.#bench.subarray(0, bytes);
  }
}

function packetOf(bytes: Buffer): Packet {
  return { type: bytes[0] ?? 0, id: bytes.readUInt32BE(1), body: bytes.subarray(SMALLEST_BYTES) };
}

/** Reads the fields of a packet, one after another; never beyond its end. */
export class FieldReader {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get leftBytes(): number {
    return this.#body.length - this.#at;
  }

  /** @throws {MalformedPacket} where the packet ends before */
  uint32(): number {
    return this.#body.readUInt32BE(this.#advance(4));
  }

  /** @throws {MalformedPacket} where the packet ends before */
  uint64(): bigint {
    return this.#body.readBigUInt64BE(this.#advance(8));
  }

  /** A string: its length and its bytes, as a view. @throws {MalformedPacket} where the packet ends before */
  bytes(): Buffer {
    const length = this.uint32();
    const from = this.#advance(length);
    return this.#body.subarray(from, from + length);
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.#body.subarray(this.#advance(this.leftBytes));
  }

  #advance(bytes: number): number {
    const at = this.#at;
    if (bytes > this.leftBytes) throw new MalformedPacket('a packet that ends within a field');
    this.#at += bytes;
    return at;
  }
}

/** Bytes that stand in a packet without their length. */
export class RawField {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** A number is a uint32, a bigint a uint64, a buffer a string with its length before it. */
export type Field = number | bigint | Buffer | RawField;

/** How many bytes a packet takes, its length included. */
export function packetBytes(fields: readonly Field[]): number {
  let bytes = 4 + SMALLEST_BYTES;
  for (const field of fields) {
    if (typeof field === 'number') bytes += 4;
    else if (typeof field === 'bigint') bytes += 8;
    else if (field instanceof RawField) bytes += field.bytes.length;
    else bytes += 4 + field.length;
  }
  return bytes;
}

/**
 * Writes a packet, as long as `packetBytes` says, into a buffer that has room for it. Buffers among the fields are
 * copied.
 */
export function writePacket(
  target: Buffer,
  start: number,
  { type, id, fields }: { readonly type: number; readonly id: number; readonly fields: readonly Field[] },
): number {
  let at = start + 4;
  target[at] = type;
  at = target.writeUInt32BE(id, at + 1);
  for (const field of fields) {
    if (typeof field === 'number') at = target.writeUInt32BE(field, at);
    else if (typeof field === 'bigint') at = target.writeBigUInt64BE(field, at);
    else if (field instanceof RawField) at += field.bytes.copy(target, at);
    else {
      at = target.writeUInt32BE(field.length, at);
      at += field.copy(target, at);
    }
  }
  target.writeUInt32BE(at - start - 4, start);
  return at;
}
