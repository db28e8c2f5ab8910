/*
 * Both ways to ask a file system are one: the same answers and the same errors, whatever stands there.
 */
import { execFileSync } from 'node:child_process';
import { constants, Dirent, promises as fs, Stats } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DIRECT } from '../../src/local/direct.js';
import type { Disk, OpenFile } from '../../src/local/disk.js';
import { codeOf } from '../../src/local/error.js';
import { POOLED } from '../../src/local/pooled.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { openBelow } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('disk');
});
afterEach(async () => {
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

const WAYS = [
  ['at once', DIRECT],
  ['in the thread pool', POOLED],
] as const;

/** What an answer says, or the error's code. */
async function told(ask: () => unknown): Promise<unknown> {
  try {
    return plain(await ask());
  } catch (error) {
    return codeOf(error);
  }
}

function plain(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(plain).sort();
  if (answer instanceof Dirent) return `${answer.name} ${answer.isFile()} ${answer.isDirectory()}`;
  if (answer instanceof Stats)
    return [answer.ino, answer.mode, answer.size, answer.mtimeMs, answer.ctimeMs].join();
  if (typeof answer === 'object' && answer !== null && 'error' in answer) return codeOf(answer.error);
  return answer;
}

describe('both ways', () => {
  it('see the same, and fail the same', async () => {
    const name = fc.constantFrom('a', 'b', 'ä ö', 'c\n');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
    const kind = fc.constantFrom('file', 'directory', 'link', 'pipe');
    let tree = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(path, kind), { maxLength: 6 }),
        fc.array(path, { minLength: 1, maxLength: 6 }),
        async (standing, asked) => {
          tree += 1;
          const at = root.join(String(tree));
          await fs.mkdir(at);
          for (const [what, as] of standing) await put(`${at}/${what}`, as);
          const paths = asked.map((one) => `${at}/${one}`);
          const answers = await Promise.all(
            WAYS.map(async ([, disk]) => [
              await told(() => disk.lstatAll(paths)),
              ...(await Promise.all(paths.flatMap((one) => questions(disk, one).map(told)))),
            ]),
          );
          expect(answers[0]).toEqual(answers[1]);
        },
      ),
      { numRuns: 60 },
    );
  });

  async function put(path: string, kind: string): Promise<void> {
    try {
      await fs.mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
      if (kind === 'file') await fs.writeFile(path, path, { flag: 'wx' });
      else if (kind === 'directory') await fs.mkdir(path);
      else if (kind === 'link') await fs.symlink('a', path);
      else execFileSync('mkfifo', [path], { stdio: 'ignore' });
    } catch {
      // Something else stands there, or above it, already.
    }
  }

  function questions(disk: Disk, path: string): readonly (() => unknown)[] {
    return [
      () => disk.access(path, constants.R_OK),
      () => disk.lstat(path),
      () => disk.stat(path),
      () => disk.readdir(path),
      () => disk.readlink(path),
      () => disk.realpath(path),
      () => disk.rmdir(`${path}/missing`),
      async () => {
        const file = await disk.open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
        try {
          const buffer = Buffer.alloc(64);
          const length = await file.read(buffer, 1);
          return `${buffer.toString('utf8', 0, length)} ${plain(await file.stat())}`;
        } finally {
          await file.close();
        }
      },
    ];
  }
});

describe.each(WAYS)('a file that is open (%s)', (_way, disk) => {
  const open = async (name: string): Promise<OpenFile> =>
    disk.open(root.join(name), constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);

  it('is written, read, given its time and its permissions, and flushed', async () => {
    const file = await open('f');
    expect(await file.write(Buffer.from('some'), 0)).toBe(4);
    expect(await file.writeBeside(Buffer.from(' thing'), 4)).toBe(6);
    const buffer = Buffer.alloc(20);
    expect(await file.read(buffer, 5)).toBe(5);
    expect(await file.readBeside(buffer.subarray(5), 0)).toBe(10);
    expect(buffer.toString('utf8', 0, 15)).toBe('thingsome thing');
    expect(await file.read(buffer, 10)).toBe(0);
    await file.utimes(1_700_000_000_000, 1_600_000_000_500);
    await file.chmod(0o640);
    await file.sync();
    const stats = await file.stat();
    expect([stats.mtimeMs, stats.mode & 0o777]).toEqual([1_600_000_000_500, 0o640]);
    await file.close();
    await file.close();
    await disk.rename(root.join('f'), root.join('g'));
    await disk.unlink(root.join('g'));
    await disk.unlink(root.join('g'));
    expect(await told(() => disk.lstat(root.join('g')))).toBe('ENOENT');
  });

  it('is closed only once nobody reads from it any more', async () => {
    const file = await open('f');
    await file.write(Buffer.from('content'), 0);
    const buffer = Buffer.alloc(7);
    const readings = [file.readBeside(buffer, 0), file.readBeside(Buffer.alloc(1), 0)];
    await file.close();
    expect(await Promise.all(readings)).toEqual([7, 1]);
    expect(buffer.toString()).toBe('content');
    expect(await told(() => file.readBeside(buffer, 0))).toBe('EBADF');
    expect(await told(() => file.stat())).toBe('EBADF');
  });
});
