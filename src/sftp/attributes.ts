/*
 * Attributes of files on the wire (draft-ietf-secsh-filexfer-02 section 5): size, owner, mode and times, each only
 * where its flag is set. Extended attributes are passed over. Times are whole seconds, read as unsigned, which is how
 * servers write them.
 */
import { type Field, type FieldReader, MalformedPacket, RawField } from './packet.js';

/** `other`: a device, socket or pipe. `unknown`: the server does not tell. */
export type EntryType = 'file' | 'directory' | 'link' | 'other' | 'unknown';

/** What a server tells of a file; undefined where it does not tell it. */
export interface Attributes {
  /** What kind of thing it is. */
  readonly type: EntryType;
  /** Undefined as well where it is no number of bytes that a file can have (2^53 and more). */
  readonly sizeBytes: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** All bits of st_mode, the file's type among them where the server tells it. */
  readonly mode: number | undefined;
  readonly accessedS: number | undefined;
  readonly modifiedS: number | undefined;
}

/** What a server is to set; what is left out stays as it is. */
export interface NewAttributes {
  readonly sizeBytes?: number | undefined;
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Permission bits, at most 0o7777. */
  readonly mode?: number | undefined;
  /** Whole seconds since 1970 UTC, 0 to 2^32-1. The protocol sets both or none. */
  readonly times?: { readonly accessedS: number; readonly modifiedS: number } | undefined;
}

const SIZE = 0x1;
const OWNER = 0x2;
const MODE = 0x4;
const TIMES = 0x8;
const EXTENDED = 0x80000000;

/** More of them than any file has. */
const EXTENDED_LIMIT = 1_024;

const TYPE_BITS = 0o170000;
const TYPES: ReadonlyMap<number, EntryType> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'link'],
  [0, 'unknown'],
]);

/** What `ls -l` begins its lines with. */
const LETTERS: ReadonlyMap<string, EntryType> = new Map([
  ['-', 'file'],
  ['d', 'directory'],
  ['l', 'link'],
  ['b', 'other'],
  ['c', 'other'],
  ['p', 'other'],
  ['s', 'other'],
]);

/**
 * @param line the line that a listing has for people (longname): says the type where the mode does not
 * @throws {MalformedPacket} where the packet ends before, or has flags of another protocol version, whose fields have
 *   no known length
 */
export function readAttributes(reader: FieldReader, line?: Buffer): Attributes {
  const flags = reader.uint32();
  const known = flags >= EXTENDED ? flags - EXTENDED : flags;
  if (known > (SIZE | OWNER | MODE | TIMES)) {
    throw new MalformedPacket(`attributes with the unknown flags 0x${flags.toString(16)}`);
  }
  const sizeBytes = flags & SIZE ? sizeIn(reader) : undefined;
  const uid = flags & OWNER ? reader.uint32() : undefined;
  const gid = flags & OWNER ? reader.uint32() : undefined;
  const mode = flags & MODE ? reader.uint32() : undefined;
  const accessedS = flags & TIMES ? reader.uint32() : undefined;
  const modifiedS = flags & TIMES ? reader.uint32() : undefined;
  if (flags >= EXTENDED) passExtended(reader);
  return { type: typeOf(mode, line), sizeBytes, uid, gid, mode, accessedS, modifiedS };
}

function sizeIn(reader: FieldReader): number | undefined {
  const size = reader.uint64();
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : undefined;
}

function passExtended(reader: FieldReader): void {
  const count = reader.uint32();
  if (count > EXTENDED_LIMIT) throw new MalformedPacket(`${count} extended attributes of one file`);
  for (let seen = 0; seen < count; seen += 1) {
    reader.bytes();
    reader.bytes();
  }
}

function typeOf(mode: number | undefined, line: Buffer | undefined): EntryType {
  const told = mode === undefined ? 'unknown' : (TYPES.get(mode & TYPE_BITS) ?? 'other');
  if (told !== 'unknown' || line === undefined) return told;
  // Some servers give permissions alone, and the type in the line only. One that is no such line says nothing.
  const shape = /^([-dlbcps])[-r][-w]/.exec(line.toString('latin1', 0, 10));
  return LETTERS.get(shape?.[1] ?? '') ?? 'unknown';
}

/**
 * Attributes as a packet carries them.
 *
 * @throws {RangeError} for a number that has no place in them; the message is a sentence for people
 */
export function attributeFields(attributes: NewAttributes): Field[] {
  const { sizeBytes, owner, mode, times } = attributes;
  const fields: Field[] = [];
  let flags = 0;
  if (sizeBytes !== undefined) {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
      throw new RangeError(`A file cannot have ${sizeBytes} bytes.`);
    flags |= SIZE;
    fields.push(BigInt(sizeBytes));
  }
  if (owner !== undefined) {
    flags |= OWNER;
    fields.push(word(owner.uid, 'A user id'), word(owner.gid, 'A group id'));
  }
  if (mode !== undefined) {
    flags |= MODE;
    fields.push(word(mode, 'A mode'));
  }
  if (times !== undefined) {
    flags |= TIMES;
    fields.push(word(times.accessedS, 'A time'), word(times.modifiedS, 'A time'));
  }
  return [flags, ...fields];
}

function word(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new RangeError(`${what} cannot be ${value}: SFTP takes whole numbers from 0 to 4294967295.`);
}

/** No attributes at all. */
export const NO_ATTRIBUTES: Field = new RawField(Buffer.alloc(4));
