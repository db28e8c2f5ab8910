/*
 * One operation on one session: the session with its parts, the signal that ends the operation, and where the remote's
 * paths are there. Many errands share a session; what one of them waits for keeps no other waiting.
 */

import type { RemotePath } from '../../job/job.js';
import type { RelativePath } from '../../plan/entry.js';
import type { Handle } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import { isAnswer } from '../refusal.js';
import { Proofs } from './proofs.js';
import type { SftpSession } from './session.js';
import { Tree } from './tree.js';

export class Errand {
  readonly session: SftpSession;
  readonly signal: AbortSignal | undefined;
  readonly tree: Tree;
  readonly proofs: Proofs;
  readonly #root: RemotePath;

  constructor(session: SftpSession, root: RemotePath, signal: AbortSignal | undefined) {
    this.session = session;
    this.signal = signal;
    this.#root = root;
    this.tree = new Tree(session, signal);
    this.proofs = new Proofs(session, signal);
  }

  /** Host and port, for messages. */
  get where(): string {
    return this.session.where;
  }

  /** The server's path of a relative one. */
  on(path: RelativePath | ''): string {
    const { absolute } = this.#root;
    const { loginDirectory } = this.session;
    const joined = [absolute ? '/' : (loginDirectory ?? ''), this.#root.path, path]
      .map((part) => part.replace(/^\/+|\/+$/g, ''))
      .filter((part) => part !== '')
      .join('/');
    if (absolute || loginDirectory !== undefined) return `/${joined}`;
    // Some servers take `~` for the home directory.
    return joined === '' ? '.' : joined.startsWith('~') ? `./${joined}` : joined;
  }

  /**
   * Throws where a file stands where one of these directories is needed.
   *
   * @throws {SftpError} `argument`
   */
  async unlessFile(directory: RelativePath, cause: unknown): Promise<void> {
    const parts = directory.split('/');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const here = parts.slice(0, depth).join('/');
      const standing = await this.tree.standing(this.on(here)).catch((error: unknown) => {
        if (isAnswer(error)) return 'nothing' as const;
        throw error;
      });
      if (standing === 'nothing') return;
      if (standing !== 'file') continue;
      throw new SftpError(
        'argument',
        `${this.where} has a file called ${here}, so that no directory of that name can be made. Move or rename one of the two.`,
        { phase: 'request', request: 'MKDIR', cause },
      );
    }
  }

  /** Waits for what heeds no signal itself, and no longer than this errand is wanted. */
  async heed<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    if (signal === undefined) return work;
    let leave = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason);
      if (signal.aborted) leave();
      else signal.addEventListener('abort', leave, { once: true });
    });
    try {
      return await Promise.race([work, aborted]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Closes a file of which nothing more is wanted, after an error that is told anyway. */
  async closeAfter(handle: Handle): Promise<void> {
    await this.heed(handle.close()).catch(() => {});
  }
}
