/*
 * Deleting: what the plan has doomed, after the guard. Each thing is looked at once more where it lies, and only what
 * is still the same goes: into the trash, unless the job wants none. What is gone already is forgotten. On a server that
 * takes two names for one file, the old name of a file that was renamed here is that file: it stays.
 */
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { PlannedDeletion } from '../ledger/deletion.js';
import { within } from '../local/place.js';
import { moveFile, removeDirectory, removeFile } from '../local/tree.js';
import { liesAt } from '../local/walk.js';
import { isLink, type RelativePath, type RemoteFile, type RemotePiece, sameTime } from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import { judge } from '../remote/failure.js';
import { AtHand } from './at-hand.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import { RunEnded } from './end.js';
import { linkThere } from './link-there.js';
import { type Emptying, emptyingIntent, emptyingOf } from './recover.js';
import { asksFor } from './sights.js';
import type { RecoverTask, RemoveTask, Task } from './task.js';

const SIDES = ['local', 'remote'] as const;

/** Tries to find a free place in the trash. */
const PLACES = 10;

type Outcome =
  | { readonly kind: 'gone' }
  | { readonly kind: 'deleted'; readonly to: RelativePath | undefined }
  | { readonly kind: 'left'; readonly message: string }
  | { readonly kind: 'occupied' };

export class Remover {
  readonly #desk: Desk;
  readonly #listings = new AtHand<Listing>();
  readonly #namesHere = new AtHand<NamesHere>();
  /** Directories on each side that something may be deleted from, and those from which something was, or was gone. */
  readonly #foreseen = { local: new Set<RelativePath>(), remote: new Set<RelativePath>() };
  readonly #emptied = { local: new Set<RelativePath>(), remote: new Set<RelativePath>() };
  /** What stays, and was told. */
  readonly #left = new Set<string>();
  #cleared = 0;

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /** How much is not known any more: deleted, or gone already. */
  get cleared(): number {
    return this.#cleared;
  }

  async remove(task: RemoveTask, beganMs: number): Promise<Result<Task>> {
    const { voyage, hands, endings } = this.#desk;
    const { binding } = voyage;
    const { path, deletion, attempt } = task;
    const name = `${deletion.side}:${path}`;
    if (this.#left.has(name)) return 'done';
    hands.goOn();
    const outcome = await (deletion.kind === 'directory'
      ? this.#removeDirectory(deletion)
      : deletion.side === 'local'
        ? this.#removeHere(deletion, attempt)
        : this.#removeThere(deletion, attempt));
    hands.fared();
    switch (outcome.kind) {
      case 'occupied':
        if (attempt < PLACES) return { again: { ...task, attempt: attempt + 1 }, inMs: 0 };
        endings.skipped(task, beganMs, {
          code: 'trash',
          message: `${path} cannot be moved into the trash: something of its name is there for every second of this run. It stays; the next run tries again.`,
          remember: undefined,
          temporary: undefined,
        });
        return 'done';
      case 'gone':
        this.#cleared += 1;
        // By a run that was killed, perhaps.
        if (deletion.kind === 'file') this.#emptied[deletion.side].add(parentOf(deletion.at));
        this.#desk.record({ kind: 'forgotten', bindingId: binding, path });
        return 'done';
      case 'left':
        this.#left.add(name);
        endings.skipped(task, beganMs, {
          code: 'changed-there',
          message: outcome.message,
          remember: undefined,
          temporary: undefined,
        });
        return 'done';
      case 'deleted':
        this.#cleared += 1;
        if (deletion.kind === 'file') this.#emptied[deletion.side].add(parentOf(deletion.at));
        endings.deleted(task, beganMs, outcome.to);
        return 'done';
    }
  }

  /**
   * Writes down which directories the planned deletions may leave empty, durable on return: whatever ends this run, the
   * next one knows of them.
   */
  foresee(): void {
    const { job, context, binding, run } = this.#desk.voyage;
    // They are entries of their own then, and were doomed by themselves where they are gone.
    if (job.emptyDirectories === 'keep') return;
    for (const { kind, side, at } of context.ledger.planned(binding)) {
      const directory = parentOf(at);
      if (kind === 'file' && directory !== '') this.#foreseen[side].add(directory);
    }
    const intents = SIDES.flatMap((side) =>
      [...this.#foreseen[side]].map((directory) => emptyingIntent({ side, directory })),
    );
    context.ledger.intend(binding, run, intents);
  }

  /** Removes the directories that were emptied, and those above them that hold nothing else. */
  async tidy(): Promise<void> {
    for (const side of SIDES) {
      // The deepest first; each that goes may empty the one above.
      const directories = [...this.#foreseen[side]].sort((a, b) => b.length - a.length);
      for (const directory of directories) {
        if (this.#desk.voyage.context.stop?.aborted === true) return;
        const isSettled = !this.#emptied[side].has(directory) || (await this.#removeUpwards(side, directory));
        if (isSettled) this.#settled({ side, directory });
      }
      this.#foreseen[side].clear();
      this.#emptied[side].clear();
    }
  }

  /** A directory that an earlier run was about to empty, and may have emptied. */
  async recover({ intent }: RecoverTask): Promise<Result<Task>> {
    const emptying = emptyingOf(intent);
    if (emptying === undefined) throw new Error(`${intent.path} is no directory`);
    this.#desk.hands.goOn();
    if (await this.#removeUpwards(emptying.side, emptying.directory)) this.#settled(emptying);
    return 'done';
  }

  /** @returns false where nobody knows whether it is gone: the link broke, or there was no time left */
  async #removeUpwards(side: Emptying['side'], directory: RelativePath): Promise<boolean> {
    const { root, remote, context } = this.#desk.voyage;
    const options = { signal: context.cut };
    for (let path = directory; path !== ''; path = parentOf(path)) {
      if (context.stop?.aborted === true) return false;
      const end = await attempt(() =>
        side === 'local' ? removeDirectory(root, path) : remote.removeDirectory(path, options),
      );
      if (end !== 'removed') return end !== 'unknown';
    }
    return true;
  }

  #settled(emptying: Emptying): void {
    const { path, temporary } = emptyingIntent(emptying);
    const { binding } = this.#desk.voyage;
    this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
  }

  async #removeHere({ at, ...doomed }: PlannedDeletion, attempt: number): Promise<Outcome> {
    const { root } = this.#desk.voyage;
    const file = await liesAt(root, at);
    if (file === 'nothing') return { kind: 'gone' };
    const changed = { kind: 'left', message: changedSince(at, 'here') } as const;
    if (file === 'other') return changed;
    const same = isLink(file)
      ? file.leadsTo === doomed.leadsTo
      : doomed.leadsTo === undefined &&
        file.sizeBytes === doomed.sizeBytes &&
        file.mtimeMs === doomed.modifiedMs;
    if (!same) return changed;
    if (await this.#isBackThere(doomed.path))
      return { kind: 'left', message: backAgain(doomed.path, 'here') };
    const trash = this.#desk.trashOf(at, attempt);
    const went =
      trash === undefined ? await removeFile(root, at, file) : await moveFile(root, at, trash, file);
    switch (went) {
      case 'missing':
        return { kind: 'gone' };
      case 'changed':
        return changed;
      case 'occupied':
        return { kind: 'occupied' };
      case 'moved':
      case 'removed':
        return { kind: 'deleted', to: trash };
    }
  }

  async #removeThere(doomed: PlannedDeletion, attempt: number): Promise<Outcome> {
    const { remote, context } = this.#desk.voyage;
    const { at, path } = doomed;
    const file = await this.#lookThere(at);
    // A directory in its place is not what was put there, and is in nobody's way.
    if (file === 'nothing' || file === 'directory') return { kind: 'gone' };
    if (file === 'other' || !isDoomed(file, doomed)) {
      return { kind: 'left', message: changedSince(path, 'on the server') };
    }
    if (await this.#isBackHere(path)) return { kind: 'left', message: backAgain(path, 'on the server') };
    // A name that is written another way there cannot be taken for its twin.
    if (at === path && (await this.#isAnotherName(path))) return { kind: 'gone' };
    const options = { signal: context.cut };
    const trash = this.#desk.trashOf(at, attempt);
    if (trash === undefined) {
      await remote.remove(at, options);
      return { kind: 'deleted', to: undefined };
    }
    const went = await remote.move(at, trash, options);
    if (went === 'occupied') return { kind: 'occupied' };
    return went === 'missing' ? { kind: 'gone' } : { kind: 'deleted', to: trash };
  }

  async #removeDirectory({ at, side }: PlannedDeletion): Promise<Outcome> {
    const { root, remote, context } = this.#desk.voyage;
    const bare = at.slice(0, -1);
    const went =
      side === 'local'
        ? await removeDirectory(root, bare)
        : await remote
            .removeDirectory(bare, { signal: context.cut })
            .catch((error: unknown) => this.#unlessAFile(bare, error));
    // What else is in it was told by itself, or is nobody's business here: nothing is to be known of it any more.
    return went === 'removed' ? { kind: 'deleted', to: undefined } : { kind: 'gone' };
  }

  /** Refused where a file stands in its place: the directory is gone, then. */
  async #unlessAFile(at: RelativePath, error: unknown): Promise<'not-empty'> {
    if (judge(error).decision === 'skip' && typeof (await this.#lookThere(at)) !== 'string')
      return 'not-empty';
    throw error;
  }

  /** A fresh look, one for all that lies in one directory. */
  async #lookThere(at: RelativePath): Promise<RemotePiece | 'nothing' | 'directory' | 'other'> {
    const { remote, context, job } = this.#desk.voyage;
    const options = { signal: context.cut };
    const directory = parentOf(at);
    const listing = await this.#listings.get(directory, async () => {
      const found = await remote.list(directory, { ...options, ...asksFor(job) }).catch((error: unknown) => {
        const { decision, beforeSession } = judge(error);
        // It may have gone with all that was in it; then each file is asked for by itself.
        if (decision === 'skip' || (decision === 'gone' && !beforeSession)) return undefined;
        throw error;
      });
      if (found === undefined) {
        const nothing = new Set<RelativePath>();
        return {
          value: { pieces: new Map(), directories: nothing, others: nothing, proven: false },
          size: 1,
        };
      }
      const { files, links = [] } = found;
      const pieces = new Map<RelativePath, RemotePiece>(
        [...files, ...links].map((piece) => [piece.path, piece]),
      );
      const directories = new Set(found.directories);
      const others = new Set(found.others);
      const size = pieces.size + directories.size + others.size + 1;
      return { value: { pieces, directories, others, proven: found.proven }, size };
    });
    if (listing.others.has(at)) return 'other';
    if (listing.directories.has(at)) return 'directory';
    const listed = listing.pieces.get(at);
    if (listed !== undefined) return listed;
    if (listing.proven) return 'nothing';
    // Nothing shows that the listing was whole: only what the server says of this one file counts.
    const file: RemoteFile | undefined = await remote.stat(at, options);
    if (file !== undefined || job.links !== 'preserve') return file ?? 'nothing';
    return (await linkThere(remote, at, context.cut)) ?? 'nothing';
  }

  /** Whether the source holds it once more: it was away for a moment, as it is while it is saved. */
  async #isBackThere(path: RelativePath): Promise<boolean> {
    const nowhere = { baseline: undefined, modifiedMs: undefined, there: undefined };
    const file = await this.#lookThere(this.#desk.voyage.placement.place(path, nowhere).there);
    return file !== 'nothing' && file !== 'directory';
  }

  /** As above. A directory in its place may be what it had to go for. */
  async #isBackHere(path: RelativePath): Promise<boolean> {
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1);
    const names = await this.#lookHere(path.slice(0, Math.max(0, slash)));
    return names.get(foldOf(name))?.some((one) => one.name === name && !one.isDirectory()) === true;
  }

  #lookHere(directory: RelativePath): Promise<NamesHere> {
    const { root, job } = this.#desk.voyage;
    return this.#namesHere.get(directory, async () => {
      const found = await (job.links === 'preserve'
        ? // Behind a link that has come in the place of the directory, nothing is what it was.
          within(root, directory, ({ at }) => namesIn(at))
        : namesIn(`${root}/${directory}`)
      ).catch(() => []);
      const folded = new Map<string, Dirent[]>();
      for (const one of found) {
        const fold = foldOf(one.name);
        const others = folded.get(fold);
        if (others === undefined) folded.set(fold, [one]);
        else others.push(one);
      }
      return { value: folded, size: found.length + 1 };
    });
  }

  /** True where the server takes this name and one that stands here for the same, on any level of the path. */
  async #isAnotherName(path: RelativePath): Promise<boolean> {
    const { remote } = this.#desk.voyage;
    for (let end = path.indexOf('/'), from = 0; ; end = path.indexOf('/', from)) {
      const name = end < 0 ? path.slice(from) : path.slice(from, end);
      const names = await this.#lookHere(path.slice(0, Math.max(0, from - 1)));
      for (const twin of names.get(foldOf(name)) ?? []) {
        if (twin.name === name) continue;
        const difference = twin.name.normalize('NFC') === name.normalize('NFC') ? 'form' : 'case';
        if (!(await remote.keepsApart(difference))) return true;
      }
      if (end < 0) return false;
      from = end + 1;
    }
  }
}

function namesIn(directory: string): Promise<Dirent[]> {
  return readdir(directory, { withFileTypes: true });
}

/** What stands in a directory here, by the folded name. */
type NamesHere = ReadonlyMap<string, readonly Dirent[]>;

interface Listing {
  readonly pieces: ReadonlyMap<RelativePath, RemotePiece>;
  readonly directories: ReadonlySet<RelativePath>;
  readonly others: ReadonlySet<RelativePath>;
  readonly proven: boolean;
}

function isDoomed(piece: RemotePiece, { leadsTo, sizeBytes, modifiedMs }: PlannedDeletion): boolean {
  if (isLink(piece)) return piece.leadsTo === leadsTo;
  const isFile = leadsTo === undefined;
  return isFile && piece.sizeBytes === sizeBytes && sameTime(piece.modifiedMs, modifiedMs, 'lenient');
}

/** Tidying is not worth a failure; what ends the run does so all the same. `unknown`: it may be worth another try. */
async function attempt<T>(work: () => Promise<T>): Promise<T | 'refused' | 'unknown'> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RunEnded) throw error;
    const { decision } = judge(error);
    return ['skip', 'pass', 'gone', 'fallback'].includes(decision) ? 'refused' : 'unknown';
  }
}

function changedSince(path: RelativePath, where: string): string {
  return `${path} is gone at the source, and was changed ${where} since it was put there: it is not deleted. Delete it by hand, or set deletes.extraneous.`;
}

function backAgain(path: RelativePath, where: string): string {
  return `${path} was gone when the scan came by, and is there again: it is not deleted ${where}. The next run looks again.`;
}

function parentOf(path: RelativePath): RelativePath {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
