/*
 * What a watch has to say to a person: why a tree is not covered by events, and what to do about it. Sentences only;
 * who hears them, and how often, is decided by the watch.
 */
import type { Patch } from './ground.js';
import { codeOf, reasonOf } from './sight.js';

/** More mounts than this are counted, not named. */
const NAMED_PATCHES = 3;

/** What an error of the watcher means for the tree. */
export type Toll =
  /** The system gives no more watches: nothing of the tree is watched any longer. */
  | 'all'
  /** Something is not watched, and what, nobody knows. */
  | 'some'
  /** A directory that cannot be read, neither by a watcher nor by a look. */
  | 'unreadable';

/** What one error of the watcher costs. */
export function tollOf(error: unknown): Toll {
  switch (codeOf(error)) {
    case 'ENOSPC':
    case 'EMFILE':
    case 'ENFILE':
      return 'all';
    case 'EACCES':
    case 'EPERM':
      return 'unreadable';
    default:
      return 'some';
  }
}

/** What went wrong with watching, in sentences for a person, and what to do next. */
export function explainWatchError(error: unknown, root: string): string {
  const instead = 'Until then the directory is looked at regularly, and each rescan tries to watch it again.';
  switch (codeOf(error)) {
    case 'ENOSPC':
      return `The system allows no more watched directories, so ${root} is not watched. Raise fs.inotify.max_user_watches, for example: sysctl fs.inotify.max_user_watches=1048576. ${instead}`;
    case 'EMFILE':
    case 'ENFILE':
      return `The system allows no more open watchers, so ${root} is not watched. Raise fs.inotify.max_user_instances (sysctl) or the limit of open files. ${instead}`;
    case 'EACCES':
    case 'EPERM':
      return `A directory below ${root} may not be read, so it is not watched (${reasonOf(error)}). Give the account that ferryd runs under permission to read it, or exclude it.`;
    default:
      return `Watching ${root} met a problem (${reasonOf(error)}). What may not be watched is looked at regularly instead.`;
  }
}

/** Why a whole tree is polled that could be watched. */
export function explainDistrust(root: string, type: string): string {
  return `${root} lies on ${type}, where changes made elsewhere are not reported.`;
}

/** Why a job's tree is polled that asks for it. */
export const POLLED_BY_WISH = 'The job says "events: never".';

/** Why parts of a watched tree are polled. */
export function explainPatches(patches: readonly Patch[]): string {
  const named = patches.slice(0, NAMED_PATCHES).map(({ path, type }) => `${path} (${type})`);
  const more = patches.length - named.length;
  const what = more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
  return `Changes made elsewhere are not reported for what is mounted at ${what}.`;
}

/** Why a tree is polled in which something that does not matter changes all the time. */
export function explainNoise(root: string): string {
  return `So much happens below ${root} with what the job leaves out that it is not watched, but looked at regularly. Each rescan tries to watch it again.`;
}

/** Why nothing is watched for a moment. */
export function explainPause(pauseMs: number): string {
  return `So many changes came at once that nothing is watched for ${Math.ceil(pauseMs / 1000)} s; a scan follows.`;
}

/** A file system does not answer. */
export function explainSilence(root: string, silentMs: number): string {
  return `${root}, or something mounted below it, has not answered for ${Math.round(silentMs / 1000)} seconds: a network file system whose server is away does that. Changes there are not seen until it answers.`;
}
