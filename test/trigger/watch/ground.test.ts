/*
 * Which file systems are trusted: mount tables as the kernel writes them, and what this machine's kernel says of its
 * own. A network file system is not at hand in a test, so its line in the table has to do.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Ground,
  type GroundOptions,
  gateOf,
  groundOf,
  readMountTable,
} from '../../../src/trigger/watch/ground.js';

const SLASH = '1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw';

describe.runIf(process.platform === 'linux')('groundOf', () => {
  let base = '';
  beforeAll(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'ferryd-ground-')));
  });
  afterAll(() => rm(base, { recursive: true, force: true }));

  /** @param lines a mount table in which `@` stands for the root */
  async function ground(
    lines: readonly string[],
    options: Pick<GroundOptions, 'ignored'> = {},
  ): Promise<Ground> {
    const table = lines.join('\n').replaceAll('@', base);
    return groundOf(base, { ...options, table });
  }

  it.each([
    'ext4',
    'btrfs',
    'xfs',
    'zfs',
    'f2fs',
    'tmpfs',
    'overlay',
    'vfat',
    'exfat',
    'ntfs3',
    'squashfs',
    'one-that-nobody-knows',
  ])('trusts %s', async (type) => {
    const { distrusted, patches } = await ground([SLASH, `2 1 8:2 / @ rw - ${type} /dev/sdb rw`]);
    expect({ distrusted, patches }).toEqual({ distrusted: undefined, patches: [] });
  });

  it.each([
    'nfs',
    'nfs4',
    'cifs',
    'smb3',
    'fuse',
    'fuse.sshfs',
    'fuse.rclone',
    'fuseblk',
    '9p',
    'afs',
    'ceph',
    'virtiofs',
    'autofs',
    'vboxsf',
  ])('does not trust %s', async (type) => {
    const { distrusted } = await ground([SLASH, `2 1 0:40 / @ rw - ${type} somewhere rw`]);
    expect(distrusted).toBe(type);
  });

  it('takes the mount that the root lies on, not one that only begins alike', async () => {
    expect((await ground([SLASH, '2 1 0:40 / @x rw - nfs nas:/ rw'])).distrusted).toBeUndefined();
    expect((await ground(['2 1 0:40 / / rw - nfs nas:/ rw'])).distrusted).toBe('nfs');
  });

  it('takes the mount on top where several lie over one another', async () => {
    const nfs = '2 1 0:40 / @ rw - nfs nas:/ rw';
    expect((await ground([SLASH, nfs, '3 2 0:41 / @ rw - tmpfs none rw'])).distrusted).toBeUndefined();
    expect(
      (await ground([SLASH, '4 1 0:41 / @ rw - tmpfs none rw', nfs.replace(' 1 ', ' 4 ')])).distrusted,
    ).toBe('nfs');
  });

  it('finds what is mounted below, with odd characters in its name', async () => {
    const { distrusted, patches } = await ground([
      SLASH,
      '2 1 0:40 / @/a\\040b\\134c\\011d rw master:1 propagate_from:2 - fuse.sshfs me@host:/ rw',
      '3 1 8:17 / @/stick rw - vfat /dev/sdb1 rw',
      '4 3 0:42 / @/stick/é rw - cifs //nas/x rw',
    ]);
    expect(distrusted).toBeUndefined();
    expect(patches).toEqual([
      { path: 'a b\\c\td', type: 'fuse.sshfs' },
      { path: 'stick/é', type: 'cifs' },
    ]);
  });

  it('passes over what is hidden under another mount, and what is ignored', async () => {
    const { patches, mounts } = await ground(
      [
        SLASH,
        '2 1 0:40 / @/data/nas rw - nfs nas:/ rw',
        '3 1 0:41 / @/data rw - tmpfs none rw',
        '4 1 0:42 / @/cache/nas rw - nfs nas:/ rw',
      ],
      { ignored: (path) => path === 'cache' },
    );
    expect(patches).toEqual([]);
    expect(mounts.split('\n')).toHaveLength(2);
  });

  it('shows every mount and unmount at the root or below, and none elsewhere', async () => {
    const stick = '2 1 8:17 / @/stick rw - vfat /dev/sdb1 rw';
    const without = await ground([SLASH]);
    const within = await ground([SLASH, stick]);
    const again = await ground([SLASH, stick.replace('2 ', '3 ')]);
    const over = await ground([SLASH, '4 1 0:41 / @ rw - tmpfs none rw']);
    const elsewhere = await ground([SLASH, '5 1 0:41 / /elsewhere rw - nfs nas:/ rw']);
    expect(new Set([without, within, again, over].map(({ mounts }) => mounts)).size).toBe(4);
    expect(elsewhere).toEqual(without);
  });

  it('names one gate for all who look at the same file system', async () => {
    const nfs = '2 1 0:40 / @ rw - nfs nas:/ rw';
    expect((await ground([SLASH])).gate).toBeUndefined();
    expect((await ground([SLASH, nfs])).gate).toBe(base);
    expect((await ground(['2 1 0:40 / / rw - nfs nas:/ rw'])).gate).toBe('/');
    expect((await ground([SLASH, '2 1 0:40 / @/nas rw - nfs nas:/ rw'])).gate).toBe(`${base}/nas`);
    const table = [SLASH, nfs].join('\n').replaceAll('@', base);
    expect(gateOf(join(base, 'not', 'there'), table)).toBe(base);
    expect(gateOf(`${base}-beside`, table)).toBeUndefined();
    expect(gateOf(base, undefined)).toBeUndefined();
  });

  it('takes very many distrusted mounts as a distrusted root', async () => {
    const many = Array.from({ length: 300 }, (_, i) => `${i + 2} 1 0:${i} / @/${i} rw - nfs nas:/${i} rw`);
    expect((await ground([SLASH, ...many])).distrusted).toBe('nfs');
  });

  it('goes by statfs alone where there is no table, or one that cannot be read', async () => {
    for (const table of [undefined, 'what is\nthis - \n - x\n\n']) {
      const { distrusted, patches } = await groundOf(base, { table });
      expect({ distrusted, patches }).toEqual({ distrusted: undefined, patches: [] });
    }
  });

  it("trusts this machine's own disk, by the kernel's own table", async () => {
    const { distrusted, mounts } = await groundOf(base, { table: await readMountTable() });
    expect(distrusted).toBeUndefined();
    expect(mounts).toMatch(/^\d+ \//);
  });

  it('throws where there is nothing', async () => {
    await expect(groundOf(join(base, 'gone'), { table: '' })).rejects.toThrow(/ENOENT/);
  });
});
