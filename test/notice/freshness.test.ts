import { describe, expect, it } from 'vitest';
import { GRACE_MS, Grace, judgeFreshness, RUN_GRACE_MS } from '../../src/notice/freshness.js';
import { DAY, HOUR, MINUTE, NOON } from './stage.js';

const NEVER = { provenAtMs: undefined, knownSinceMs: undefined, freshSinceMs: undefined };

describe('freshness', () => {
  it.each([
    ['a job that nobody has heard of', NEVER, 'fresh'],
    ['one that was proven just in time', { ...NEVER, provenAtMs: NOON - 26 * HOUR }, 'fresh'],
    ['one that was not', { ...NEVER, provenAtMs: NOON - 26 * HOUR - 1 }, 'overdue'],
    [
      'one that is known for long and was never proven',
      { ...NEVER, knownSinceMs: NOON - 9 * DAY },
      'overdue',
    ],
    ['one that is new', { ...NEVER, knownSinceMs: NOON - HOUR }, 'fresh'],
    [
      'one that never ran, since freshness is expected',
      { ...NEVER, freshSinceMs: NOON - 27 * HOUR },
      'overdue',
    ],
    [
      'the newest counts',
      { provenAtMs: NOON - HOUR, knownSinceMs: NOON - 9 * DAY, freshSinceMs: NOON - 5 * DAY },
      'fresh',
    ],
    ['a clock behind the proof', { ...NEVER, provenAtMs: NOON + 1 }, 'unknown'],
    ['a clock of 1970', { ...NEVER, knownSinceMs: NOON * 2 }, 'unknown'],
  ])('%s', (_what, proof, kind) => {
    expect(judgeFreshness(26 * HOUR, proof, NOON).kind).toBe(kind);
  });

  it('says when it falls due, and since when it is', () => {
    const proof = { ...NEVER, provenAtMs: NOON - HOUR };
    expect(judgeFreshness(2 * HOUR, proof, NOON)).toEqual({ kind: 'fresh', dueMs: NOON + HOUR });
    expect(judgeFreshness(MINUTE, proof, NOON)).toEqual({
      kind: 'overdue',
      dueMs: NOON - 59 * MINUTE,
      lastMs: NOON - HOUR,
    });
  });
});

describe('grace', () => {
  const at = (steadyMs: number, aheadMs = 0) => ({ wallMs: NOON + steadyMs + aheadMs, steadyMs });

  it('is granted at the start, and ends', () => {
    const grace = new Grace(at(0));
    grace.look(at(GRACE_MS - 1));
    expect(grace.covers('a')).toBe(true);
    grace.look(at(GRACE_MS));
    expect(grace.covers('a')).toBe(false);
  });

  it('is granted again by a jump ahead (sleep, or NTP), not by a slow correction or a jump back', () => {
    const grace = new Grace(at(0));
    grace.look(at(HOUR));
    expect(grace.covers('a')).toBe(false);
    grace.look(at(HOUR + MINUTE, 30_000));
    grace.look(at(HOUR + 2 * MINUTE, -DAY));
    expect(grace.covers('a')).toBe(false);
    grace.look(at(HOUR + 3 * MINUTE, 8 * HOUR));
    expect(grace.covers('a')).toBe(true);
    grace.look(at(HOUR + 3 * MINUTE + GRACE_MS, 8 * HOUR));
    expect(grace.covers('a')).toBe(false);
  });

  it('is longer for a job whose run began in it, and no longer than two hours', () => {
    const grace = new Grace(at(0));
    grace.look(at(MINUTE));
    grace.began('a');
    grace.look(at(RUN_GRACE_MS - 1));
    expect([grace.covers('a'), grace.covers('b')]).toEqual([true, false]);
    grace.look(at(RUN_GRACE_MS));
    expect(grace.covers('a')).toBe(false);
  });

  it('is over for a job whose run has begun and ended in it, and not by one that began before', () => {
    const grace = new Grace(at(0));
    grace.began('a');
    grace.look(at(HOUR, 8 * HOUR));
    expect(grace.ended('a')).toBe('not-yet');
    grace.began('a');
    expect(grace.ended('a')).toBe('had-its-chance');
    expect(grace.ended('a')).toBe('not-yet');
  });
});
