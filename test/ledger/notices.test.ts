/* What the ledger keeps of notices: states, what is still to be told, and who is telling it. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { type NewNotice, NOTICE_READING, type NoticeState } from '../../src/ledger/notices.js';
import { emptyTally, type Outcome } from '../../src/plan/outcome.js';
import { BINDING, problemOf, temporaryDirectory } from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let ledger: Ledger;
beforeEach(() => {
  directory = temporaryDirectory();
  ledger = openLedger(join(directory.path, 'ledger.db'));
});
afterEach(() => {
  ledger.close();
  directory.remove();
});

const FAILED: NoticeState = {
  job: 'nightly',
  topic: 'run',
  state: 'failed:unreachable',
  sinceMs: 1_000,
  message: 'The server is away.',
};

const notice = (channel: string, text = channel) => ({ channel, body: JSON.stringify({ text }) });

/** Writes down a state, whatever was known. */
function put(state: NoticeState, outbox: readonly NewNotice[], atMs: number): void {
  ledger.notices.changeNotice(state.job, state.topic, () => ({ state, outbox }), atMs);
}

describe('a state', () => {
  it('is kept for each job and topic, with what is to be told of it', () => {
    expect(ledger.notices.noticeState('nightly', 'run')).toBeUndefined();
    put(FAILED, [notice('a'), notice('b')], 5_000);
    put({ ...FAILED, topic: 'freshness', state: 'fresh' }, [], 5_000);
    put({ ...FAILED, job: 'other' }, [], 5_000);
    ledger.close();
    ledger = openLedger(join(directory.path, 'ledger.db'));
    expect(ledger.notices.noticeState('nightly', 'run')).toEqual(FAILED);
    expect(ledger.notices.noticeState('nightly', 'freshness')).toMatchObject({ state: 'fresh' });
    expect(ledger.notices.noticeState('nobody', 'run')).toBeUndefined();
    expect(ledger.notices.noticeStates('run')).toEqual([FAILED, { ...FAILED, job: 'other' }]);
    expect(ledger.notices.noticeStates('configuration')).toEqual([]);
    expect(ledger.notices.waitingNotices(10)).toMatchObject([
      { ...notice('a'), job: 'nightly', atMs: 5_000, attempts: 0, nextMs: 5_000 },
      { ...notice('b'), job: 'nightly' },
    ]);
    expect(ledger.notices.waitingNotices(1)).toHaveLength(1);
    expect(ledger.notices.countNotices()).toBe(2);
  });

  it('is changed by what is known of it, or left as it is', () => {
    put(FAILED, [], 1);
    const asked: Array<NoticeState | undefined> = [];
    const outbox = [notice('a')];
    ledger.notices.changeNotice('nightly', 'run', (known) => void asked.push(known), 2);
    expect([asked, ledger.notices.noticeState('nightly', 'run')]).toEqual([[FAILED], FAILED]);
    const next = { state: 'ok', sinceMs: 2, message: '' };
    // Another process is quicker, between the first look and the change.
    const other = openLedger(ledger.file);
    let looks = 0;
    ledger.notices.changeNotice(
      'nightly',
      'run',
      (known) => {
        looks += 1;
        if (looks === 1) other.notices.changeNotice('nightly', 'run', () => ({ state: next, outbox }), 2);
        return known?.state === 'ok' ? undefined : { state: next, outbox };
      },
      2,
    );
    other.close();
    expect(looks).toBe(2);
    expect(ledger.notices.noticeState('nightly', 'run')).toMatchObject(next);
    expect(ledger.notices.countNotices()).toBe(1);
  });

  it('is not written where what is to be told of it cannot be', () => {
    put(FAILED, [], 1);
    const bad = { channel: 'a', body: 'no JSON' };
    expect(() => put({ ...FAILED, state: 'ok' }, [notice('a'), bad], 2)).toThrow();
    expect(ledger.notices.noticeState('nightly', 'run')).toEqual(FAILED);
    expect(ledger.notices.countNotices()).toBe(0);
  });

  it('is read by another process while this one writes, and is written by none of them there', () => {
    const reader = openLedger(ledger.file, { access: 'read-only' });
    put(FAILED, [notice('a')], 1);
    expect(reader.notices.noticeState('nightly', 'run')).toEqual(FAILED);
    expect(reader.notices.countNotices()).toBe(1);
    reader.close();
    expect(problemOf(() => openLedger(`${ledger.file}-none`, { access: 'read-only' })).kind).toBe('missing');
  });
});

describe('a notice', () => {
  it('is due again later where it was not taken, and gone where it was, or was given up', () => {
    const { notices } = ledger;
    put(FAILED, [notice('a'), notice('b')], 10);
    const [a, b] = notices.waitingNotices(10).map(({ id }) => id);
    notices.noticeFailed(a ?? 0, 500);
    notices.dropNotice(b ?? 0);
    expect(notices.waitingNotices(10)).toMatchObject([{ id: a, attempts: 1, nextMs: 500 }]);
    notices.dropNotice(a ?? 0);
    expect(notices.waitingNotices(10)).toEqual([]);
    // Its number is never used again, so that one that was dropped is not taken for another.
    put({ ...FAILED, state: 'ok' }, [notice('a')], 10);
    expect(notices.waitingNotices(1)[0]?.id).toBeGreaterThan(b ?? 0);
  });

  it('is given to one of two processes, and to the other one only once it looked again', () => {
    const other = openLedger(ledger.file);
    put(FAILED, [notice('a')], 10);
    const [mine] = ledger.notices.waitingNotices(1);
    const [theirs] = other.notices.waitingNotices(1);
    if (mine === undefined || theirs === undefined) throw new Error('nothing waits');
    expect(ledger.notices.claimNotice(mine, 1_000)).toBe(true);
    expect(other.notices.claimNotice(theirs, 1_000)).toBe(false);
    const [again] = other.notices.waitingNotices(1);
    if (again === undefined) throw new Error('nothing waits');
    expect(again).toMatchObject({ nextMs: 1_000, attempts: 0 });
    expect(other.notices.claimNotice(again, 2_000)).toBe(true);
    other.notices.dropNotice(again.id);
    expect(ledger.notices.claimNotice({ ...again, nextMs: 2_000 }, 3_000)).toBe(false);
    other.close();
  });

  it.each(Object.entries(NOTICE_READING))('is found through keys: %s', (_, sql) => {
    const database = new Database(ledger.file);
    const places = Array.from({ length: sql.split('?').length - 1 }, () => 1);
    const plan = database.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(...places);
    const details = plan.map(({ detail }) => detail).join('\n');
    expect(details).toMatch(/INDEX|PRIMARY KEY/);
    expect(details).not.toContain('TEMP B-TREE');
    database.close();
  });
});

describe('what is known of a job', () => {
  const end = (job: string, outcome: Outcome, atMs: number, remoteRoot = 'dumps'): number => {
    const bindingId = ledger.bind({ ...BINDING, job, remoteRoot }, atMs - 5);
    const run = ledger.startRun({ job, bindingId, trigger: 'by hand', pid: 1, startedAtMs: atMs - 5 });
    const failure = outcome === 'ok' ? undefined : ({ kind: 'failed', code: 'x', message: 'x' } as const);
    ledger.endRun(run, { outcome, tally: emptyTally(), failure, endedAtMs: atMs });
    return bindingId;
  };

  it('is when it was heard of first, and proven last, at whatever places', () => {
    expect(ledger.knownSinceMs('nightly')).toBeUndefined();
    end('nightly', 'failed', 100);
    expect(ledger.knownSinceMs('nightly')).toBe(95);
    expect(ledger.provenAtMs('nightly')).toBeUndefined();
    end('nightly', 'ok', 200);
    end('nightly', 'ok', 300, 'elsewhere');
    end('nightly', 'partial', 400, 'elsewhere');
    end('other', 'ok', 900);
    expect(ledger.provenAtMs('nightly')).toBe(300);
    // A clock that was wrong takes nothing back.
    end('nightly', 'ok', 50);
    expect(ledger.provenAtMs('nightly')).toBe(300);
    expect(ledger.knownSinceMs('nightly')).toBe(95);
  });

  it('is when a run went through to its end between two places, and not how it ended', () => {
    for (const outcome of ['failed', 'held', 'interrupted'] as const) {
      expect(ledger.settledAtMs(end('nightly', outcome, 100))).toBeUndefined();
    }
    expect(ledger.settledAtMs(end('nightly', 'partial', 200))).toBe(200);
    expect(ledger.settledAtMs(end('nightly', 'ok', 300))).toBe(200);
    expect(ledger.settledAtMs(end('nightly', 'failed', 400, 'elsewhere'))).toBeUndefined();
  });
});
