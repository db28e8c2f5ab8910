/*
 * Which way a directory of this machine is asked (disk.ts): by the type of the file system that is mounted there, as the
 * kernel tells it in /proc/self/mountinfo (proc(5)), and of all that are mounted below. Nothing is looked at for that
 * but the list, since the very look could hang. Where there is no such list, or a type is not known, a call may take
 * long.
 */
import { readFileSync } from 'node:fs';
import { DIRECT } from './direct.js';
import type { Disk } from './disk.js';
import { POOLED } from './pooled.js';

/** Kept by this machine's kernel on a disk of its own or in memory. Network and FUSE are missing on purpose. */
const OF_THIS_MACHINE: ReadonlySet<string> = new Set([
  ...['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'zfs', 'bcachefs', 'f2fs', 'jfs', 'nilfs2', 'reiserfs'],
  ...['tmpfs', 'ramfs', 'overlay', 'aufs', 'jffs2', 'ubifs', 'squashfs', 'erofs', 'iso9660', 'udf'],
  ...['vfat', 'msdos', 'exfat', 'ntfs', 'ntfs3', 'hfs', 'hfsplus'],
]);

/** For so long nobody looks whether something was mounted. */
const BELIEVED_MS = 2_000;

/** The file systems that are mounted at one moment. */
export class Mounts {
  /** By mount point; `''` is the root of all. */
  readonly #types = new Map<string, string>();
  readonly #disks = new Map<string, Disk>();

  /** @param mountinfo the text of such a file */
  constructor(mountinfo: string) {
    for (const line of mountinfo.split('\n')) {
      // 36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw
      const [mount = '', source = ''] = line.split(' - ', 2);
      const point = mount.split(' ', 5)[4];
      const type = source.split(' ', 1)[0];
      // What was mounted last at a point hides what was there before.
      if (point !== undefined && type !== undefined) this.#types.set(bare(unescaped(point)), type);
    }
  }

  /** @param directory a real path */
  diskOf(directory: string): Disk {
    const path = bare(directory);
    const kept = this.#disks.get(path);
    if (kept !== undefined) return kept;
    const disk = this.#isOfThisMachine(path) ? DIRECT : POOLED;
    this.#disks.set(path, disk);
    return disk;
  }

  #isOfThisMachine(path: string): boolean {
    let nearest: string | undefined;
    for (const [point, type] of this.#types) {
      if (point.startsWith(`${path}/`) && !OF_THIS_MACHINE.has(type)) return false;
      const holds = point === path || path.startsWith(`${point}/`);
      if (holds && (nearest === undefined || point.length > nearest.length)) nearest = point;
    }
    return nearest !== undefined && OF_THIS_MACHINE.has(this.#types.get(nearest) ?? '');
  }
}

let present: { readonly mounts: Mounts; readonly untilMs: number } | undefined;

/** @param directory a real path; all below it is asked the same way */
export function diskOf(directory: string): Disk {
  const nowMs = performance.now();
  if (present === undefined || nowMs >= present.untilMs) {
    present = { mounts: new Mounts(mountinfo()), untilMs: nowMs + BELIEVED_MS };
  }
  return present.mounts.diskOf(directory);
}

function mountinfo(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return '';
  }
}

/** Blanks, tabs, line breaks and backslashes of a path are written as three octal digits. */
function unescaped(point: string): string {
  return point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function bare(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}
