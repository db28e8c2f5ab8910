import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Known } from '../../src/plan/entry.js';
import { judgePull, judgePush, remoteFingerprint } from '../../src/plan/judge.js';
import { baselineOf, localFile, remoteFile, SETTINGS, skipOf } from './sample.js';

const file = localFile('f');
const baseline = baselineOf('f');
const skip = skipOf('f');
const remote = remoteFile('f');
const remoteSkip = skipOf('f', { local: remoteFingerprint(remote) });

function knownOf(parts: Partial<Known>): Known {
  return { path: 'f', baseline: undefined, skip: undefined, ...parts };
}

describe('judgePush', () => {
  it.each([
    ['gone, never known', undefined, undefined, { kind: 'kept' }],
    ['gone, delivered before', undefined, { baseline }, { kind: 'kept' }],
    ['gone, skipped before', undefined, { skip }, { kind: 'kept' }],
    ['there, skipped as it is', file, { skip }, { kind: 'remembered', skip }],
    ['there, skipped as it is, delivered earlier', file, { skip, baseline }, { kind: 'remembered' }],
    ['skipped, size other', { ...file, sizeBytes: 11 }, { skip }, { kind: 'upload', reason: 'tried-again' }],
    ['skipped, mtime other', { ...file, mtimeMs: 1 }, { skip }, { kind: 'upload', reason: 'tried-again' }],
    ['skipped, ctime other', { ...file, ctimeMs: 1 }, { skip }, { kind: 'upload', reason: 'tried-again' }],
    ['skipped, inode other', { ...file, inode: 8 }, { skip }, { kind: 'upload', reason: 'tried-again' }],
    [
      'skipped, settings other',
      file,
      { skip: skipOf('f', { settings: 'before' }) },
      { kind: 'upload', reason: 'tried-again' },
    ],
    ['there, no row', file, undefined, { kind: 'upload', reason: 'new', file }],
    ['there, an empty row', file, {}, { kind: 'upload', reason: 'new', file }],
    ['there, all the same', file, { baseline }, { kind: 'unchanged' }],
    ['size other', { ...file, sizeBytes: 0 }, { baseline }, { kind: 'upload', reason: 'changed' }],
    ['mtime other', { ...file, mtimeMs: 1_000.5 }, { baseline }, { kind: 'upload', reason: 'changed' }],
    ['mtime older', { ...file, mtimeMs: 1 }, { baseline }, { kind: 'upload', reason: 'changed' }],
    ['ctime other', { ...file, ctimeMs: 2_001 }, { baseline }, { kind: 'examine', baseline }],
    ['inode other', { ...file, inode: 8 }, { baseline }, { kind: 'examine', baseline }],
  ] as const)('%s', (_row, seen, row, verdict) => {
    const known = row === undefined ? undefined : knownOf(row);
    expect(judgePush('f', seen, known, SETTINGS)).toMatchObject({ path: 'f', ...verdict });
  });
});

describe('judgePull', () => {
  it.each([
    ['gone, never known', undefined, undefined, { kind: 'kept' }],
    ['gone, fetched before', undefined, { baseline }, { kind: 'kept' }],
    ['there, skipped as it is', remote, { skip: remoteSkip }, { kind: 'remembered' }],
    [
      'skipped, size other',
      { ...remote, sizeBytes: 1 },
      { skip: remoteSkip, baseline },
      { kind: 'download', reason: 'tried-again', baseline },
    ],
    [
      'skipped, time other',
      { ...remote, modifiedMs: 6_000 },
      { skip: remoteSkip },
      { kind: 'download', reason: 'tried-again', baseline: undefined },
    ],
    [
      'skipped, settings other',
      remote,
      { skip: { ...remoteSkip, settings: 'before' } },
      { kind: 'download', reason: 'tried-again' },
    ],
    ['there, no row', remote, undefined, { kind: 'download', reason: 'new', baseline: undefined }],
    ['there, all the same', remote, { baseline }, { kind: 'unchanged' }],
    [
      'size other',
      { ...remote, sizeBytes: 1 },
      { baseline },
      { kind: 'download', reason: 'changed', baseline },
    ],
    ['time other', { ...remote, modifiedMs: 1 }, { baseline }, { kind: 'download', reason: 'changed' }],
    [
      'a time where there was none',
      remote,
      { baseline: baselineOf('f', { remoteModifiedMs: undefined }) },
      { kind: 'download', reason: 'changed' },
    ],
    [
      'never a time, size the same',
      { ...remote, modifiedMs: undefined },
      { baseline: baselineOf('f', { remoteModifiedMs: undefined }) },
      { kind: 'unchanged' },
    ],
  ] as const)('%s', (_row, seen, row, verdict) => {
    const known = row === undefined ? undefined : knownOf(row);
    expect(judgePull('f', seen, known, SETTINGS)).toMatchObject({ path: 'f', ...verdict });
  });
});

/** Few values, so that equal ones meet often. */
const few = fc.constantFrom(0, 1, 2);
const fingerprint = fc.record({ sizeBytes: few, mtimeMs: few, ctimeMs: few, inode: few });
const settings = fc.constantFrom('one', 'other');
const anyKnown = fc.option(
  fc.record({
    path: fc.constant('f'),
    baseline: fc.option(
      fc.record({
        path: fc.constant('f'),
        local: fingerprint,
        sha256: fc.constant('00'.repeat(32)),
        remoteModifiedMs: fc.option(few, { nil: undefined }),
      }),
      { nil: undefined },
    ),
    skip: fc.option(
      fc.record({
        path: fc.constant('f'),
        local: fingerprint,
        settings,
        code: fc.constant('550'),
        text: fc.constant('No.'),
        atMs: fc.constant(0),
      }),
      { nil: undefined },
    ),
  }),
  { nil: undefined },
);

describe('both', () => {
  it('are total, and call a file unchanged only where the ledger vouches for it', () => {
    const local = fingerprint.map((print) => ({ path: 'f', device: 1, ...print }));
    fc.assert(
      fc.property(fc.option(local, { nil: undefined }), anyKnown, settings, (seen, known, now) => {
        const verdict = judgePush('f', seen, known, now);
        expect(verdict.path).toBe('f');
        expect(verdict.kind === 'kept').toBe(seen === undefined);
        if (verdict.kind === 'unchanged') {
          expect(known?.skip).toBeUndefined();
          expect(known?.baseline?.local).toEqual({ ...seen, path: undefined, device: undefined });
        }
        if (verdict.kind === 'remembered') expect(known?.skip?.settings).toBe(now);
      }),
      { numRuns: 2_000 },
    );
    const there = fc.record({
      path: fc.constant('f'),
      sizeBytes: few,
      modifiedMs: fc.option(few, { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.option(there, { nil: undefined }), anyKnown, settings, (seen, known, now) => {
        const verdict = judgePull('f', seen, known, now);
        expect(verdict.kind === 'kept').toBe(seen === undefined);
        if (verdict.kind === 'unchanged') {
          expect(known?.baseline?.local.sizeBytes).toBe(seen?.sizeBytes);
          expect(known?.baseline?.remoteModifiedMs).toBe(seen?.modifiedMs);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
