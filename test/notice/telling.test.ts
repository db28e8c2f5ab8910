import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readBody } from '../../src/notice/body.js';
import type { PastRun } from '../../src/notice/store.js';
import {
  bodyOf,
  type EndedRun,
  overdueWords,
  stateOfRun,
  type Tale,
  troubleOf,
} from '../../src/notice/telling.js';
import { emptyTally, type RunFailure } from '../../src/plan/outcome.js';
import { DAY, HOUR, NOON, TRUST, UNREACHABLE } from './stage.js';

function run(outcome: EndedRun['outcome'], more: Partial<EndedRun> = {}): EndedRun {
  return { run: 7, outcome, tally: emptyTally(), durationMs: 1_500.4, failure: undefined, ...more };
}

const MISMATCH: RunFailure = {
  kind: 'verification',
  code: 'mismatch',
  message: '1 file did not arrive whole',
};
const LOCKED: RunFailure = { kind: 'locked', code: 'locked', message: 'Another run' };

describe('a run', () => {
  it.each([
    ['ok', run('ok'), 'ok'],
    ['partial', run('partial'), 'partial'],
    ['held', run('held', { failure: { kind: 'held', code: 'source-empty', message: 'Held' } }), 'held'],
    ['failed', run('failed', { failure: UNREACHABLE }), 'failed:unreachable'],
    ['a server that lies', run('partial', { failure: MISMATCH }), 'failed:verification'],
    ['interrupted', run('interrupted'), undefined],
    ['locked', run('failed', { run: undefined, failure: LOCKED }), undefined],
  ])('%s', (_what, ended, state) => {
    expect(stateOfRun(ended)).toBe(state);
  });

  it('says what was wrong with it', () => {
    expect(troubleOf('a', run('ok'))).toBe('');
    expect(troubleOf('a', run('failed', { failure: TRUST }))).toBe(TRUST.message);
    expect(troubleOf('a', run('partial', { tally: { ...emptyTally(), skipped: 1 } }))).toBe(
      '1 file was skipped; ferryd status a says which, and why.',
    );
  });
});

describe('overdue', () => {
  const proven = { freshnessMs: 26 * HOUR, lastMs: NOON - 3 * DAY, provenAtMs: NOON - 3 * DAY, nowMs: NOON };
  const failed = (id: number, ageMs: number): PastRun => ({
    id,
    state: 'ended',
    startedAtMs: NOON - ageMs,
    endedAtMs: NOON - ageMs + 60_000,
    outcome: 'failed',
    failure: UNREACHABLE,
  });

  it('says since when, and why the runs since then proved nothing', () => {
    const ok: PastRun = {
      ...failed(1, 4 * DAY),
      state: 'ended',
      endedAtMs: NOON,
      outcome: 'ok',
      failure: undefined,
    };
    const held: PastRun = { ...ok, id: 3, startedAtMs: NOON - DAY, outcome: 'held' };
    expect(overdueWords(proven, [failed(4, HOUR), held, failed(2, 2 * DAY), ok])).toBe(
      'No run has ended ok since 2026-11-20 12:00 UTC, for 3 d; one is expected every 1 d 2 h. The newest runs since then: 2 failed, 1 held. The last ended at 2026-11-23 11:01 UTC: failed. nas refuses connections. Tried 5 times; the next run tries again.',
    );
  });

  it('says that nothing was run, or that a run is under way', () => {
    expect(overdueWords(proven, [failed(1, 4 * DAY)])).toContain('No run was begun since then');
    const running: PastRun = { id: 9, state: 'running', startedAtMs: NOON - HOUR };
    expect(overdueWords(proven, [running])).toContain('Since then none has ended. One is under way.');
    expect(overdueWords(proven, [running, failed(8, DAY)])).toMatch(/1 failed\..* One is under way\.$/);
  });

  it('says that no run ever ended ok', () => {
    expect(overdueWords({ ...proven, provenAtMs: undefined }, [])).toMatch(
      /^No run has ever ended ok, and the job is known since 2026-11-20 12:00 UTC, for 3 d;/,
    );
  });
});

describe('the body', () => {
  const standing = {
    state: 'failed:unreachable',
    sinceMs: NOON,
    message: UNREACHABLE.message,
    told: [],
    warned: [],
  } as const;
  const tale: Tale = {
    id: '6a1d',
    job: 'nightly',
    host: 'box',
    nowMs: NOON,
    aspect: 'run',
    finding: { state: 'failed:unreachable', message: UNREACHABLE.message, atMs: NOON },
    turn: { standing, topic: 'failure', to: [], was: undefined },
    run: run('failed', { failure: UNREACHABLE, tally: { ...emptyTally(), uploaded: 3, bytes: 2048 } }),
    freshness: undefined,
  };

  it('of a failure', () => {
    expect(bodyOf(tale)).toEqual({
      version: 1,
      id: '6a1d',
      notice: 'failure',
      job: 'nightly',
      host: 'box',
      at: '2026-11-23T12:00:00.000Z',
      message: `nightly: failed, 3 uploaded, 2.0 KiB, in 1.5 s. ${UNREACHABLE.message}`,
      about: 'run',
      state: 'failed:unreachable',
      since: '2026-11-23T12:00:00.000Z',
      was: null,
      run: {
        number: 7,
        outcome: 'failed',
        durationMs: 1500,
        uploaded: 3,
        downloaded: 0,
        deleted: 0,
        renamed: 0,
        skipped: 0,
        unchanged: 0,
        bytes: 2048,
        failure: UNREACHABLE,
      },
      freshness: null,
    });
  });

  it('is the one that the reference shows', () => {
    const reference = readFileSync(join(import.meta.dirname, '../../jobs/README.md'), 'utf8');
    const [, shown = ''] = /### Webhooks\n.*?```json\n(.*?)```/s.exec(reference) ?? [];
    const { id, job }: { id: string; job: string } = JSON.parse(shown);
    expect(`${JSON.stringify(bodyOf({ ...tale, id, job }), undefined, 2)}\n`).toBe(shown);
  });

  it('of a recovery', () => {
    const was = { ...standing, sinceMs: NOON - 4 * HOUR };
    const well = { ...standing, state: 'ok', message: '' } as const;
    const turn = { standing: well, topic: 'recovery', to: [], was } as const;
    expect(bodyOf({ ...tale, turn, run: run('ok') })).toMatchObject({
      notice: 'recovery',
      message: `nightly: well again, a run has ended ok, after 4 h. What was wrong: ${UNREACHABLE.message}`,
      state: 'ok',
      was: { state: 'failed:unreachable', since: '2026-11-23T08:00:00.000Z', durationMs: 4 * HOUR },
      run: { outcome: 'ok', failure: null },
    });
  });

  it('of a run that could not begin, and of the agent itself', () => {
    const finding = { state: 'broken', message: 'servers.yaml:3:1: what is this?', atMs: NOON } as const;
    expect(bodyOf({ ...tale, run: run('failed', { run: undefined, failure: UNREACHABLE }) })).toMatchObject({
      message: `nightly: no run could begin. ${UNREACHABLE.message}`,
      run: null,
    });
    expect(bodyOf({ ...tale, job: '', aspect: 'configuration', finding, run: undefined })).toMatchObject({
      job: null,
      message: 'ferryd: its own files cannot be read as they are. servers.yaml:3:1: what is this?',
    });
  });

  it('is bounded and printable whatever it is made of, and read back as it was', () => {
    const message = `${'x'.repeat(9_000)}\u001b[31m`;
    const failure = { ...UNREACHABLE, message, code: '\u0000' };
    const body = bodyOf({
      ...tale,
      job: 'a\nb',
      host: '\u202ebox',
      nowMs: Number.NaN,
      finding: { ...tale.finding, message },
      run: run('failed', { failure }),
    });
    const text = JSON.stringify(body);
    expect(text.length).toBeLessThan(6_000);
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]|\\u00/u);
    expect(readBody(text)).toEqual(body);
  });

  it('of another version is not read', () => {
    const text = JSON.stringify({ ...bodyOf(tale), version: 2 });
    expect([readBody(text), readBody('7'), readBody('{}')]).toEqual([undefined, undefined, undefined]);
  });
});
