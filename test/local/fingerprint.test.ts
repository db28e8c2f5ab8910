import { promises as fs, statSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fingerprintOf, settledFingerprint } from '../../src/local/fingerprint.js';
import { LocalSink } from '../../src/local/sink.js';
import { LocalSource } from '../../src/local/source.js';
import { lookAt } from '../../src/local/walk.js';
import { type Fingerprint, sameFingerprint } from '../../src/plan/entry.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { describeMounted, mounted } from './mounted.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('fingerprint');
});
afterEach(() => root.remove());

const HOUR_MS = 3_600_000;

describe('a fingerprint as a baseline may hold it', () => {
  const at = (ctimeMs: number): Fingerprint => ({ sizeBytes: 1, mtimeMs: 2, ctimeMs, inode: 3 });

  it.each([
    ['long ago', 'kept', -HOUR_MS],
    ['two seconds ago', 'kept', -2_000],
    ['less than two seconds ago', 'not kept', -1_999.9],
    ['just now', 'not kept', 0],
    ['by a clock that is ahead', 'not kept', HOUR_MS],
  ])('changed %s: its ctime is %s', (_when, what, agoMs) => {
    const seenAtMs = Date.parse('2026-01-02T03:04:05Z');
    const file = at(seenAtMs + agoMs);
    expect(settledFingerprint(file, seenAtMs)).toEqual(what === 'kept' ? file : at(0));
  });

  it('holds nothing else than what is compared', () => {
    expect(settledFingerprint({ ...at(0), path: 'a', device: 4 } as Fingerprint, HOUR_MS)).toEqual(at(0));
  });

  it('is the same however often it is settled', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (ctimeMs, seenAtMs, laterMs) => {
        const once = settledFingerprint(at(ctimeMs), seenAtMs);
        expect(settledFingerprint(once, seenAtMs + laterMs)).toEqual(once);
      }),
    );
  });
});

/** What a run does: looks, reads, and writes down. */
async function baselineOf(path: string): Promise<Fingerprint> {
  const file = await lookAt(root.path, path);
  if (file === undefined) throw new Error(`${path} is not there`);
  const source = await LocalSource.open(root.path, file);
  try {
    for await (const _ of source.chunks());
    await source.confirm();
    return settledFingerprint(file, source.seenAtMs);
  } finally {
    await source.close();
  }
}

/** Whether the next run sees that something has happened. */
async function isNoticed(path: string, baseline: Fingerprint): Promise<boolean> {
  const file = await lookAt(root.path, path);
  return file === undefined || !sameFingerprint(file, baseline);
}

it('a rewrite of the same size is noticed, however soon it comes', async () => {
  for (let time = 0; time < 20; time += 1) {
    await fs.writeFile(root.join('f'), `old ${time % 10}`);
    const baseline = await baselineOf('f');
    await fs.writeFile(root.join('f'), `new ${time % 10}`);
    expect(await isNoticed('f', baseline)).toBe(true);
  }
});

it('so is one of a file that has just been fetched', async () => {
  const sink = await LocalSink.open({ root: root.path, path: 'f', temporary: '.ferryd-1.part' });
  await sink.write(Buffer.from('old'));
  const modifiedMs = Date.parse('2024-01-02T03:04:05Z');
  const { local, seenAtMs } = await sink.publish(modifiedMs);
  const baseline = settledFingerprint(local, seenAtMs);
  await fs.writeFile(root.join('f'), 'new', { flag: 'r+' });
  await fs.utimes(root.join('f'), modifiedMs / 1000, modifiedMs / 1000);
  expect(await isNoticed('f', baseline)).toBe(true);
});

it('and a file that was left alone is examined once, and not for ever', async () => {
  await fs.writeFile(root.join('f'), 'content');
  const file = await lookAt(root.path, 'f');
  if (file === undefined) throw new Error('f is not there');
  expect(sameFingerprint(file, settledFingerprint(file, file.ctimeMs + 5))).toBe(false);
  expect(sameFingerprint(file, settledFingerprint(file, file.ctimeMs + 2_000))).toBe(true);
});

describeMounted('on a file system with coarse ticks', () => {
  it('the very same measures of two contents are met, and told apart all the same', async () => {
    using _ = mounted('ramfs', root.path);
    let alike = 0;
    for (let time = 0; time < 50; time += 1) {
      writeFileSync(root.join('f'), `old ${time % 10}`);
      const before = fingerprintOf(statSync(root.join('f')));
      const baseline = await baselineOf('f');
      // Within the same tick, if one can be met at all.
      writeFileSync(root.join('g'), `old ${time % 10}`);
      const seen = fingerprintOf(statSync(root.join('g')));
      const seenAtMs = Date.now();
      writeFileSync(root.join('g'), `new ${time % 10}`);
      if (sameFingerprint(seen, fingerprintOf(statSync(root.join('g'))))) alike += 1;
      expect(await isNoticed('g', settledFingerprint(seen, seenAtMs))).toBe(true);
      expect(sameFingerprint(before, baseline)).toBe(false);
    }
    expect(alike).toBeGreaterThan(0);
  });
});
