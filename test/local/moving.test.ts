import {
  existsSync,
  promises as fs,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LocalSink } from '../../src/local/sink.js';
import { moveFile } from '../../src/local/tree.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { localError, openBelow, systemError } from './support.js';

/** What happens at the two calls, of which some file systems have not both, and between them. */
const hooks = vi.hoisted(() => ({
  link: undefined as ((from: string, to: string) => void) | undefined,
  rename: undefined as ((from: string, to: string) => void) | undefined,
}));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  return {
    ...real,
    linkSync: (from: string, to: string) => {
      hooks.link?.(from, to);
      real.linkSync(from, to);
    },
    renameSync: (from: string, to: string) => {
      hooks.rename?.(from, to);
      real.renameSync(from, to);
    },
  };
});

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('moving');
});
afterEach(async () => {
  hooks.link = undefined;
  hooks.rename = undefined;
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

const TRASHED = '.ferryd-trash/20261123T023015Z/f';

function refuseLinks(code: string): void {
  hooks.link = () => {
    throw systemError(code);
  };
}

/** Something else happens once, right before the call. */
function atTheLastMoment(call: 'link' | 'rename', deed: () => void): void {
  hooks[call] = () => {
    hooks[call] = undefined;
    deed();
  };
}

describe('a file that is moved', () => {
  it.each(['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])(
    'out of the trash, on a file system without second names (%s)',
    async (code) => {
      await fs.mkdir(root.join('.ferryd-trash/20261123T023015Z'), { recursive: true });
      await fs.writeFile(root.join(TRASHED), 'old');
      await fs.writeFile(root.join('g'), 'mine');
      refuseLinks(code);
      expect(await moveFile(root.path, TRASHED, 'g', undefined)).toBe('occupied');
      expect(await moveFile(root.path, TRASHED, 'f', undefined)).toBe('moved');
      expect(readFileSync(root.join('f'), 'utf8')).toBe('old');
      expect(readFileSync(root.join('g'), 'utf8')).toBe('mine');
      expect(existsSync(root.join(TRASHED))).toBe(false);
    },
  );

  it('out of the trash does not replace what comes up at the last moment', async () => {
    await fs.mkdir(root.join('.ferryd-trash/20261123T023015Z'), { recursive: true });
    await fs.writeFile(root.join(TRASHED), 'old');
    atTheLastMoment('link', () => writeFileSync(root.join('f'), 'mine'));
    expect(await moveFile(root.path, TRASHED, 'f', undefined)).toBe('occupied');
    expect(readFileSync(root.join('f'), 'utf8')).toBe('mine');
    expect(readFileSync(root.join(TRASHED), 'utf8')).toBe('old');
  });

  it('into the trash does not destroy what replaces it at the last moment', async () => {
    await fs.writeFile(root.join('f'), 'old');
    await fs.writeFile(root.join('new'), 'saved in this moment');
    atTheLastMoment('rename', () => renameSync(root.join('new'), root.join('f')));
    expect(await moveFile(root.path, 'f', TRASHED, undefined)).toBe('moved');
    expect(readFileSync(root.join(TRASHED), 'utf8')).toBe('saved in this moment');
  });

  it('and vanishes at the last moment is missing', async () => {
    await fs.writeFile(root.join('f'), 'old');
    atTheLastMoment('rename', () => rmSync(root.join('f')));
    expect(await moveFile(root.path, 'f', TRASHED, undefined)).toBe('missing');
  });

  it('says what the system says where it cannot be moved', async () => {
    await fs.writeFile(root.join('f'), 'old');
    atTheLastMoment('rename', () => {
      throw systemError('EBUSY');
    });
    expect(await localError(moveFile(root.path, 'f', TRASHED, undefined))).toMatchObject({ code: 'EBUSY' });
    expect(readFileSync(root.join('f'), 'utf8')).toBe('old');
  });
});

describe('a file that takes the place of one that is kept', () => {
  async function ready(): Promise<LocalSink> {
    await fs.writeFile(root.join('f'), 'old');
    const sink = await LocalSink.open({ root: root.path, path: 'f', temporary: '.ferryd-1.part' });
    await sink.write(Buffer.from('new'));
    return sink;
  }

  it('never leaves the name empty where there are second names', async () => {
    const sink = await ready();
    const seen: string[] = [];
    hooks.rename = () => seen.push(readFileSync(root.join('f'), 'utf8'));
    await sink.publish(undefined, undefined, TRASHED);
    expect(seen).toEqual(['old']);
    expect(readFileSync(root.join('f'), 'utf8')).toBe('new');
  });

  it.each(['EPERM', 'EOPNOTSUPP', 'ENOSYS'])(
    'without second names (%s) the old one is moved',
    async (code) => {
      const sink = await ready();
      refuseLinks(code);
      expect((await sink.publish(undefined, undefined, TRASHED)).setAside).toBe(true);
      expect(readFileSync(root.join('f'), 'utf8')).toBe('new');
      expect(readFileSync(root.join(TRASHED), 'utf8')).toBe('old');
    },
  );

  it('nor is a version replaced there that is kept already', async () => {
    const sink = await ready();
    await fs.mkdir(root.join('.ferryd-trash/20261123T023015Z'), { recursive: true });
    await fs.writeFile(root.join(TRASHED), 'older');
    refuseLinks('EPERM');
    expect((await localError(sink.publish(undefined, undefined, TRASHED))).code).toBe('ASIDE');
    await sink.discard();
    expect(readFileSync(root.join('f'), 'utf8')).toBe('old');
    expect(readFileSync(root.join(TRASHED), 'utf8')).toBe('older');
  });

  it.each(['with', 'without'])(
    'and cannot take it: %s second names the old one stands there again',
    async (how) => {
      const sink = await ready();
      const inode = lstatSync(root.join('f')).ino;
      if (how === 'without') refuseLinks('EPERM');
      hooks.rename = (from) => {
        if (from.endsWith('.part')) throw systemError('EIO');
      };
      expect((await localError(sink.publish(undefined, undefined, TRASHED))).code).toBe('EIO');
      hooks.rename = undefined;
      await sink.discard();
      expect(lstatSync(root.join('f')).ino).toBe(inode);
      expect(readFileSync(root.join('f'), 'utf8')).toBe('old');
      expect(existsSync(root.join(TRASHED))).toBe(false);
      expect(readdirSync(root.path).sort()).toEqual(['.ferryd-trash', 'f']);
    },
  );
});
