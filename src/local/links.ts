/*
 * Symbolic links of the local tree, where a job wants them followed: what a link leads to, as long as that lies below
 * the root and is no directory that the link lies in itself. Several links to one place are each followed, so what
 * links can multiply is bounded. A link is only looked at here; whoever opens the file proves its real place again.
 */
import type { Stats } from 'node:fs';
import type { RelativePath } from '../plan/entry.js';
import type { Disk } from './disk.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { diskOf } from './mounts.js';

export type Target =
  | { readonly kind: 'target'; readonly at: RelativePath; readonly stats: Stats }
  /** Deleted since it was seen. */
  | { readonly kind: 'gone' }
  | {
      readonly kind: 'refused';
      readonly leadsTo: 'directory' | 'other';
      /** How it is to be told, in the words of the walk. */
      readonly as: 'ignored' | 'unfit' | 'unreadable';
      readonly code: string;
      readonly message: string;
    };

/** Of directories that are reached through links. Beyond, no further link to a directory is followed. */
const MAX_DIRECTORIES = 100_000;

export class Links {
  readonly #root: string;
  readonly #disk: Disk;
  readonly #maxDirectories: number;
  #directories = 0;

  /** @param root the real path of the root */
  constructor(root: string, maxDirectories = MAX_DIRECTORIES) {
    this.#root = root;
    this.#disk = diskOf(root);
    this.#maxDirectories = maxDirectories;
  }

  /** To be told of each directory that is walked below a link. */
  entered(): void {
    this.#directories += 1;
  }

  /**
   * What a link leads to in the end.
   *
   * @param link `at`: where it really lies; `above`: identities (`identityOf`) of the directories that it lies in
   */
  async follow(link: {
    readonly path: RelativePath;
    readonly at: RelativePath;
    readonly above: readonly string[];
  }): Promise<Target> {
    const { path } = link;
    let real: string;
    let stats: Stats;
    try {
      real = await this.#disk.realpath(`${this.#root}/${link.at}`);
      stats = await this.#disk.lstat(real);
    } catch (error) {
      return this.#unreachable(link, error);
    }
    const leadsTo = stats.isDirectory() ? 'directory' : 'other';
    const refuse = (as: 'ignored' | 'unfit' | 'unreadable', code: string, message: string): Target => ({
      kind: 'refused',
      leadsTo,
      as,
      code,
      message,
    });
    const at = this.#below(real);
    if (at === undefined) {
      return refuse(
        'unfit',
        'link-outside',
        `${path} is a link that leads out of the source, to ${real}: that is not sent. Exclude it to be rid of this message.`,
      );
    }
    if (stats.isDirectory()) {
      if (link.above.includes(identityOf(stats))) {
        const message = `${path} is a link to a directory that it lies in itself: it is not followed, for that would have no end.`;
        return refuse('ignored', 'link-circle', message);
      }
      if (this.#directories >= this.#maxDirectories) {
        return refuse(
          'unreadable',
          'links',
          `${path} is a link that is not followed: ${this.#maxDirectories} directories were reached through links already. Exclude some of the links.`,
        );
      }
    }
    return { kind: 'target', at, stats };
  }

  /**
   * Where a path really leads below the root; undefined where it leads nowhere, or out of it.
   *
   * @throws {LocalError} where that cannot be seen
   */
  async placeOf(path: RelativePath): Promise<RelativePath | undefined> {
    try {
      return this.#below(await this.#disk.realpath(`${this.#root}/${path}`));
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined;
      throw new LocalError(code, localSentence(code, path), error);
    }
  }

  /** `''` is the root itself. */
  #below(real: string): RelativePath | undefined {
    if (real === (this.#root === '' ? '/' : this.#root)) return '';
    return real.startsWith(`${this.#root}/`) ? real.slice(this.#root.length + 1) : undefined;
  }

  async #unreachable(
    link: { readonly path: RelativePath; readonly at: RelativePath },
    error: unknown,
  ): Promise<Target> {
    const code = codeOf(error);
    const refused = { kind: 'refused', leadsTo: 'other' } as const;
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ELOOP') {
      return { ...refused, as: 'unreadable', code, message: localSentence(code, link.path) };
    }
    try {
      await this.#disk.lstat(`${this.#root}/${link.at}`);
    } catch {
      return { kind: 'gone' };
    }
    const message = `${link.path} is a link that leads nowhere. Correct it, or exclude it to be rid of this message.`;
    return { ...refused, as: 'unfit', code: 'link-broken', message };
  }
}

/** Tells directories apart, whatever way leads to them. */
export function identityOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}`;
}
