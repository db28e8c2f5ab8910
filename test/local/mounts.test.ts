/*
 * Which way a directory is asked, by lists of mounts as kernels write them.
 */
import { describe, expect, it } from 'vitest';
import { DIRECT } from '../../src/local/direct.js';
import { Mounts } from '../../src/local/mounts.js';
import { POOLED } from '../../src/local/pooled.js';

/** A list with these mounts: point and type of each, the later ones over the earlier. */
function mounts(...mounted: readonly (readonly [point: string, type: string])[]): Mounts {
  const lines = mounted.map(
    ([point, type], i) => `${i + 20} 1 8:${i} / ${point} rw,relatime shared:${i} - ${type} /dev/x rw`,
  );
  return new Mounts(`${lines.join('\n')}\n`);
}

describe('a directory', () => {
  it.each(['ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'tmpfs', 'overlay', 'vfat', 'exfat', 'ntfs3'])(
    'on %s is asked at once',
    (type) => {
      expect(mounts(['/', type]).diskOf('/srv/data')).toBe(DIRECT);
    },
  );

  it.each([
    'nfs',
    'nfs4',
    'cifs',
    'smb3',
    'fuse.sshfs',
    'fuseblk',
    '9p',
    'virtiofs',
    'ceph',
    'autofs',
    'new',
  ])('on %s is asked in the thread pool', (type) => {
    expect(mounts(['/', type]).diskOf('/srv/data')).toBe(POOLED);
  });

  it('has the type of the nearest mount above it, by whole names', () => {
    const list = mounts(['/', 'ext4'], ['/mnt', 'nfs4'], ['/mnt/disk', 'xfs']);
    expect(list.diskOf('/home')).toBe(DIRECT);
    expect(list.diskOf('/mnt/other')).toBe(POOLED);
    expect(list.diskOf('/mnt/disk')).toBe(DIRECT);
    expect(list.diskOf('/mnt/disk/deep/down/')).toBe(DIRECT);
    expect(list.diskOf('/mnt/disks')).toBe(POOLED);
    expect(list.diskOf('/mntx')).toBe(DIRECT);
  });

  it('with a share somewhere below is asked in the thread pool as a whole', () => {
    const list = mounts(['/', 'ext4'], ['/srv/data/far', 'cifs'], ['/srv/data/near', 'tmpfs']);
    expect(list.diskOf('/srv/data')).toBe(POOLED);
    expect(list.diskOf('')).toBe(POOLED);
    expect(list.diskOf('/srv/data/near')).toBe(DIRECT);
    expect(list.diskOf('/srv/dat')).toBe(DIRECT);
  });

  it('is what was mounted there last', () => {
    expect(mounts(['/', 'ext4'], ['/a', 'ext4'], ['/a', 'nfs']).diskOf('/a/b')).toBe(POOLED);
    expect(mounts(['/', 'ext4'], ['/a', 'autofs'], ['/a', 'ext4']).diskOf('/a/b')).toBe(DIRECT);
  });

  it('may have a name that is written with digits', () => {
    const list = mounts(['/', 'ext4'], ['/my\\040disk\\134', 'nfs']);
    expect(list.diskOf('/my disk\\/d')).toBe(POOLED);
    expect(list.diskOf('/my')).toBe(DIRECT);
  });

  it.each(['', 'nonsense', '20 1 8:1 / / rw'])(
    'of which a list like %j says nothing may be anything',
    (list) => {
      expect(new Mounts(list).diskOf('/srv')).toBe(POOLED);
    },
  );
});
