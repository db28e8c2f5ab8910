import { readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLedger } from '../../src/ledger/ledger.js';
import { acquireLock, type Lock, lockDirectory } from '../../src/ledger/lock.js';
import { compileLedger, startChild } from './child.js';
import { modesOf, problemOf, temporaryDirectory } from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let locks: string;
beforeEach(() => {
  directory = temporaryDirectory();
  locks = join(directory.path, 'ledger.db.locks');
});
afterEach(() => directory.remove());

function take(name: string): Lock {
  const lock = acquireLock(locks, name, `test of ${name}`);
  if (lock.kind !== 'lock') throw new Error(lock.message);
  return lock;
}

const HOLDER = `
  import { acquireLock } from './src/ledger/lock.js';
  const lock = acquireLock(process.argv[2], 'job-nightly', 'run of job nightly');
  console.log(lock.kind, process.pid);
  process.stdin.once('data', () => { lock.release?.(); console.log('released'); process.stdin.destroy(); });`;

describe('a lock within one process', () => {
  it('is had once, tells who has it, and can be had again after its release', () => {
    const before = Date.now();
    const lock = take('job-nightly');
    const other = acquireLock(locks, 'job-nightly', 'second');
    expect(other).toMatchObject({
      kind: 'held',
      holder: { pid: process.pid, purpose: 'test of job-nightly' },
      message: expect.stringMatching(
        new RegExp(`^Process ${process.pid} holds it since \\d{4}-.*Z \\(test of job-nightly\\)\\.$`),
      ),
    });
    if (other.kind === 'held') expect(other.holder?.sinceMs).toBeGreaterThanOrEqual(before);
    // A refused attempt must not have dropped the lock, which is how POSIX locks are usually lost.
    expect(acquireLock(locks, 'job-nightly', 'third').kind).toBe('held');
    lock.release();
    const again = take('job-nightly');
    lock.release();
    expect(acquireLock(locks, 'job-nightly', 'fourth').kind).toBe('held');
    again.release();
  });

  it('is apart from locks of other names', () => {
    const held = ['job-a', 'job-b', 'daemon'].map(take);
    for (const lock of held) lock.release();
  });

  it('lies in a private directory in private files, and leaves no journal', () => {
    const umask = process.umask(0);
    const lock = take('daemon');
    process.umask(umask);
    expect(statSync(locks).mode & 0o777).toBe(0o700);
    expect(modesOf(locks)).toEqual({ 'daemon.lock': '600', 'daemon.holder': '600' });
    lock.release();
    expect(readdirSync(locks)).toEqual(['daemon.lock']);
  });

  it('is not named after a way out of its directory', () => {
    for (const name of ['', '.', '..', '../x', 'a/b', 'a b', 'a\0', '-x', 'x'.repeat(201)]) {
      expect(() => acquireLock(locks, name, 'x')).toThrow(RangeError);
    }
  });

  it('says so where its note cannot be read', () => {
    const lock = take('daemon');
    for (const note of [
      '',
      '{',
      'null',
      '{"pid":"x","sinceMs":1,"purpose":"y"}',
      '{"pid":1,"sinceMs":1e99,"purpose":""}',
    ]) {
      writeFileSync(join(locks, 'daemon.holder'), note);
      expect(acquireLock(locks, 'daemon', 'x')).toEqual({
        kind: 'held',
        holder: undefined,
        message: 'Another process holds it.',
      });
    }
    lock.release();
  });

  it('is refused with a sentence where its file is something else', () => {
    take('daemon').release();
    writeFileSync(join(locks, 'daemon.lock'), 'not a lock '.repeat(1000));
    const error = problemOf(() => acquireLock(locks, 'daemon', 'x'));
    expect(error.message).toContain(join(locks, 'daemon.lock'));
    writeFileSync(join(directory.path, 'file'), '');
    expect(problemOf(() => acquireLock(join(directory.path, 'file'), 'daemon', 'x')).kind).toBe('unreadable');
  });

  it('has one directory for a ledger, by whatever link', () => {
    const file = join(directory.path, 'ledger.db');
    expect(lockDirectory(file)).toBe(lockDirectory(join(directory.path, '.', 'ledger.db')));
    const before = lockDirectory(file);
    openLedger(file).close();
    symlinkSync(file, join(directory.path, 'link.db'));
    symlinkSync(directory.path, join(directory.path, 'there'));
    expect(lockDirectory(join(directory.path, 'link.db'))).toBe(before);
    expect(lockDirectory(join(directory.path, 'there', 'ledger.db'))).toBe(before);
    expect(lockDirectory(join(directory.path, 'there', 'not-yet.db'))).toBe(
      join(before, '..', 'not-yet.db.locks'),
    );
  });
});

describe('a lock between processes', () => {
  beforeEach(() => compileLedger(directory.path));

  it('is had by one, who is told to the other, until it is released', async () => {
    const child = startChild(directory.path, HOLDER, [locks]);
    const [kind, pid] = (await child.line()).split(' ');
    expect(kind).toBe('lock');
    expect(acquireLock(locks, 'job-nightly', 'x')).toMatchObject({
      kind: 'held',
      holder: { pid: Number(pid), purpose: 'run of job nightly' },
    });
    child.write('release');
    expect(await child.line()).toBe('released');
    take('job-nightly').release();
    expect(await child.ended()).toBe(0);
  });

  it('is refused to a child while we have it', async () => {
    const lock = take('job-nightly');
    const child = startChild(directory.path, HOLDER, [locks]);
    expect(await child.line()).toMatch(/^held /);
    await child.end();
    lock.release();
  });

  it('is free the moment its holder is killed, and its old note misleads nobody', async () => {
    const child = startChild(directory.path, HOLDER, [locks]);
    await child.line();
    await child.end('SIGKILL');
    expect(readdirSync(locks)).toContain('job-nightly.holder');
    const lock = take('job-nightly');
    expect(acquireLock(locks, 'job-nightly', 'x')).toMatchObject({ holder: { pid: process.pid } });
    lock.release();
  });

  it('goes to exactly one of several that come in the same instant, every time', async () => {
    const script = `
      import { createInterface } from 'node:readline';
      import { acquireLock } from './src/ledger/lock.js';
      let lock;
      for await (const line of createInterface({ input: process.stdin })) {
        lock?.release?.();
        if (line === 'end') break;
        if (line === 'release') {
          console.log('released');
          continue;
        }
        while (Date.now() < Number(line));
        lock = acquireLock(process.argv[2], 'daemon', 'x');
        console.log(lock.kind);
      }
      process.stdin.destroy();`;
    const children = [1, 2, 3].map(() => startChild(directory.path, script, [locks]));
    const all = async (line: string) => {
      for (const child of children) child.write(line);
      return Promise.all(children.map((child) => child.line()));
    };
    for (let round = 0; round < 20; round += 1) {
      expect((await all(String(Date.now() + 15))).sort()).toEqual(['held', 'held', 'lock']);
      expect(await all('release')).toEqual(['released', 'released', 'released']);
    }
    for (const child of children) child.write('end');
    expect(await Promise.all(children.map((child) => child.ended()))).toEqual([0, 0, 0]);
    take('daemon').release();
  });
});
