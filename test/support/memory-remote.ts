/*
 * A remote in this process's memory: the Remote contract without a socket, for tests of what lies above it, and as a
 * second implementation that keeps the contract honest. `MemoryTree` is the disk behind it, `MemoryRemote` the way
 * there. Keeps the promises of remote.ts (temporary name, proof, time, rename; missing directories made) and answers
 * refusals as an FTP server does, with replies, so that remote/failure.ts judges them as it judges a server's.
 * Deliberately never follows a link, and knows no accounts, rights or quota; `before` can play those.
 */
import { createHash } from 'node:crypto';
import { setImmediate as breath } from 'node:timers/promises';
import { FtpError, type Phase } from '../../src/ftp/errors.js';
import type { Digest } from '../../src/plan/digest.js';
import type { LinkEntry, RelativePath, RemoteFile } from '../../src/plan/entry.js';
import {
  AsideTaken,
  type Delivered,
  type DeliverOptions,
  type Delivery,
  type Difference,
  type DigestOptions,
  type FetchOptions,
  type LinkMaking,
  type ListOptions,
  type OperationOptions,
  type Remote,
  type RemoteDirectory,
  type RemoteLinks,
  type Source,
  wholeSeconds,
} from '../../src/remote/remote.js';

interface File {
  readonly kind: 'file';
  /** Only ever grows; what replaces a file is a new one, so that who reads the old one reads it to its end. */
  readonly chunks: Buffer[];
  sizeBytes: number;
  modifiedMs: number;
  permissions: number;
}

interface Directory {
  readonly kind: 'directory';
  /** By the bytes of their names, one character a byte. */
  readonly entries: Map<string, Node>;
}

interface Link {
  readonly kind: 'link';
  readonly leadsTo: string;
}

type Node = File | Directory | Link;

const NAME_LIMIT_BYTES = 255;
const READ_BYTES = 64 * 1024;

/** What an operation is about to do. */
export interface Step {
  readonly step:
    | 'store'
    | 'prove'
    | 'time'
    | 'rename'
    | 'retrieve'
    | 'stat'
    | 'list'
    | 'remove'
    | 'move'
    | 'make'
    | 'clear'
    | 'digest'
    | 'link'
    | 'read-link';
  readonly path: RelativePath | '';
}

export interface MemoryRemoteOptions {
  readonly tree?: MemoryTree;
  /** How messages name it. */
  readonly label?: string;
  /** How many operations may be under way at once; the others wait for their turn. */
  readonly connections?: number;
  /** Called before each step; what it throws is what the step fails with, and what it waits for delays it. */
  readonly before?: (step: Step) => void | Promise<void>;
}

/** Files, directories and links by their names, which are bytes as on a disk. */
export class MemoryTree {
  readonly #root: Directory = { kind: 'directory', entries: new Map() };
  readonly #meet: readonly Difference[];

  /** @param options.meet names that differ only so are one name there, written as it first was */
  constructor(options: { readonly meet?: readonly Difference[] } = {}) {
    this.#meet = options.meet ?? [];
  }

  keepsApart(difference: Difference): boolean {
    return !this.#meet.includes(difference);
  }

  /** Where a path has its place in a directory: under the name that it has there, if it has one. */
  keyIn({ entries }: Directory, path: RelativePath): string {
    const key = keyOf(nameOf(path));
    if (this.#meet.length === 0 || entries.has(key)) return key;
    const folded = this.#folded(nameOf(path));
    return [...entries.keys()].find((each) => this.#folded(shown(each)) === folded) ?? key;
  }

  /** Takes a name away, and all that is below it. */
  drop(path: RelativePath): void {
    const parent = this.directory(parentOf(path));
    parent?.entries.delete(this.keyIn(parent, path));
  }

  #folded(name: string): string {
    const formed = this.#meet.includes('form') ? name.normalize('NFC') : name;
    return this.#meet.includes('case') ? formed.toLowerCase() : formed;
  }

  /** Paths of all that is no directory, sorted. */
  files(): string[] {
    return [...below(this.#root, '')].sort();
  }

  /** Names in the root, sorted. */
  names(): string[] {
    return [...this.#root.entries.keys()].map(shown).sort();
  }

  /** @throws where there is no such file */
  read(path: RelativePath): Buffer {
    return Buffer.concat(this.#file(path).chunks);
  }

  /** @throws where there is no such file */
  modifiedMs(path: RelativePath): number {
    return this.#file(path).modifiedMs;
  }

  /** @throws where there is no such file */
  permissions(path: RelativePath): number {
    return this.#file(path).permissions;
  }

  /** Writes a whole file, and the directories that it needs; of now, where no time is said. */
  write(path: RelativePath, content: Buffer | string, modifiedMs = Date.now()): void {
    this.#put(path, fileOf(Buffer.from(content), modifiedMs));
  }

  /** A file in the root whose name is any bytes but a slash and NUL. */
  writeNamed(name: Buffer, content: Buffer | string): void {
    this.#root.entries.set(name.toString('latin1'), fileOf(Buffer.from(content), Date.now()));
  }

  makeDirectory(path: RelativePath): void {
    if (this.directory(path, 'made') === undefined) throw new Error(`${path} is no place for a directory`);
  }

  link(path: RelativePath, leadsTo = 'elsewhere'): void {
    this.#put(path, { kind: 'link', leadsTo });
  }

  /** @throws where there is no such link */
  leadsTo(path: RelativePath): string {
    const node = this.at(path);
    if (node?.kind !== 'link') throw new Error(`there is no link ${path}`);
    return node.leadsTo;
  }

  /** What stands at a path; undefined also where something above it is no directory. */
  at(path: RelativePath | ''): Node | undefined {
    if (path === '') return this.#root;
    const parent = this.directory(parentOf(path));
    return parent?.entries.get(this.keyIn(parent, path));
  }

  /** A directory; `made`: with those above it, where nothing else is in their place. */
  directory(path: RelativePath | '', missing?: 'made'): Directory | undefined {
    let here = this.#root;
    for (const name of path === '' ? [] : path.split('/')) {
      const key = this.keyIn(here, name);
      let next = here.entries.get(key);
      if (next === undefined && missing === 'made') {
        next = { kind: 'directory', entries: new Map() };
        here.entries.set(key, next);
      }
      if (next?.kind !== 'directory') return undefined;
      here = next;
    }
    return here;
  }

  #file(path: RelativePath): File {
    const node = this.at(path);
    if (node?.kind !== 'file') throw new Error(`there is no file ${path}`);
    return node;
  }

  #put(path: RelativePath, node: Node): void {
    const parent = this.directory(parentOf(path), 'made');
    if (parent === undefined) throw new Error(`${path} is no place for a file`);
    parent.entries.set(this.keyIn(parent, path), node);
  }
}

export class MemoryRemote implements Remote {
  readonly temporaryForm = 'hidden';
  readonly label: string;
  readonly appetite: number;
  readonly tree: MemoryTree;
  links: RemoteLinks = {
    read: (path, options) => this.#readLink(path, options),
    make: (making, options) => this.#makeLink(making, options),
  };
  readonly #before: (step: Step) => void | Promise<void>;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(options: MemoryRemoteOptions = {}) {
    const { tree = new MemoryTree(), label = 'memory:', connections = 4, before = () => {} } = options;
    this.label = label;
    this.appetite = connections;
    this.tree = tree;
    this.#free = connections;
    this.#before = before;
  }

  deliver(delivery: Delivery, options: DeliverOptions = {}): Promise<Delivered> {
    const { path, temporary, source } = delivery;
    const { signal, stop } = options;
    return this.#inTurn(async () => {
      stop?.throwIfAborted();
      wanted(signal, 'STOR');
      checkPath(path);
      checkPath(temporary);
      const fromByte = await this.#provenPart(delivery);
      await this.#store(temporary, source, fromByte, signal);
      const { sha256 } = await orAborted(source.confirm(), signal, 'STOR');
      await this.#step('prove', temporary, signal);
      const held = this.tree.at(temporary);
      if (held?.kind !== 'file' || hashOf(held) !== sha256) {
        throw mismatch(`${this.label} does not hold ${path} as it was sent.`, 'STOR');
      }
      const published = await this.#publish(delivery, source.modifiedMs, signal);
      return { bytes: held.sizeBytes, fromByte, sha256, ...published };
    });
  }

  fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte = 0, holds }: FetchOptions = {},
  ): Promise<number> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('retrieve', path, signal);
      const file = this.tree.at(path);
      if (file?.kind !== 'file') throw this.#noFile('RETR', 'transfer', path);
      const content = Buffer.concat(file.chunks);
      for (let from = fromByte; from < content.length; from += READ_BYTES) {
        await breath();
        wanted(signal, 'RETR');
        // A copy: whoever is given it may do with it what he likes.
        await sink(Buffer.from(content.subarray(from, from + READ_BYTES)));
      }
      wanted(signal, 'RETR');
      if (holds !== undefined && !(await holds({ algorithm: 'SHA-256', hex: hashOf(file) }))) {
        throw mismatch(`${this.label} holds other bytes of ${path} than it gave.`, 'RETR');
      }
      return Math.max(0, content.length - fromByte);
    });
  }

  stat(path: RelativePath, { signal }: OperationOptions = {}): Promise<RemoteFile | undefined> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('stat', path, signal);
      const node = this.tree.at(path);
      return node?.kind === 'file' ? sightOf(path, node) : undefined;
    });
  }

  list(directory: RelativePath | '', { signal, links: asked }: ListOptions = {}): Promise<RemoteDirectory> {
    return this.#inTurn(async () => {
      if (directory !== '') checkPath(directory);
      await this.#step('list', directory, signal);
      const found = this.tree.directory(directory);
      if (found === undefined) throw this.#noFile('MLSD', 'transfer', directory);
      const files: RemoteFile[] = [];
      const directories: RelativePath[] = [];
      const links: LinkEntry[] = [];
      const others: RelativePath[] = [];
      let complete = true;
      for (const [key, node] of found.entries) {
        const name = textOf(key);
        if (name === undefined || /[\0-\x1f\x7f]/.test(name)) {
          complete = false;
          continue;
        }
        const path = directory === '' ? name : `${directory}/${name}`;
        if (node.kind === 'file') files.push({ ...sightOf(path, node), permissions: node.permissions });
        else if (node.kind === 'link' && asked === 'told') links.push({ path, leadsTo: node.leadsTo });
        else (node.kind === 'directory' ? directories : others).push(path);
      }
      const told = asked === 'told' ? { links } : {};
      return { files, directories, ...told, others, complete, proven: complete };
    });
  }

  remove(path: RelativePath, { signal }: OperationOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('remove', path, signal);
      const node = this.tree.at(path);
      if (node?.kind === 'directory') throw refusal('DELE', 'command', 550, 'Is a directory.', this.label);
      this.tree.drop(path);
    });
  }

  move(
    from: RelativePath,
    to: RelativePath,
    { signal }: OperationOptions = {},
  ): Promise<'moved' | 'missing' | 'occupied'> {
    return this.#inTurn(async () => {
      checkPath(from);
      checkPath(to);
      return this.#move(from, to, signal);
    });
  }

  makeDirectory(path: RelativePath | '', { signal }: OperationOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      if (path === '') return this.#step('make', path, signal);
      checkPath(path);
      await this.#step('make', path, signal);
      const parts = path.split('/');
      const above = parts.map((_part, depth) => parts.slice(0, depth + 1).join('/'));
      const file = above.find((each) => this.tree.at(each)?.kind === 'file');
      if (file !== undefined) {
        throw new FtpError('argument', `${this.label} has a file called ${file}.`, { phase: 'command' });
      }
      if (this.tree.directory(path, 'made') === undefined)
        throw refusal('MKD', 'command', 550, 'Not a directory.', this.label);
    });
  }

  removeDirectory(path: RelativePath, { signal }: OperationOptions = {}): Promise<'removed' | 'not-empty'> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('clear', path, signal);
      const node = this.tree.at(path);
      if (node === undefined) return 'removed';
      if (node.kind !== 'directory') throw refusal('RMD', 'command', 550, 'Not a directory.', this.label);
      if (node.entries.size > 0) return 'not-empty';
      this.tree.drop(path);
      return 'removed';
    });
  }

  digest(path: RelativePath, { signal }: DigestOptions): Promise<Digest | undefined> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('digest', path, signal);
      const node = this.tree.at(path);
      return node?.kind === 'file' ? { algorithm: 'SHA-256', hex: hashOf(node) } : undefined;
    });
  }

  async keepsApart(difference: Difference): Promise<boolean> {
    return this.tree.keepsApart(difference);
  }

  #readLink(path: RelativePath, { signal }: OperationOptions = {}): Promise<string | undefined> {
    return this.#inTurn(async () => {
      checkPath(path);
      await this.#step('read-link', path, signal);
      const node = this.tree.at(path);
      return node?.kind === 'link' ? node.leadsTo : undefined;
    });
  }

  #makeLink(
    { path, temporary, leadsTo, aside }: LinkMaking,
    { signal, stop }: DeliverOptions = {},
  ): Promise<{ readonly setAside: boolean }> {
    return this.#inTurn(async () => {
      stop?.throwIfAborted();
      wanted(signal, 'SYMLINK');
      checkPath(path);
      checkPath(temporary);
      await this.#step('link', temporary, signal);
      const parent = this.tree.directory(parentOf(temporary), 'made');
      if (parent === undefined || this.tree.at(temporary) !== undefined)
        throw refusal('SYMLINK', 'command', 550, 'Failure.', this.label);
      this.tree.link(temporary, leadsTo);
      const link = this.tree.at(temporary);
      const moved = aside === undefined ? 'missing' : await this.#move(path, aside, signal);
      if (moved === 'occupied') throw new AsideTaken(`${this.label} has a file at ${aside} already.`);
      await this.#step('rename', path, signal);
      if (link === undefined || this.tree.at(temporary) !== link)
        throw this.#noFile('RNFR', 'command', temporary);
      if (this.tree.at(path)?.kind === 'directory')
        throw refusal('RNTO', 'command', 550, 'Is a directory.', this.label);
      this.tree.drop(temporary);
      parent.entries.set(this.tree.keyIn(parent, path), link);
      return { setAside: moved === 'moved' };
    });
  }

  async #move(
    from: RelativePath,
    to: RelativePath,
    signal: AbortSignal | undefined,
  ): Promise<'moved' | 'missing' | 'occupied'> {
    await this.#step('move', from, signal);
    const file = this.tree.at(from);
    if (file === undefined || file.kind === 'directory') return 'missing';
    if (this.tree.at(to) !== undefined) return 'occupied';
    const parent = this.tree.directory(parentOf(to), 'made');
    if (parent === undefined) throw refusal('RNTO', 'command', 553, 'Not a directory.', this.label);
    this.tree.drop(from);
    parent.entries.set(this.tree.keyIn(parent, to), file);
    return 'moved';
  }

  /** How much of the file stands under its temporary name already, as its hash proves. */
  async #provenPart({ part, temporary, source }: Delivery): Promise<number> {
    const held = this.tree.at(temporary);
    if (part === 'none' || held?.kind !== 'file' || held.sizeBytes > source.sizeBytes) return 0;
    return hashOf(held) === (await source.digestOf(held.sizeBytes, 'SHA-256')) ? held.sizeBytes : 0;
  }

  /** The bytes to the temporary name, as they come: after a failure a part stands there. */
  async #store(
    temporary: RelativePath,
    source: Source,
    fromByte: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#step('store', temporary, signal);
    const parent = this.tree.directory(parentOf(temporary), 'made');
    if (parent === undefined) throw refusal('STOR', 'transfer', 553, 'Not a directory.', this.label);
    const there = this.tree.at(temporary);
    if (there?.kind === 'directory') {
      throw refusal('STOR', 'transfer', 553, 'Is a directory.', this.label);
    }
    const begun = fromByte > 0 && there?.kind === 'file' ? Buffer.concat(there.chunks) : Buffer.alloc(0);
    const file = fileOf(begun, Date.now());
    parent.entries.set(this.tree.keyIn(parent, temporary), file);
    const chunks = source.chunks({ fromByte })[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { done, value } = await orAborted(chunks.next(), signal, 'STOR');
        if (done === true) break;
        // The reader may use the chunk's memory again for the next one.
        const chunk = Buffer.from(value);
        file.chunks.push(chunk);
        file.sizeBytes += chunk.length;
        await breath();
        wanted(signal, 'STOR');
      }
    } finally {
      // Not waited for: a source that hangs would keep an abort from being heard.
      chunks.return?.().catch(() => undefined);
    }
  }

  async #publish(
    delivery: Delivery,
    modifiedMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Pick<Delivered, 'modifiedMs' | 'setAside'>> {
    const { path, temporary, permissions, aside } = delivery;
    await this.#step('time', temporary, signal);
    const file = this.tree.at(temporary);
    if (file?.kind !== 'file') throw this.#noFile('RNFR', 'command', temporary);
    file.modifiedMs = wholeSeconds(modifiedMs);
    if (permissions !== undefined) file.permissions = permissions & 0o777;
    const setAside = aside !== undefined && (await this.#setAside(delivery, aside, signal));
    await this.#step('rename', path, signal);
    const to = this.tree.directory(parentOf(path));
    if (to === undefined || this.tree.at(temporary) !== file) {
      throw this.#noFile('RNFR', 'command', temporary);
    }
    if (this.tree.at(path)?.kind === 'directory') {
      throw refusal('RNTO', 'command', 550, 'Is a directory.', this.label);
    }
    this.tree.drop(temporary);
    to.entries.set(this.tree.keyIn(to, path), file);
    return { modifiedMs: file.modifiedMs, setAside };
  }

  async #setAside(
    { path, temporary, part }: Delivery,
    aside: RelativePath,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const moved = await this.#move(path, aside, signal);
    if (moved === 'moved') return true;
    // By an attempt that was cut off.
    if (moved === 'missing') return part === 'possible' && this.tree.at(aside)?.kind === 'file';
    const [held, sent] = [this.tree.at(path), this.tree.at(temporary)];
    if (held?.kind === 'file' && sent?.kind === 'file' && hashOf(held) === hashOf(sent)) return true;
    throw new AsideTaken(`${this.label} has a file at ${aside} already.`);
  }

  async #step(step: Step['step'], path: RelativePath | '', signal?: AbortSignal): Promise<void> {
    await breath();
    await this.#before({ step, path });
    wanted(signal, step);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  #noFile(verb: string, phase: Phase, path: RelativePath | ''): FtpError {
    return refusal(verb, phase, 550, `${path}: No such file or directory.`, this.label);
  }
}

/** A refusal as a server speaks it. */
export function refusal(verb: string, phase: Phase, code: number, words: string, label: string): FtpError {
  const line = `${code} ${words}`;
  return new FtpError('reply', `${label} answered ${verb} with: ${line}`, {
    phase,
    verb,
    reply: { code, lines: [line] },
  });
}

function mismatch(message: string, verb: string): FtpError {
  return new FtpError('mismatch', message, { phase: 'transfer', verb });
}

function hashOf({ chunks }: File): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

/** @throws {FtpError} kind `aborted` where the operation is not wanted any more */
function wanted(signal: AbortSignal | undefined, verb: string): void {
  if (signal?.aborted !== true) return;
  throw new FtpError('aborted', `The ${verb} was not wanted any more.`, {
    phase: 'transfer',
    verb,
    cause: signal.reason,
  });
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, verb: string): Promise<T> {
  if (signal === undefined) return work;
  // Left alone after an abort, its own end interests nobody.
  work.catch(() => undefined);
  wanted(signal, verb);
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      try {
        wanted(signal, verb);
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** @throws {FtpError} kind `argument` for what cannot travel in a command, `reply` for a name too long to store */
function checkPath(path: RelativePath): void {
  const wellFormed = Buffer.from(path).toString() === path;
  const names = path.split('/');
  if (!wellFormed || /[\r\n\0]/.test(path) || names.some((name) => ['', '.', '..'].includes(name))) {
    throw new FtpError('argument', 'The name holds what cannot travel in a command.', { phase: 'command' });
  }
  if (names.some((name) => Buffer.byteLength(name) > NAME_LIMIT_BYTES)) {
    throw refusal('STOR', 'command', 553, 'File name too long.', 'memory:');
  }
}

function sightOf(path: RelativePath, file: File): RemoteFile {
  return { path, sizeBytes: file.sizeBytes, modifiedMs: wholeSeconds(file.modifiedMs) };
}

function fileOf(content: Buffer, modifiedMs: number): File {
  const chunks = content.length === 0 ? [] : [content];
  return { kind: 'file', chunks, sizeBytes: content.length, modifiedMs, permissions: 0o644 };
}

function* below(directory: Directory, prefix: string): Generator<string> {
  for (const [key, node] of directory.entries) {
    if (node.kind === 'directory') yield* below(node, `${prefix}${shown(key)}/`);
    else yield `${prefix}${shown(key)}`;
  }
}

function keyOf(name: string): string {
  return Buffer.from(name).toString('latin1');
}

/** The text of a name's bytes, or undefined where they are no UTF-8. */
function textOf(key: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(key, 'latin1'));
  } catch {
    return undefined;
  }
}

/** For people: what is no UTF-8 is shown byte by byte. */
function shown(key: string): string {
  return textOf(key) ?? key;
}

function parentOf(path: RelativePath): RelativePath | '' {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function nameOf(path: RelativePath): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
