/*
 * What stands at the root of a watched tree: which directory, of which file system, on what ground; or nothing.
 * It opens nothing and holds nothing. A path on a network file system whose server is away may never be answered;
 * how long that is waited for is the caller's business.
 */
import { realpath, stat } from 'node:fs/promises';
import { throughGate } from './gate.js';
import {
  type Ground,
  type GroundOptions,
  gateOf,
  groundOf,
  type ReadMounts,
  readMountTable,
} from './ground.js';

/** A directory that can be watched. */
export interface Standing {
  readonly kind: 'directory';
  /** Its real path, links on the way resolved. */
  readonly path: string;
  /** Tell it from another directory that takes its place. */
  readonly device: bigint;
  readonly inode: bigint;
  readonly madeNs: bigint;
  readonly changedNs: bigint;
  readonly ground: Ground;
}

/** Nothing that can be watched. */
export interface Missing {
  readonly kind: 'absent';
  /** The system's code, `ENOTDIR` for something else than a directory, `SILENT` for a root that does not answer. */
  readonly code: string;
  /** Sentences for a person. */
  readonly message: string;
}

export type Sight = Standing | Missing;

export interface SightOptions {
  /** How often the caller looks, in milliseconds; for the sentence. */
  readonly everyMs: number;
  /** True for what does not matter, a path below the root. */
  readonly ignored?: ((path: string) => boolean) | undefined;
  /** Left out: the kernel's mount table. */
  readonly readMounts?: ReadMounts | undefined;
}

export async function see(root: string, options: SightOptions): Promise<Sight> {
  const { everyMs, ignored, readMounts = readMountTable } = options;
  const table = await readMounts();
  return throughGate(gateOf(root, table), () => look(root, everyMs, { ignored, table }));
}

async function look(root: string, everyMs: number, options: GroundOptions): Promise<Sight> {
  const seconds = everyMs / 1000;
  try {
    const path = await realpath(root);
    const stats = await stat(path, { bigint: true });
    if (!stats.isDirectory()) {
      return {
        kind: 'absent',
        code: 'ENOTDIR',
        message: `${root} is not a directory, so it cannot be watched. It is looked at every ${seconds} seconds and picked up as soon as it is one.`,
      };
    }
    const ground = await groundOf(path, options);
    const { dev: device, ino: inode, birthtimeNs: madeNs, ctimeNs: changedNs } = stats;
    return { kind: 'directory', path, device, inode, madeNs, changedNs, ground };
  } catch (error) {
    const code = codeOf(error);
    const what =
      code === 'ENOENT'
        ? `The directory ${root} does not exist, so it cannot be watched.`
        : `The directory ${root} cannot be read, so it cannot be watched (${reasonOf(error)}).`;
    return {
      kind: 'absent',
      code,
      message: `${what} It is looked for every ${seconds} seconds and picked up as soon as it is there.`,
    };
  }
}

/**
 * What is seen against what is watched: the same, other things mounted in the same directory, or another directory.
 */
export function compareSights(watched: Standing, seen: Standing): 'same' | 'mounts' | 'other' {
  if (watched.path !== seen.path || !sameDirectory(watched, seen)) return 'other';
  const same =
    watched.ground.mounts === seen.ground.mounts && watched.ground.distrusted === seen.ground.distrusted;
  return same ? 'same' : 'mounts';
}

function sameDirectory(watched: Standing, seen: Standing): boolean {
  if (watched.device !== seen.device) return false;
  // FUSE may give a directory another inode number each time it is looked up; what changed there, the polling finds.
  if (seen.ground.distrusted !== undefined) return true;
  if (watched.inode !== seen.inode) return false;
  // An inode number alone is given again at once to a directory that is deleted and made anew. Where the system does
  // not say when it was made, Node shows when it was last changed instead.
  return watched.madeNs === seen.madeNs || [watched, seen].every((one) => one.madeNs === one.changedNs);
}

/** The system's code of an error; `unknown` where it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}

/** What an error says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
