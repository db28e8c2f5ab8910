/*
 * What an interrupted delivery left behind. The intent says which temporary name was used for which file; the
 * remote says what is there now. Out of the two:
 *
 * | temporary | file | final | then |
 * | --- | --- | --- | --- |
 * | something | unchanged | - | a part, or all of it: the delivery goes on with what is proven |
 * | something | other | - | of no use: removed |
 * | none | unchanged | size and time of the file | it was published: committed |
 * | none | any | anything else | nothing is there: the file is sent, if it still is to be |
 *
 * The third proof needs the time: an earlier version of the same size must not pass for the new one.
 *
 * A directory that deletions may leave empty has an intent too, by its name with a slash: whoever comes after a crash
 * removes it where it is empty, and that is all that its intent says. And what a remote tries out (remote/names.ts) has
 * one, by the file that is stored for it.
 */
import type { PlannedIntent } from '../ledger/record.js';
import { LocalSource } from '../local/source.js';
import { type Fingerprint, type LocalFile, type RelativePath, sameFingerprint } from '../plan/entry.js';
import { isTemporary } from '../plan/temporary.js';
import { judge } from '../remote/failure.js';
import { type Remote, type Trials, wholeSeconds } from '../remote/remote.js';
import type { Voyage } from './context.js';

/** What recovery found for one intent. */
export type Recovery =
  /** The file is whole under its final name. */
  | { readonly kind: 'delivered'; readonly sha256: string; readonly modifiedMs: number | undefined }
  /** Something of this very content lies under the temporary name. */
  | { readonly kind: 'part'; readonly sizeBytes: number }
  /** The temporary name is gone, and the file has to be sent. */
  | { readonly kind: 'cleared' };

/** An upload that did not come to its end. */
export interface CutOff {
  readonly intent: PlannedIntent;
  /** Where it was to stand. */
  readonly there: RelativePath;
  /** The local file as it is now; undefined where it is gone. */
  readonly file: LocalFile | undefined;
  /** What the ledger held for this path before the intent, since a file like that proves nothing. */
  readonly before: Fingerprint | undefined;
}

/** A download's intent was made for a remote file, which has no inode. */
export function isDownload({ local }: PlannedIntent): boolean {
  return local.inode === 0 && local.ctimeMs === 0;
}

/** A directory of one side that is to go where deletions leave it empty. */
export interface Emptying {
  readonly side: 'local' | 'remote';
  readonly directory: RelativePath;
}

/** What is written down of such a directory before the first file in it goes. */
export function emptyingIntent({ side, directory }: Emptying): PlannedIntent {
  const nothing = { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 };
  return { path: `${directory}/`, temporary: `${side}:${directory}/`, local: nothing };
}

/** The directory that an intent is about; undefined for one that is about a file. */
export function emptyingOf({ path, temporary }: PlannedIntent): Emptying | undefined {
  if (!path.endsWith('/')) return undefined;
  const side = temporary.startsWith('local:') ? 'local' : 'remote';
  return { side, directory: path.slice(0, -1) };
}

/** Writes down what a remote tries out there. */
export function trialsOf({ context, binding, run }: Pick<Voyage, 'context' | 'binding' | 'run'>): Trials {
  const { ledger } = context;
  return {
    begin: (path) => ledger.intend(binding, run, [trialIntent(path)]),
    end: (path) => {
      const { temporary } = trialIntent(path);
      ledger.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
    },
  };
}

function trialIntent(path: RelativePath): PlannedIntent {
  const nothing = { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 };
  return { path, temporary: `trial:${path}`, local: nothing };
}

/** True for the intent of a trial. */
export function isTrial(intent: PlannedIntent): boolean {
  return intent.temporary === trialIntent(intent.path).temporary;
}

/** Takes away what a trial has left. What may not be removed stays: it holds nothing. */
export async function clearTrial(remote: Remote, path: RelativePath): Promise<void> {
  const unlessRefused = (error: unknown): undefined => {
    const { decision } = judge(error);
    if (decision !== 'skip' && decision !== 'gone' && decision !== 'fallback') throw error;
  };
  await remote.remove(path).catch(unlessRefused);
  const directory = path.slice(0, Math.max(0, path.lastIndexOf('/')));
  if (!isTemporary(directory)) return;
  // Some servers store a file under another name than it was given: that is what was tried out.
  const listing = await remote.list(directory).catch(unlessRefused);
  for (const file of listing?.files ?? []) await remote.remove(file.path).catch(unlessRefused);
  await remote.removeDirectory(directory).catch(unlessRefused);
}

/** Brings one upload that was cut off to a known state. */
export async function recoverUpload(
  voyage: Pick<Voyage, 'remote' | 'root'>,
  { intent, there, file, before }: CutOff,
): Promise<Recovery> {
  const { remote } = voyage;
  const unchanged = file !== undefined && sameFingerprint(file, intent.local) ? file : undefined;
  const part = await remote.stat(intent.temporary);
  if (part !== undefined) {
    if (unchanged !== undefined) return { kind: 'part', sizeBytes: part.sizeBytes };
    // Where the server cannot rename, it may be the version before, whole.
    if (intent.temporary !== there) await remote.remove(intent.temporary);
    return { kind: 'cleared' };
  }
  if (unchanged === undefined) return { kind: 'cleared' };
  const looksLikeBefore =
    before !== undefined &&
    before.sizeBytes === unchanged.sizeBytes &&
    wholeSeconds(before.mtimeMs) === wholeSeconds(unchanged.mtimeMs);
  const final = looksLikeBefore ? undefined : await remote.stat(there);
  const published =
    final !== undefined &&
    final.sizeBytes === unchanged.sizeBytes &&
    final.modifiedMs === wholeSeconds(unchanged.mtimeMs);
  if (!published) return { kind: 'cleared' };
  return { kind: 'delivered', sha256: await hashOf(voyage.root, unchanged), modifiedMs: final.modifiedMs };
}

/** SHA-256 of a local file's content, read as carefully as for an upload. */
export async function hashOf(root: string, file: LocalFile): Promise<string> {
  const source = await LocalSource.open(root, file);
  try {
    for await (const _ of source.chunks());
    return (await source.confirm()).sha256;
  } finally {
    await source.close();
  }
}
