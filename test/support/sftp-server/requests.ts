/*
 * What each request does to the disk: draft-ietf-secsh-filexfer-02 section 6 and 8, with the statuses and the ways of
 * OpenSSH's sftp-server, and its extensions. It answers; what becomes of an answer on its way is session.ts' business.
 * Contents are not forced onto the medium by fsync: nobody turns the power off in a test.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { crc32 } from 'node:zlib';
import {
  type ByteString,
  type Disk,
  DiskRefusal,
  errorCode,
  fromBytes,
  toBytes,
} from '../ftp-server/disk.js';
import type { Faults } from './fault.js';
import type { JournalBook } from './journal.js';
import {
  type Answer,
  long,
  number,
  OPEN_FLAGS,
  PacketReader,
  REQUESTS,
  ShortPacket,
  STATUS,
  string,
  type WireAttributes,
  type WireName,
} from './packet.js';
import { EXTENSION_DATA, type Extension, type Settings } from './settings.js';

/** A request taken apart as far as everybody needs it. */
export interface Request {
  readonly name: string;
  readonly id: number;
  /** Absolute virtual path (bytes); of a request on a handle the one that was opened. */
  readonly path: ByteString | undefined;
  readonly toPath: ByteString | undefined;
  readonly handle: string | undefined;
  readonly offset: number | undefined;
  readonly bytes: number | undefined;
  readonly flags: number | undefined;
  readonly attributes: WireAttributes | undefined;
  readonly content: Buffer | undefined;
  /** An empty path was given where one belongs. */
  readonly noPath: boolean;
  /** Of extended requests: what follows. */
  readonly rest: Buffer;
}

interface OpenFile {
  readonly kind: 'file';
  readonly path: ByteString;
  readonly descriptor: number;
  readonly flags: number;
}

interface OpenDirectory {
  readonly kind: 'directory';
  readonly path: ByteString;
  entries: Iterator<WireName>;
  readonly perAnswer: number;
}

type Handle = OpenFile | OpenDirectory;

/** What all sessions of a server share of the disk. */
export interface Store {
  readonly settings: Settings;
  readonly disk: Disk;
  readonly journal: JournalBook;
  /** Content on the disk, as far as it counts against the capacity. */
  usedBytes: number;
}

const WORDS: Readonly<Record<number, string>> = {
  0: 'Success',
  1: 'End of file',
  2: 'No such file',
  3: 'Permission denied',
  4: 'Failure',
  5: 'Bad message',
  6: 'No connection',
  7: 'Connection lost',
  8: 'Operation unsupported',
  14: 'No space left on device',
  15: 'Quota exceeded',
};

export function status(code: number, words?: string): Answer {
  return { type: 'STATUS', code, words: words ?? WORDS[code] ?? 'Unknown error' };
}

const ok = status(STATUS.OK);

/** A refusal with its status. */
class Refusal extends Error {
  readonly code: number;

  constructor(code: number, words?: string) {
    super(words ?? WORDS[code]);
    this.code = code;
  }
}

const ON_HANDLES = new Set(['CLOSE', 'READ', 'WRITE', 'FSTAT', 'FSETSTAT', 'READDIR']);
const EXTENDED_ON_HANDLES = new Set([
  'fsync@openssh.com',
  'fstatvfs@openssh.com',
  'copy-data',
  'check-file-handle',
]);
const EXTENDED_ON_PATHS = new Set([
  'posix-rename@openssh.com',
  'hardlink@openssh.com',
  'lsetstat@openssh.com',
  'statvfs@openssh.com',
  'check-file-name',
]);
const CHANGES = new Set([
  'WRITE',
  'SETSTAT',
  'FSETSTAT',
  'REMOVE',
  'MKDIR',
  'RMDIR',
  'RENAME',
  'SYMLINK',
  'posix-rename@openssh.com',
  'hardlink@openssh.com',
  'lsetstat@openssh.com',
  'copy-data',
]);

/** The open files and directories of one SFTP session, and what is done with them. */
export class Requests {
  readonly #store: Store;
  readonly #handles = new Map<string, Handle>();
  #count = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Takes a packet without its length apart.
   *
   * @throws ShortPacket where it ends too early
   */
  parse(packet: Buffer): Request {
    const reader = new PacketReader(packet);
    const type = reader.byte();
    const known = REQUESTS[type] ?? `TYPE-${type}`;
    const id = reader.number();
    const base = {
      id,
      path: undefined,
      toPath: undefined,
      handle: undefined,
      offset: undefined,
      bytes: undefined,
      flags: undefined,
      attributes: undefined,
      content: undefined,
      noPath: false,
    };
    if (known === 'INIT' || known.startsWith('TYPE-')) return { ...base, name: known, rest: reader.rest };
    const name = known === 'EXTENDED' ? reader.text() : known;
    if (ON_HANDLES.has(name) || EXTENDED_ON_HANDLES.has(name)) {
      const handle = reader.text();
      const offset = name === 'READ' || name === 'WRITE' ? reader.long() : undefined;
      const content = name === 'WRITE' ? reader.string() : undefined;
      const bytes = name === 'READ' ? reader.number() : content?.length;
      const attributes = name === 'FSETSTAT' ? reader.attributes() : undefined;
      const path = this.#handles.get(handle)?.path;
      return { ...base, name, path, handle, offset, content, bytes, attributes, rest: reader.rest };
    }
    if (known === 'EXTENDED' && !EXTENDED_ON_PATHS.has(name)) return { ...base, name, rest: reader.rest };
    const first = reader.text();
    const noPath = first === '' && name !== 'REALPATH';
    if (name === 'SYMLINK') {
      const second = reader.text();
      const [target, at] = this.#store.settings.symlink === 'draft' ? [second, first] : [first, second];
      return { ...base, name, path: this.#resolve(at), toPath: target, rest: reader.rest };
    }
    const path = this.#resolve(first);
    const two = name === 'RENAME' || name === 'posix-rename@openssh.com' || name === 'hardlink@openssh.com';
    const toPath = two ? this.#resolve(reader.text()) : undefined;
    const flags = name === 'OPEN' ? reader.number() : undefined;
    const attributed = ['OPEN', 'SETSTAT', 'MKDIR', 'lsetstat@openssh.com'].includes(name);
    const attributes = attributed ? reader.attributes() : undefined;
    return { ...base, name, path, toPath, noPath, flags, attributes, rest: reader.rest };
  }

  /** Carries a request out. Never throws but where the server itself is broken. */
  async answer(request: Request, faults: Faults): Promise<Answer> {
    try {
      const { settings } = this.#store;
      if ([request.path, request.toPath].some((path) => path?.includes('\0') === true))
        throw new Refusal(STATUS.BAD_MESSAGE);
      if (request.noPath) throw new Refusal(STATUS.NO_SUCH_FILE);
      const writes = request.name === 'OPEN' && ((request.flags ?? 0) & ~OPEN_FLAGS.READ) !== 0;
      if (settings.readOnly && (writes || CHANGES.has(request.name)))
        throw new Refusal(STATUS.PERMISSION_DENIED);
      return await this.#run(request, faults);
    } catch (error) {
      return refusal(error);
    }
  }

  /** Closes what the client has left open. */
  end(): void {
    for (const key of [...this.#handles.keys()]) this.#close(key);
  }

  #resolve(path: ByteString): ByteString {
    const { disk, settings } = this.#store;
    return disk.resolve(toBytes(settings.home), path);
  }

  async #run(request: Request, faults: Faults): Promise<Answer> {
    const { settings } = this.#store;
    const path = request.path ?? '';
    switch (request.name) {
      case 'OPEN':
        return this.#open(request);
      case 'CLOSE':
        this.#handle(request);
        this.#close(request.handle ?? '');
        return ok;
      case 'READ':
        return this.#read(this.#file(request), request, faults);
      case 'WRITE':
        return this.#write(this.#file(request), request, faults);
      case 'STAT':
        return attributesAnswer(fs.statSync(await this.#real(path, 'followed'), { bigint: true }));
      case 'LSTAT':
        return attributesAnswer(fs.lstatSync(await this.#real(path, 'itself'), { bigint: true }));
      case 'FSTAT': {
        const handle = this.#handle(request);
        if (handle.kind === 'file')
          return attributesAnswer(fs.fstatSync(handle.descriptor, { bigint: true }));
        return attributesAnswer(fs.statSync(await this.#real(handle.path, 'followed'), { bigint: true }));
      }
      case 'SETSTAT':
        return this.#set(await this.#real(path, 'followed'), request.attributes ?? {});
      case 'FSETSTAT': {
        const handle = this.#handle(request);
        const target = handle.kind === 'file' ? handle.descriptor : await this.#real(handle.path, 'followed');
        return this.#set(target, request.attributes ?? {});
      }
      case 'OPENDIR':
        return this.#openDirectory(path, faults);
      case 'READDIR':
        return this.#readDirectory(this.#handle(request), faults);
      case 'REMOVE':
        return this.#remove(await this.#real(path, 'itself'));
      case 'MKDIR': {
        const real = await this.#real(path, 'itself');
        fs.mkdirSync(real, { mode: (request.attributes?.mode ?? 0o777) & 0o777 });
        return ok;
      }
      case 'RMDIR':
        fs.rmdirSync(await this.#real(path, 'itself'));
        return ok;
      case 'REALPATH': {
        await this.#real(path, 'followed');
        return nameAnswer(path);
      }
      case 'RENAME':
        return this.#rename(path, request.toPath ?? '', settings.rename);
      case 'READLINK':
        return nameAnswer(
          fs.readlinkSync(await this.#real(path, 'itself'), { encoding: 'buffer' }).toString('latin1'),
        );
      case 'SYMLINK':
        if (settings.symlink === 'unsupported') throw new Refusal(STATUS.OP_UNSUPPORTED);
        fs.symlinkSync(Buffer.from(request.toPath ?? '', 'latin1'), await this.#real(path, 'itself'));
        return ok;
      default:
        return this.#extended(request);
    }
  }

  async #extended(request: Request): Promise<Answer> {
    const { settings } = this.#store;
    const { name } = request;
    const path = request.path ?? '';
    if (!isExtension(name, settings)) throw new Refusal(STATUS.OP_UNSUPPORTED);
    switch (name) {
      case 'posix-rename@openssh.com':
        return this.#rename(path, request.toPath ?? '', 'overwrites');
      case 'hardlink@openssh.com':
        fs.linkSync(await this.#real(path, 'itself'), await this.#real(request.toPath ?? '', 'itself'));
        return ok;
      case 'fsync@openssh.com':
        this.#file(request);
        return ok;
      case 'lsetstat@openssh.com':
        return this.#setLink(await this.#real(path, 'itself'), request.attributes ?? {});
      case 'statvfs@openssh.com':
        return this.#space(await this.#real(path, 'followed'));
      case 'fstatvfs@openssh.com':
        return this.#space(await this.#real(this.#handle(request).path, 'followed'));
      case 'limits@openssh.com': {
        const { maxPacketBytes, maxReadBytes, maxWriteBytes, maxHandles } = settings.limits;
        const all = [maxPacketBytes, maxReadBytes, maxWriteBytes, maxHandles];
        return { type: 'EXTENDED_REPLY', body: Buffer.concat(all.map(long)) };
      }
      case 'copy-data':
        return this.#copy(this.#file(request), request.rest);
      case 'check-file-name':
        return this.#check(fs.readFileSync(await this.#real(path, 'followed')), request.rest);
      case 'check-file-handle':
        return this.#check(readWhole(this.#file(request).descriptor), request.rest);
      default:
        throw new Refusal(STATUS.OP_UNSUPPORTED);
    }
  }

  async #open({ path = '', flags = 0, attributes }: Request): Promise<Answer> {
    const { settings, journal } = this.#store;
    if (settings.limits.maxHandles > 0 && this.#handles.size >= settings.limits.maxHandles)
      throw new Refusal(STATUS.FAILURE);
    const real = await this.#real(path, 'followed');
    const { constants } = fs;
    const has = (flag: keyof typeof OPEN_FLAGS): boolean => (flags & OPEN_FLAGS[flag]) !== 0;
    const access = has('WRITE') ? (has('READ') ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY;
    const before = has('TRUNCATE') ? sizeMaybe(real) : 0;
    const descriptor = fs.openSync(
      real,
      access |
        (has('CREATE') ? constants.O_CREAT : 0) |
        (has('TRUNCATE') ? constants.O_TRUNC : 0) |
        (has('EXCLUSIVE') ? constants.O_EXCL : 0) |
        (has('APPEND') ? constants.O_APPEND : 0),
      (attributes?.mode ?? 0o666) & 0o777,
    );
    this.#store.usedBytes -= before;
    journal.handles(1);
    return this.#keep({ kind: 'file', path, descriptor, flags });
  }

  #keep(handle: Handle): Answer {
    const bytes = number(this.#count);
    this.#count += 1;
    this.#handles.set(bytes.toString('latin1'), handle);
    return { type: 'HANDLE', handle: bytes };
  }

  #handle(request: Request): Handle {
    const handle = this.#handles.get(request.handle ?? '');
    // As OpenSSH: an unknown handle is a FAILURE.
    if (handle === undefined) throw new Refusal(STATUS.FAILURE);
    return handle;
  }

  #file(request: Request): OpenFile {
    const handle = this.#handle(request);
    if (handle.kind !== 'file') throw new Refusal(STATUS.FAILURE);
    return handle;
  }

  #close(key: string): void {
    const handle = this.#handles.get(key);
    if (handle === undefined) return;
    this.#handles.delete(key);
    if (handle.kind === 'file') fs.closeSync(handle.descriptor);
    this.#store.journal.handles(-1);
  }

  #read(file: OpenFile, request: Request, faults: Faults): Answer {
    const { settings, journal } = this.#store;
    const { offset = 0, bytes = 0 } = request;
    const short = faults.find('shortRead')?.bytes ?? Number.POSITIVE_INFINITY;
    const wanted = Math.min(bytes, settings.limits.maxReadBytes, short);
    const buffer = Buffer.alloc(wanted);
    const count = wanted === 0 ? 0 : fs.readSync(file.descriptor, buffer, 0, wanted, offset);
    const endless = faults.find('endlessRead') !== undefined;
    if (count === 0 && short > 0 && !endless) return status(STATUS.EOF);
    const content = corrupted(endless ? buffer : buffer.subarray(0, count), offset, faults);
    const more = Buffer.alloc(faults.find('longRead')?.addBytes ?? 0);
    journal.count('sentBytes', content.length);
    return { type: 'DATA', bytes: more.length === 0 ? content : Buffer.concat([content, more]) };
  }

  #write(file: OpenFile, request: Request, faults: Faults): Answer {
    const { settings, journal } = this.#store;
    const content = corrupted(request.content ?? Buffer.alloc(0), request.offset ?? 0, faults);
    const kept = content.subarray(0, faults.find('shortWrite')?.bytes ?? content.length);
    const append = (file.flags & OPEN_FLAGS.APPEND) !== 0;
    const { size } = fs.fstatSync(file.descriptor);
    const offset = append ? size : (request.offset ?? 0);
    const growth = Math.max(0, offset + kept.length - size);
    if (this.#store.usedBytes + growth > settings.capacityBytes) {
      throw new Refusal(settings.fullStatus);
    }
    let done = 0;
    while (done < kept.length)
      done += fs.writeSync(file.descriptor, kept, done, kept.length - done, append ? null : offset + done);
    this.#store.usedBytes += growth;
    journal.count('receivedBytes', kept.length);
    return ok;
  }

  #set(target: Buffer | number, attributes: WireAttributes): Answer {
    const { settings } = this.#store;
    const { sizeBytes, mode, accessedS, modifiedS, uid, gid } = attributes;
    let refused: Refusal | undefined;
    const part = (work: () => void, how: Settings['times']): void => {
      if (how === 'ignored') return;
      if (how === 'refused') refused = new Refusal(STATUS.PERMISSION_DENIED);
      else if (how === 'unsupported') refused = new Refusal(STATUS.OP_UNSUPPORTED);
      else work();
    };
    const path = typeof target === 'number' ? undefined : target;
    const descriptor = typeof target === 'number' ? target : -1;
    if (sizeBytes !== undefined) {
      const before = path === undefined ? fs.fstatSync(descriptor).size : fs.statSync(path).size;
      if (path === undefined) fs.ftruncateSync(descriptor, Number(sizeBytes));
      else fs.truncateSync(path, Number(sizeBytes));
      this.#store.usedBytes += Number(sizeBytes) - before;
    }
    if (mode !== undefined)
      part(() => {
        if (path === undefined) fs.fchmodSync(descriptor, mode & 0o7777);
        else fs.chmodSync(path, mode & 0o7777);
      }, settings.modes);
    if (accessedS !== undefined && modifiedS !== undefined)
      part(() => {
        if (path === undefined) fs.futimesSync(descriptor, accessedS, modifiedS);
        else fs.utimesSync(path, accessedS, modifiedS);
      }, settings.times);
    if (uid !== undefined && gid !== undefined) {
      if (path === undefined) fs.fchownSync(descriptor, uid, gid);
      else fs.chownSync(path, uid, gid);
    }
    if (refused !== undefined) throw refused;
    return ok;
  }

  #setLink(path: Buffer, { accessedS, modifiedS, mode }: WireAttributes): Answer {
    if (accessedS !== undefined && modifiedS !== undefined) fs.lutimesSync(path, accessedS, modifiedS);
    // Linux has no permissions of links: EOPNOTSUPP, which OpenSSH tells as a failure.
    if (mode !== undefined && fs.lstatSync(path).isSymbolicLink()) throw new Refusal(STATUS.FAILURE);
    if (mode !== undefined) fs.chmodSync(path, mode & 0o7777);
    return ok;
  }

  async #openDirectory(path: ByteString, faults: Faults): Promise<Answer> {
    const { settings, journal } = this.#store;
    if (settings.limits.maxHandles > 0 && this.#handles.size >= settings.limits.maxHandles)
      throw new Refusal(STATUS.FAILURE);
    const real = await this.#real(path, 'followed');
    const names = fs.readdirSync(real, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
    const shown = [...(settings.dots === 'shown' ? ['.', '..'] : []), ...names.sort()];
    const endless = faults.find('endlessListing');
    const cut = faults.find('cutListing')?.entries ?? Number.POSITIVE_INFINITY;
    journal.handles(1);
    return this.#keep({
      kind: 'directory',
      path,
      entries: endless === undefined ? this.#entries(real, shown, cut) : endlessEntries(),
      perAnswer: endless?.entries ?? settings.entriesPerAnswer,
    });
  }

  *#entries(real: Buffer, names: readonly string[], limit: number): Generator<WireName> {
    let left = limit;
    for (const name of names) {
      left -= 1;
      if (left < 0) return;
      const full = Buffer.concat([real, Buffer.from(`/${name}`, 'latin1')]);
      const entry = this.#entry(name, full);
      if (entry !== undefined) yield entry;
    }
  }

  #entry(name: string, full: Buffer): WireName | undefined {
    let stats: fs.BigIntStats;
    try {
      stats = fs.lstatSync(full, { bigint: true });
    } catch {
      // It went between readdir and lstat; a listing simply does not show it then.
      return undefined;
    }
    const { listing } = this.#store.settings;
    const all = attributesOf(stats);
    const { mode: _type, ...rest } = all;
    return {
      name: Buffer.from(name, 'latin1'),
      longname: listing === 'names' ? Buffer.from(name, 'latin1') : longname(name, all),
      attributes: listing === 'attributes' ? all : listing === 'longname' ? rest : {},
    };
  }

  #readDirectory(handle: Handle, faults: Faults): Answer {
    if (handle.kind !== 'directory') throw new Refusal(STATUS.FAILURE);
    const names: WireName[] = [];
    const more = faults.find('names');
    if (more?.how !== 'replace') {
      while (names.length < handle.perAnswer) {
        const next = handle.entries.next();
        if (next.done === true) break;
        names.push(next.value);
      }
    }
    for (const { name, longname: words, attributes } of more?.entries ?? []) {
      const bytes = Buffer.from(name);
      names.push({
        name: bytes,
        longname: words === undefined ? bytes : Buffer.from(words),
        attributes: attributes ?? { sizeBytes: 1, mode: 0o100644, accessedS: 1, modifiedS: 1 },
      });
    }
    return names.length === 0 ? status(STATUS.EOF) : { type: 'NAME', names };
  }

  #remove(real: Buffer): Answer {
    const size = sizeMaybe(real);
    fs.unlinkSync(real);
    this.#store.usedBytes -= size;
    return ok;
  }

  async #rename(from: ByteString, to: ByteString, how: Settings['rename']): Promise<Answer> {
    if (how === 'unsupported') throw new Refusal(STATUS.OP_UNSUPPORTED);
    const [old, fresh] = [await this.#real(from, 'itself'), await this.#real(to, 'itself')];
    if (how === 'refuses' && fs.lstatSync(fresh, { throwIfNoEntry: false }) !== undefined) {
      fs.lstatSync(old);
      throw new Refusal(STATUS.FAILURE);
    }
    const replaced = old.equals(fresh) ? 0 : sizeMaybe(fresh);
    fs.renameSync(old, fresh);
    this.#store.usedBytes -= replaced;
    return ok;
  }

  #space(real: Buffer): Answer {
    const { settings, usedBytes } = this.#store;
    const found = fs.statfsSync(real, { bigint: true });
    const blockBytes = 4096n;
    const limited = Number.isFinite(settings.capacityBytes);
    const blocks = limited ? BigInt(Math.floor(settings.capacityBytes / 4096)) : found.blocks;
    const free = limited
      ? BigInt(Math.max(0, Math.floor((settings.capacityBytes - usedBytes) / 4096)))
      : found.bavail;
    const size = limited ? blockBytes : found.bsize;
    const readOnly = settings.readOnly ? 1n : 0n;
    const all = [size, size, blocks, free, free, found.files, found.ffree, found.ffree, 1n, readOnly, 255n];
    return { type: 'EXTENDED_REPLY', body: Buffer.concat(all.map(long)) };
  }

  /** copy-data: the request's rest is where from, how much (0: to the end), the other handle, where to. */
  #copy(source: OpenFile, rest: Buffer): Answer {
    const reader = new PacketReader(rest);
    const [from, length] = [reader.long(), reader.long()];
    const target = this.#handles.get(reader.text());
    const to = reader.long();
    if (target?.kind !== 'file') throw new Refusal(STATUS.FAILURE);
    const all = readWhole(source.descriptor).subarray(from);
    const part = length === 0 ? all : all.subarray(0, length);
    let done = 0;
    while (done < part.length)
      done += fs.writeSync(target.descriptor, part, done, part.length - done, to + done);
    return ok;
  }

  /** check-file: the request's rest is the digests it would take, where from, how much (0: to the end), block size. */
  #check(content: Buffer, rest: Buffer): Answer {
    const reader = new PacketReader(rest);
    const wanted = reader.text().split(',');
    const [from, length, block] = [reader.long(), reader.long(), reader.number()];
    const known = this.#store.settings.digests.split(',');
    const algorithm = wanted.find((each) => known.includes(each));
    // As mod_sftp: nothing is to be had of an empty file.
    if (algorithm === undefined || (block !== 0 && block < 256) || from >= content.length)
      throw new Refusal(STATUS.FAILURE);
    const part = content.subarray(from, length === 0 ? content.length : from + length);
    const blocks: Buffer[] = [];
    for (let at = 0; at < part.length; at += block === 0 ? part.length : block)
      blocks.push(digestOf(block === 0 ? part : part.subarray(at, at + block), algorithm));
    return { type: 'EXTENDED_REPLY', body: Buffer.concat([string(algorithm), ...blocks]) };
  }

  async #real(path: ByteString, lastLink: 'followed' | 'itself'): Promise<Buffer> {
    return this.#store.disk.real(path, { lastLink });
  }
}

/** The pairs of a VERSION. */
export function versionOf(settings: Settings): Answer {
  const ours = Object.entries(EXTENSION_DATA)
    .filter(([name]) => settings.extensions[name as Extension])
    .map(([name, data]) => [name, name === 'check-file' ? settings.digests : data] as const);
  const extensions = [...ours, ...Object.entries(settings.otherExtensions)];
  return { type: 'VERSION', version: settings.version, extensions };
}

function isExtension(name: string, { extensions }: Settings): boolean {
  if (name === 'check-file-name' || name === 'check-file-handle') return extensions['check-file'];
  return Object.hasOwn(extensions, name) && extensions[name as Extension];
}

/** As OpenSSH's errno_to_portable. */
function refusal(error: unknown): Answer {
  if (error instanceof Refusal) return status(error.code, error.message);
  if (error instanceof ShortPacket) return status(STATUS.BAD_MESSAGE);
  if (error instanceof DiskRefusal)
    return status(/nowhere/.test(error.message) ? STATUS.NO_SUCH_FILE : STATUS.PERMISSION_DENIED);
  switch (errorCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EBADF':
    case 'ELOOP':
      return status(STATUS.NO_SUCH_FILE);
    case 'EPERM':
    case 'EACCES':
      return status(STATUS.PERMISSION_DENIED);
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return status(STATUS.BAD_MESSAGE);
    case undefined:
      throw error;
    default:
      return status(STATUS.FAILURE);
  }
}

function attributesAnswer(stats: fs.BigIntStats): Answer {
  return { type: 'ATTRS', attributes: attributesOf(stats) };
}

function attributesOf(stats: fs.BigIntStats): Required<WireAttributes> & { readonly sizeBytes: bigint } {
  return {
    sizeBytes: stats.size,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    mode: Number(stats.mode),
    accessedS: seconds(stats.atimeNs),
    modifiedS: seconds(stats.mtimeNs),
  };
}

function seconds(ns: bigint): number {
  return Number(BigInt.asUintN(32, ns / 1_000_000_000n));
}

function nameAnswer(path: ByteString): Answer {
  const name = Buffer.from(path, 'latin1');
  return { type: 'NAME', names: [{ name, longname: name, attributes: {} }] };
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [0o100000, '-'],
  [0o040000, 'd'],
  [0o120000, 'l'],
  [0o010000, 'p'],
  [0o140000, 's'],
]);

/** As `ls -l` writes it, with a time that nobody should read. */
function longname(name: ByteString, { mode = 0, uid = 0, gid = 0, sizeBytes = 0 }: WireAttributes): Buffer {
  const type = TYPES.get(mode & 0o170000) ?? '?';
  const bits = [6, 3, 0].map((shift) => {
    const three = (mode >> shift) & 7;
    return `${three & 4 ? 'r' : '-'}${three & 2 ? 'w' : '-'}${three & 1 ? 'x' : '-'}`;
  });
  const size = String(sizeBytes).padStart(8);
  const line = `${type}${bits.join('')}    1 ${String(uid).padEnd(8)} ${String(gid).padEnd(8)} ${size} Jan  1 00:00 ${name}`;
  return Buffer.from(line, 'latin1');
}

function* endlessEntries(): Generator<WireName> {
  for (let count = 0; ; count += 1) {
    const name = Buffer.from(`endless-${count}`);
    yield { name, longname: name, attributes: { sizeBytes: 1, mode: 0o100644, accessedS: 1, modifiedS: 1 } };
  }
}

function corrupted(content: Buffer, offset: number, faults: Faults): Buffer {
  const at = (faults.find('corrupt')?.atByte ?? -1) - offset;
  const there = content[at];
  if (there === undefined) return content;
  const copy = Buffer.from(content);
  copy[at] = there ^ 0xff;
  return copy;
}

function sizeMaybe(real: Buffer): number {
  const stats = fs.lstatSync(real, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.size : 0;
}

function readWhole(descriptor: number): Buffer {
  const { size } = fs.fstatSync(descriptor);
  const bytes = Buffer.alloc(size);
  const count = size === 0 ? 0 : fs.readSync(descriptor, bytes, 0, size, 0);
  return bytes.subarray(0, count);
}

function digestOf(bytes: Buffer, algorithm: string): Buffer {
  return algorithm === 'crc32' ? number(crc32(bytes)) : createHash(algorithm).update(bytes).digest();
}

/** A path as the journal shows it. */
export function shownPath(path: ByteString | undefined): string | undefined {
  return path === undefined ? undefined : fromBytes(path);
}
