/*
 * What a tree lies on, and whether the events of that file system can be trusted: statfs(2) for the root, and
 * /proc/self/mountinfo (proc(5)) for its name and for what is mounted below it. A file system whose files can be
 * changed from elsewhere (network, FUSE, a virtual machine's host) reports only what this machine changes, so its
 * events prove nothing. Local ones report everything, overlay and removable disks too; so does one that is not in the
 * list. Elsewhere than on Linux nothing is distrusted by itself: there a job says `events: never`.
 */
import { readFile, statfs } from 'node:fs/promises';

/** Names as the kernel's mount table has them; what is behind a dot (`fuse.sshfs`) is left out. */
const DISTRUSTED_NAMES = new Set([
  'nfs',
  'nfs4',
  'cifs',
  'smb3',
  'smbfs',
  'fuse',
  'fuseblk',
  'virtiofs',
  '9p',
  'afs',
  'openafs',
  'auristorfs',
  'ceph',
  'coda',
  'ncpfs',
  'lustre',
  'gpfs',
  'gfs2',
  'ocfs2',
  'beegfs',
  'orangefs',
  'pvfs2',
  'panfs',
  'acfs',
  'autofs',
  'vboxsf',
  'vmhgfs',
  'prl_fs',
  'drvfs',
  'fakeowner',
]);

/** What statfs(2) says of the same, for where there is no mount table to read. */
const DISTRUSTED_MAGIC: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb3'],
  [0x517b, 'smbfs'],
  [0x65735546, 'fuse'],
  [0x01021997, '9p'],
  [0x5346414f, 'afs'],
  [0x6b414653, 'afs'],
  [0x00c36400, 'ceph'],
  [0x73757245, 'coda'],
  [0x564c, 'ncpfs'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0x01161970, 'gfs2'],
  [0x7461636f, 'ocfs2'],
  [0x19830326, 'beegfs'],
  [0x20030528, 'orangefs'],
  [0xaad7aaea, 'panfs'],
  [0x61636673, 'acfs'],
  [0x0187, 'autofs'],
  [0x786f4256, 'vboxsf'],
  [0xbacbacbc, 'vmhgfs'],
  [0x7c7c6673, 'prl_fs'],
]);

const MOUNT_TABLE = '/proc/self/mountinfo';

/** More mounts below one root than this are looked at as a whole. */
const MANY_MOUNTS = 256;

/** A file system that is mounted below the root and whose events cannot be trusted. */
export interface Patch {
  /** Below the root, with `/` between its parts. */
  readonly path: string;
  /** Its type, for people: `nfs4`, `fuse.sshfs`. */
  readonly type: string;
}

export interface Ground {
  /** Which gate calls to what is distrusted here go through; undefined where nothing is. */
  readonly gate: string | undefined;
  /** The root's type, where its events cannot be trusted; undefined where they can. */
  readonly distrusted: string | undefined;
  /** What cannot be trusted below a root that can. */
  readonly patches: readonly Patch[];
  /** Changes when something is mounted or unmounted at the root or below it. */
  readonly mounts: string;
}

/** The kernel's mount table, of this process. */
export async function readMountTable(): Promise<string | undefined> {
  return readFile(MOUNT_TABLE, 'utf8').catch(() => undefined);
}

/** Reads the mount table; undefined where there is none. */
export type ReadMounts = () => Promise<string | undefined>;

export interface GroundOptions {
  /** True for what does not matter, a path below the root; nor does what is mounted there or below it. */
  readonly ignored?: ((path: string) => boolean) | undefined;
  /** The mount table; undefined where there is none. */
  readonly table: string | undefined;
}

/**
 * The gate that the first look at a path has to go through, by the mount table alone: the path is not touched, and
 * links on the way to it are not seen.
 */
export function gateOf(path: string, table: string | undefined): string | undefined {
  const { at } = mountsAround(table ?? '', path);
  return at !== undefined && isDistrusted(at.type) ? at.point : undefined;
}

/**
 * @param root the real path of a directory
 * @throws what statfs(2) throws where the root cannot be seen
 */
export async function groundOf(root: string, options: GroundOptions): Promise<Ground> {
  const { ignored = () => false } = options;
  if (process.platform !== 'linux') return NOWHERE;
  const stats = await statfs(root, { bigint: true });
  const magic = DISTRUSTED_MAGIC.get(Number(BigInt.asUintN(32, stats.type)));
  const around = mountsAround(options.table ?? '', root);
  const named = around.at !== undefined && isDistrusted(around.at.type) ? around.at.type : undefined;
  const mounts = around.below
    .map((mount) => ({ ...mount, path: below(root, mount.point) }))
    .filter(({ path }) => !waysTo(path).some(ignored));
  const elsewhere = mounts.filter(({ type }) => isDistrusted(type));
  const patches = elsewhere.map(({ path, type }) => ({ path, type }));
  const [first] = patches;
  const distrusted = named ?? magic ?? (patches.length > MANY_MOUNTS ? first?.type : undefined);
  return {
    gate: named !== undefined ? around.at?.point : distrusted !== undefined ? root : elsewhere[0]?.point,
    distrusted,
    patches,
    mounts: [around.at, ...mounts].map((mount) => `${mount?.id} ${mount?.point}`).join('\n'),
  };
}

/** Where there are no mounts to know of. */
const NOWHERE: Ground = { gate: undefined, distrusted: undefined, patches: [], mounts: '' };

function isDistrusted(type: string): boolean {
  return DISTRUSTED_NAMES.has(type.split('.')[0] ?? type);
}

interface Mount {
  readonly id: string;
  readonly parent: string;
  readonly point: string;
  readonly type: string;
}

/** The mount that a path lies on, and those that can be reached below the path. */
interface Mounts {
  readonly at: Mount | undefined;
  readonly below: readonly Mount[];
}

/** @param text the mount table; lines that cannot be read are passed over */
function mountsAround(text: string, path: string): Mounts {
  const mounts = text.split('\n').flatMap(readMount);
  const known = new Set(mounts.map(({ id }) => id));
  const children = new Map<string, Mount[]>();
  for (const mount of mounts) {
    // A process that was moved into a part of the tree sees a root whose parent it does not see.
    const parent = known.has(mount.parent) && mount.parent !== mount.id ? mount.parent : 'none';
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [mount]);
    else siblings.push(mount);
  }
  const find = (place: string): Mount | undefined => reach(children, place);
  return {
    at: find(path),
    // One that lies under another mount is still in the table, and cannot be reached.
    below: mounts.filter((mount) => isBelow(mount.point, path) && find(mount.point) === mount),
  };
}

/** Goes down from mount to mount as the kernel does: what is mounted over a place hides all that lies under it. */
function reach(children: ReadonlyMap<string, readonly Mount[]>, path: string): Mount | undefined {
  let at: Mount | undefined;
  for (;;) {
    const within = children.get(at?.id ?? 'none') ?? [];
    // The shortest is met first on the way down; of two at one point the later lies on top.
    const next = within
      .filter(({ point }) => point === path || isBelow(path, point))
      .reduce<Mount | undefined>(
        (best, mount) => (best === undefined || mount.point.length <= best.point.length ? mount : best),
        undefined,
      );
    if (next === undefined) return at;
    at = next;
  }
}

/** `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` */
function readMount(line: string): Mount[] {
  const [own = '', source = ''] = line.split(' - ', 2);
  const [id, parent, , , point] = own.split(' ');
  const [type] = source.split(' ');
  if (id === undefined || parent === undefined || point === undefined || type === undefined || type === '') {
    return [];
  }
  return [{ id, parent, point: readable(point), type }];
}

/** Space, tab, line break and backslash stand there in octal. They are bytes, and all of them are ASCII. */
function readable(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

function isBelow(path: string, directory: string): boolean {
  return directory === '/' ? path !== '/' : path.startsWith(`${directory}/`);
}

function below(root: string, path: string): string {
  return root === '/' ? path.slice(1) : path.slice(root.length + 1);
}

/** `a/b/c` is reached by way of `a` and `a/b`. */
function waysTo(path: string): string[] {
  return path.split('/').map((_, depth, parts) => parts.slice(0, depth + 1).join('/'));
}
