/* A server as it is written, and where: what the readers of its keys (server.ts, server-ftp.ts, server-sftp.ts) share. */
import type { Written } from './schema.js';

export type WrittenServer = Written['server'];

export interface ServerPlace {
  /** Pointer of the keys. */
  readonly pointer: string;
  /** Directory of the file, from which relative paths count. */
  readonly directory: string;
  /**
   * `whole`: the keys are all that was written. `pruned`: mistaken ones were taken out, so that a key that is not
   * there says nothing.
   */
  readonly keys: 'whole' | 'pruned';
}
