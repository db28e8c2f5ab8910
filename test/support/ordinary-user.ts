/*
 * Root may read and write everything, so what an ordinary user is refused can only be tested as one. Where the tests
 * run as root, this process takes the identity of nobody for the time of a synchronous piece of work.
 */
import { chownSync } from 'node:fs';

const NOBODY = 65_534;

/**
 * Does something as a user who is not root.
 *
 * @param own paths that this user shall own; where the tests run as an ordinary user, it owns them already
 */
export function asOrdinaryUser<T>(own: readonly string[], work: () => T): T {
  if (process.getuid?.() !== 0) return work();
  for (const path of own) chownSync(path, NOBODY, NOBODY);
  process.seteuid?.(NOBODY);
  try {
    return work();
  } finally {
    process.seteuid?.(0);
  }
}
