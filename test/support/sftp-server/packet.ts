/*
 * The bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02) as a server reads and writes them: packets, strings and
 * attributes. It is written apart from src/sftp on purpose, so that a mistake there is no mistake here as well.
 */

export const REQUESTS: Readonly<Record<number, string>> = {
  1: 'INIT',
  3: 'OPEN',
  4: 'CLOSE',
  5: 'READ',
  6: 'WRITE',
  7: 'LSTAT',
  8: 'FSTAT',
  9: 'SETSTAT',
  10: 'FSETSTAT',
  11: 'OPENDIR',
  12: 'READDIR',
  13: 'REMOVE',
  14: 'MKDIR',
  15: 'RMDIR',
  16: 'REALPATH',
  17: 'STAT',
  18: 'RENAME',
  19: 'READLINK',
  20: 'SYMLINK',
  200: 'EXTENDED',
};

export const ANSWERS = {
  VERSION: 2,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED_REPLY: 201,
} as const;

export type AnswerType = keyof typeof ANSWERS;

export const STATUS = {
  OK: 0,
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  NO_CONNECTION: 6,
  CONNECTION_LOST: 7,
  OP_UNSUPPORTED: 8,
  /** Of later versions, which servers of version 3 send all the same. */
  NO_SPACE_ON_FILESYSTEM: 14,
  QUOTA_EXCEEDED: 15,
} as const;

export const OPEN_FLAGS = { READ: 1, WRITE: 2, APPEND: 4, CREATE: 8, TRUNCATE: 16, EXCLUSIVE: 32 } as const;

/** Attributes as they stand in a packet; what is undefined is not in it. */
export interface WireAttributes {
  readonly sizeBytes?: number | bigint | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** All bits, those of the type as well. */
  readonly mode?: number | undefined;
  readonly accessedS?: number | undefined;
  readonly modifiedS?: number | undefined;
}

/** One entry of a NAME answer. */
export interface WireName {
  readonly name: Buffer;
  readonly longname: Buffer;
  readonly attributes: WireAttributes;
}

/** An answer, before it is bytes. */
export type Answer =
  | {
      readonly type: 'VERSION';
      readonly version: number;
      readonly extensions: readonly (readonly [string, string])[];
    }
  | { readonly type: 'STATUS'; readonly code: number; readonly words: string }
  | { readonly type: 'HANDLE'; readonly handle: Buffer }
  | { readonly type: 'DATA'; readonly bytes: Buffer }
  | { readonly type: 'NAME'; readonly names: readonly WireName[] }
  | { readonly type: 'ATTRS'; readonly attributes: WireAttributes }
  | { readonly type: 'EXTENDED_REPLY'; readonly body: Buffer };

/** A packet ended before what belongs into it. */
export class ShortPacket extends Error {
  override readonly name = 'ShortPacket';
}

/** Takes a packet apart. */
export class PacketReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  byte(): number {
    return this.#take(1).readUInt8();
  }

  number(): number {
    return this.#take(4).readUInt32BE();
  }

  long(): number {
    return Number(this.#take(8).readBigUInt64BE());
  }

  string(): Buffer {
    return this.#take(this.number());
  }

  text(): string {
    return this.string().toString('latin1');
  }

  attributes(): WireAttributes {
    const flags = this.number();
    const sizeBytes = flags & 1 ? this.long() : undefined;
    const [uid, gid] = flags & 2 ? [this.number(), this.number()] : [];
    const mode = flags & 4 ? this.number() : undefined;
    const [accessedS, modifiedS] = flags & 8 ? [this.number(), this.number()] : [];
    if (flags & 0x8000_0000) {
      for (let left = this.number(); left > 0; left -= 1) {
        this.string();
        this.string();
      }
    }
    return { sizeBytes, uid, gid, mode, accessedS, modifiedS };
  }

  #take(count: number): Buffer {
    if (this.#bytes.length - this.#at < count)
      throw new ShortPacket('The packet is shorter than what belongs into it');
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
}

export function byte(value: number): Buffer {
  return Buffer.from([value]);
}

export function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function long(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
}

export function string(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([number(bytes.length), bytes]);
}

export function attributeBytes(attributes: WireAttributes): Buffer {
  const { sizeBytes, uid, gid, mode, accessedS, modifiedS } = attributes;
  const owned = uid !== undefined || gid !== undefined;
  const timed = accessedS !== undefined || modifiedS !== undefined;
  const flags =
    (sizeBytes === undefined ? 0 : 1) | (owned ? 2 : 0) | (mode === undefined ? 0 : 4) | (timed ? 8 : 0);
  return Buffer.concat([
    number(flags),
    sizeBytes === undefined ? Buffer.alloc(0) : long(sizeBytes),
    owned ? Buffer.concat([number(uid ?? 0), number(gid ?? 0)]) : Buffer.alloc(0),
    mode === undefined ? Buffer.alloc(0) : number(mode),
    timed ? Buffer.concat([number(accessedS ?? modifiedS ?? 0), number(modifiedS ?? 0)]) : Buffer.alloc(0),
  ]);
}

/** A whole packet, with its length in front. `id` is left out of a VERSION. */
export function packetOf(answer: Answer, id: number): Buffer {
  const body = answer.type === 'VERSION' ? bodyOf(answer) : Buffer.concat([number(id), bodyOf(answer)]);
  return framed(Buffer.concat([byte(ANSWERS[answer.type]), body]));
}

export function framed(body: Buffer): Buffer {
  return Buffer.concat([number(body.length), body]);
}

function bodyOf(answer: Answer): Buffer {
  switch (answer.type) {
    case 'VERSION':
      return Buffer.concat([
        number(answer.version),
        ...answer.extensions.flatMap(([name, data]) => [string(name), string(data)]),
      ]);
    case 'STATUS':
      return Buffer.concat([number(answer.code), string(answer.words), string('')]);
    case 'HANDLE':
      return string(answer.handle);
    case 'DATA':
      return string(answer.bytes);
    case 'NAME':
      return Buffer.concat([
        number(answer.names.length),
        ...answer.names.flatMap(({ name, longname, attributes }) => [
          string(name),
          string(longname),
          attributeBytes(attributes),
        ]),
      ]);
    case 'ATTRS':
      return attributeBytes(answer.attributes);
    case 'EXTENDED_REPLY':
      return answer.body;
  }
}

/** How the journal shows an answer. */
export function shown(answer: Answer): string {
  switch (answer.type) {
    case 'VERSION':
      return `VERSION ${answer.version}`;
    case 'STATUS':
      return `STATUS ${answer.code}`;
    case 'DATA':
      return `DATA ${answer.bytes.length}`;
    case 'NAME':
      return `NAME ${answer.names.length}`;
    case 'HANDLE':
    case 'ATTRS':
    case 'EXTENDED_REPLY':
      return answer.type;
  }
}
