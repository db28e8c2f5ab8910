/*
 * The permissions of a local file on its way out: read, write and execute for owner, group and others. Setuid, setgid
 * and the sticky bit are never told, so that they cannot travel. Deliberately knows no ACLs and no owners.
 */
import { type LocalFile, sameFingerprint } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { diskOf } from './mounts.js';

/** What of a mode travels. */
export const PERMISSION_BITS = 0o777;

/**
 * The permissions of the very file that the walk saw, for setting them moves the ctime.
 *
 * @param root the real path of the root
 * @returns at most 0o777
 * @throws {LocalError} CHANGED where it is another file by now, else the system's code
 */
export async function permissionsOf(root: string, file: LocalFile): Promise<number> {
  try {
    const stats = await diskOf(root).stat(`${root}/${file.path}`);
    if (stats.dev === file.device && sameFingerprint(fingerprintOf(stats), file))
      return stats.mode & PERMISSION_BITS;
  } catch (error) {
    throw new LocalError(codeOf(error), localSentence(codeOf(error), file.path), error);
  }
  throw new LocalError('CHANGED', `${file.path} was changed while it was read.`);
}
