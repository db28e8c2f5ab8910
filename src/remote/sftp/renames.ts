/*
 * Renames over SFTP. Plain RENAME refuses where something has the new name already, as the draft says and OpenSSH sees
 * to by a hard link; posix-rename@openssh.com replaces. Where a server has only the first, or refuses to replace, what
 * stands there is renamed out of the way and removed once the new file has its name. Finds out whether the server
 * renames at all.
 */
import { randomBytes } from 'node:crypto';
import type { RelativePath } from '../../plan/entry.js';
import { type TemporaryForm, temporaryName } from '../../plan/temporary.js';
import { SftpError } from '../../sftp/errors.js';
import { isAnswer } from '../refusal.js';
import { TemporaryRefused, type Trials } from '../remote.js';
import type { Errand } from './errand.js';
import { isDenied, isMissing, isUnsupported } from './refusal.js';

/** A new file, proven, under its temporary name. Paths are relative. */
export interface Newcomer {
  readonly temporary: RelativePath;
  readonly path: RelativePath;
  /** Whether a file is this very one: asked where the server has refused to rename it, and has it no more. */
  readonly isAt: (serverPath: string) => Promise<boolean>;
}

export class Renames {
  readonly #errand: Errand;
  readonly #trials: Trials | undefined;

  constructor(errand: Errand, trials: Trials | undefined) {
    this.#errand = errand;
    this.#trials = trials;
  }

  /** False where the server is known not to rename: then a temporary file never gets its final name. */
  get possible(): boolean {
    return this.#errand.session.profile.facts.rename !== 'none';
  }

  /** True where a rename can replace in one step. */
  get #replaces(): boolean {
    const { client, profile } = this.#errand.session;
    return client.has('posix-rename@openssh.com') && profile.facts.posixRename === 'works';
  }

  /**
   * Renames a newcomer onto its final name, replacing the file that stands there.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all; {SftpError} `argument` where a directory stands
   *   there, `lost` with the code `UNCONFIRMED` where nobody knows what became of it; else the refusal
   */
  async replace(newcomer: Newcomer): Promise<void> {
    const { temporary, path } = newcomer;
    try {
      await this.#overwrite(temporary, path);
    } catch (error) {
      const standing = await this.#after(error, newcomer);
      if (standing === 'arrived') return;
      if (standing === 'nothing') throw error;
      this.#errand.session.profile.learn(
        'rename',
        'refuses',
        `${this.#errand.where} does not rename onto a file that exists: the old file is renamed out of the way first.`,
      );
      await this.#exchange(newcomer);
    }
  }

  /**
   * Renames a newcomer onto its final name, where nothing should stand.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all; {SftpError} `status` where it refuses
   */
  async publish(newcomer: Newcomer): Promise<void> {
    const { temporary, path } = newcomer;
    try {
      await this.move(this.#errand.on(temporary), this.#errand.on(path));
    } catch (error) {
      if ((await this.#after(error, newcomer)) !== 'arrived') throw error;
    }
  }

  /**
   * Renames whatever is not a directory onto a name that is free, and replaces nothing. Server paths.
   *
   * @throws {SftpError} `status` with the refusal, `unsupported` where the server has no request for it
   */
  async move(from: string, to: string): Promise<void> {
    const { client } = this.#errand.session;
    const options = { signal: this.#errand.signal };
    try {
      await client.rename(from, to, options);
    } catch (error) {
      if (!isAnswer(error) || isMissing(error) || !this.#replaces) throw error;
      // OpenSSH needs hard links for it, which the system forbids for files of others, and some file systems lack.
      const [source, target] = await Promise.all([
        this.#errand.tree.standing(from),
        this.#errand.tree.standing(to),
      ]);
      if (source === 'nothing' || source === 'directory' || target !== 'nothing') throw error;
      try {
        await client.posixRename(from, to, options);
      } catch (refusal) {
        throw isAnswer(refusal) ? error : refusal;
      }
    }
    this.#errand.session.hasRenamed = true;
  }

  /**
   * A rename was refused: because the server renames nothing? A temporary file of ours is renamed to another such name
   * and back.
   *
   * @throws {TemporaryRefused} where that is so
   */
  async tryRename(temporary: RelativePath): Promise<void> {
    if (this.#errand.session.hasRenamed) return;
    const spare = besides(temporary, this.#errand.session.profile.facts.temporary);
    this.#trials?.begin(spare);
    try {
      await this.move(this.#errand.on(temporary), this.#errand.on(spare));
      await this.move(this.#errand.on(spare), this.#errand.on(temporary));
    } catch (error) {
      if (!isAnswer(error) && !isUnsupported(error)) throw error;
      this.#trials?.end(spare);
      if (isDenied(error) || isUnsupported(error)) throw await this.#cannotRename(temporary);
      return;
    }
    this.#trials?.end(spare);
  }

  async #overwrite(temporary: RelativePath, path: RelativePath): Promise<void> {
    const { client, profile } = this.#errand.session;
    const [from, to] = [this.#errand.on(temporary), this.#errand.on(path)];
    const options = { signal: this.#errand.signal };
    if (this.#replaces) {
      try {
        await client.posixRename(from, to, options);
        this.#errand.session.hasRenamed = true;
        return;
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        profile.note('posixRename', 'none');
      }
    }
    await client.rename(from, to, options);
    this.#errand.session.hasRenamed = true;
  }

  /** What stands under the final name after a refusal: `arrived` where that is the newcomer all the same. */
  async #after(error: unknown, newcomer: Newcomer): Promise<'arrived' | 'file' | 'nothing'> {
    if (!isAnswer(error) && !isUnsupported(error)) throw error;
    const { tree, where, on } = this.#onErrand();
    const [ours, there] = await Promise.all([
      tree.standing(on(newcomer.temporary)),
      tree.standing(on(newcomer.path)),
    ]).catch((blind: unknown) => {
      // A name that is too long cannot even be looked at.
      throw isAnswer(blind) ? error : blind;
    });
    if (ours === 'nothing') {
      if (await newcomer.isAt(on(newcomer.path))) return 'arrived';
      throw new SftpError(
        'lost',
        `${where} refused to rename the temporary file of ${newcomer.path}, and has it no more: ${messageOf(error)}`,
        { phase: 'request', request: 'RENAME', code: 'UNCONFIRMED', cause: error },
      );
    }
    if (there === 'directory') throw directoryAt(newcomer.path, where, error);
    // A server that has renamed before does know how: then it is this one file.
    if (isUnsupported(error) && !this.#errand.session.hasRenamed)
      throw await this.#cannotRename(newcomer.temporary);
    if (there !== 'nothing') return 'file';
    if (isDenied(error)) await this.tryRename(newcomer.temporary);
    return 'nothing';
  }

  /**
   * The old file out of the way, the new one in its place, both in one flight, so that the name is missing for a moment
   * only; then the old one goes. Where the new one is refused the old one comes back.
   */
  async #exchange({ temporary, path }: Newcomer): Promise<void> {
    const { tree, on } = this.#onErrand();
    const spare = besides(temporary, this.#errand.session.profile.facts.temporary);
    // From here on somebody has to see to it that nothing stays there.
    this.#trials?.begin(spare);
    const [away, into] = await Promise.allSettled([
      this.move(on(path), on(spare)),
      this.move(on(temporary), on(path)),
    ]);
    if (into.status === 'rejected') {
      if (away.status === 'fulfilled' && isAnswer(into.reason))
        await this.#second({ temporary, path, spare });
      else {
        const error = away.status === 'rejected' ? away.reason : into.reason;
        if (isAnswer(error)) this.#trials?.end(spare);
        throw error;
      }
    }
    try {
      await tree.remove(on(spare));
    } catch (error) {
      // What may not be removed stays; the new file has its name.
      if (!isAnswer(error)) throw error;
    }
    this.#trials?.end(spare);
  }

  /** The name is free now: once more, and back with the old file where that is refused, too. */
  async #second(names: {
    readonly temporary: RelativePath;
    readonly path: RelativePath;
    readonly spare: RelativePath;
  }): Promise<void> {
    const { on } = this.#onErrand();
    const { temporary, path, spare } = names;
    try {
      await this.move(on(temporary), on(path));
    } catch (error) {
      if (isAnswer(error)) {
        await this.move(on(spare), on(path));
        this.#trials?.end(spare);
      }
      throw error;
    }
  }

  /** Takes down that the server cannot rename, removes the temporary file that is of no use then, and says so. */
  async #cannotRename(temporary: RelativePath): Promise<TemporaryRefused> {
    const { tree, where, on } = this.#onErrand();
    const { profile } = this.#errand.session;
    const cannot = `${where} cannot rename: files are written under their final names, where a part can be seen until all of it is there.`;
    const left = await tree.remove(on(temporary)).then(
      () => false,
      (error: unknown) => isAnswer(error),
    );
    const sentence = left
      ? `${cannot} Nor does it delete: ${on(temporary)} is left there, as is every other part (.ferryd-*.part) and what breaks off. Have that removed on the server.`
      : cannot;
    profile.learn('rename', 'none', sentence);
    profile.note('temporary', 'none');
    return new TemporaryRefused(sentence);
  }

  #onErrand(): Pick<Errand, 'tree' | 'where'> & { readonly on: (path: RelativePath) => string } {
    const errand = this.#errand;
    return { tree: errand.tree, where: errand.where, on: (path) => errand.on(path) };
  }
}

/** A directory has the name that a file should get: neither is harmed. */
export function directoryAt(path: RelativePath, where: string, cause: unknown): SftpError {
  return new SftpError(
    'argument',
    `${where} has a directory called ${path}, so that no file of that name can stand there. Move or rename one of the two.`,
    { phase: 'request', request: 'RENAME', cause },
  );
}

/** Another temporary name in the same directory. */
function besides(temporary: RelativePath, form: TemporaryForm): RelativePath {
  return temporaryName(temporary, randomBytes(8).toString('hex'), form === 'plain' ? 'plain' : 'hidden');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
