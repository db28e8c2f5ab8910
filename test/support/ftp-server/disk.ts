/*
 * The server's tree on disk: virtual paths (`/` is the root directory) to real ones, and never outside it, not through
 * `..` and not through a link. Names are bytes, as FTP has them: a virtual path is a string of bytes (Latin-1),
 * so that a name that is no UTF-8 survives. A parent swapped for a link between check and use is out of scope.
 */
import { type BigIntStats, promises as fs, readdirSync, realpathSync } from 'node:fs';
import { posix } from 'node:path';
import type { Settings } from './settings.js';

/** A string whose code units are the bytes of a path or a line. */
export type ByteString = string;

export function toBytes(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Text for people and tests: UTF-8, or Latin-1 where the bytes are no UTF-8. */
export function fromBytes(bytes: ByteString): string {
  const buffer = Buffer.from(bytes, 'latin1');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(buffer);
  } catch {
    return bytes;
  }
}

/** A refusal with the reason a server would give. */
export class DiskRefusal extends Error {
  override readonly name = 'DiskRefusal';
}

/** Name and facts of one directory entry; a link that leads out of the root is shown as what it is. */
export interface DiskEntry {
  readonly name: ByteString;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly mode: number;
}

export class Disk {
  readonly #root: ByteString;
  readonly #names: Settings['names'];

  constructor(root: string, names: Settings['names']) {
    this.#root = realpathSync(Buffer.from(root, 'utf8'), { encoding: 'buffer' }).toString('latin1');
    this.#names = names;
  }

  /** Absolute virtual path of an argument; `..` stops at the root. */
  resolve(directory: ByteString, argument: ByteString): ByteString {
    const path = posix.resolve('/', directory, argument);
    if (this.#names === 'bytes') return path;
    if (this.#names === 'caseless' || this.#names === 'formless') return this.#asWritten(path, this.#names);
    return path
      .split('/')
      .map((component) => (this.#names === 'pure-ftpd' ? pureName(component) : unicodeName(component)))
      .join('/');
  }

  /** Each component as it stands there already, in whatever case or form that is. */
  #asWritten(path: ByteString, names: 'caseless' | 'formless'): ByteString {
    const folded = (name: ByteString): string => {
      const text = fromBytes(name);
      return names === 'caseless' ? text.toLowerCase() : text.normalize('NFC');
    };
    let here = '';
    for (const component of path.split('/').slice(1)) {
      const wanted = folded(component);
      const there = namesIn(this.#root + here).find((name) => folded(name) === wanted);
      here += `/${there ?? component}`;
    }
    return here;
  }

  /**
   * Real path of a virtual one.
   *
   * @throws DiskRefusal where a link leads outside the root; the errno of a missing parent
   */
  async real(path: ByteString, options: { readonly lastLink: 'followed' | 'itself' }): Promise<Buffer> {
    const wanted = Buffer.from(path === '/' ? this.#root : this.#root + path, 'latin1');
    if (path === '/') return wanted;
    const parent = realpath(Buffer.from(this.#root + posix.dirname(path), 'latin1'));
    this.#inside(parent);
    const real = Buffer.from(`${parent}/${posix.basename(path)}`, 'latin1');
    if (options.lastLink === 'itself') return real;
    try {
      const target = realpath(real);
      this.#inside(target);
      return Buffer.from(target, 'latin1');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      const link = await fs.lstat(real).catch(() => undefined);
      if (link?.isSymbolicLink()) throw new DiskRefusal('The link leads nowhere.');
      return real;
    }
  }

  async entry(path: ByteString): Promise<DiskEntry> {
    const stats = await fs.stat(await this.real(path, { lastLink: 'followed' }), { bigint: true });
    return toEntry(path === '/' ? '/' : posix.basename(path), stats);
  }

  /** Entries of a directory, sorted by the bytes of their names. */
  async list(path: ByteString): Promise<DiskEntry[]> {
    const real = await this.real(path, { lastLink: 'followed' });
    const names = (await fs.readdir(real, { encoding: 'buffer' })).map((name) => name.toString('latin1'));
    const entries: DiskEntry[] = [];
    for (const name of names.sort()) {
      const full = Buffer.concat([real, Buffer.from(`/${name}`, 'latin1')]);
      // A file may go between readdir and lstat; a listing simply does not show it then.
      const stats = await fs.lstat(full, { bigint: true }).catch(() => undefined);
      if (stats !== undefined) entries.push(toEntry(name, stats));
    }
    return entries;
  }

  #inside(real: ByteString): void {
    if (real !== this.#root && !real.startsWith(this.#root === '/' ? '/' : `${this.#root}/`)) {
      throw new DiskRefusal('That leads outside the root.');
    }
  }
}

/** The errno word of an error (`ENOENT`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

function namesIn(directory: ByteString): ByteString[] {
  try {
    return readdirSync(Buffer.from(directory, 'latin1'), { encoding: 'buffer' }).map((name) =>
      name.toString('latin1'),
    );
  } catch {
    return [];
  }
}

/** Not handed to another thread, which takes ten times as long, and each command asks for some. */
function realpath(path: Buffer): ByteString {
  return realpathSync.native(path, { encoding: 'buffer' }).toString('latin1');
}

function toEntry(name: ByteString, stats: BigIntStats): DiskEntry {
  return {
    name,
    kind: stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'directory'
        : stats.isSymbolicLink()
          ? 'link'
          : 'other',
    sizeBytes: Number(stats.size),
    modifiedMs: Number(stats.mtimeNs / 1_000_000n),
    mode: Number(stats.mode & 0o7777n),
  };
}

function pureName(component: ByteString): ByteString {
  return component
    .replace(/[\x00-\x1f\x7f]/g, '_')
    .replace(/^ +| +$/g, (spaces) => '_'.repeat(spaces.length));
}

function unicodeName(component: ByteString): ByteString {
  return toBytes(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(component, 'latin1')));
}
