import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Claim, Window } from '../../src/sftp/window.js';

describe('a window', () => {
  test('never gives more than its limit, and serves everybody in turn', async () => {
    const step = fc.record({
      what: fc.constantFrom('claim', 'claim', 'done', 'withdraw'),
      bytes: fc.integer({ min: 1, max: 300_000 }),
      delayMs: fc.nat({ max: 6_000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const window = new Window();
        const held: { bytes: number; withdraw: () => void }[] = [];
        const queued: { bytes: number; claim: Claim }[] = [];
        for (const { what, bytes, delayMs } of steps) {
          if (what === 'claim') {
            const claim = window.claim(bytes);
            if (claim.granted === undefined) held.push({ bytes, withdraw: claim.withdraw });
            else {
              const waiting = { bytes, claim };
              queued.push(waiting);
              void claim.granted.then(() => {
                // Whoever came first is served first.
                if (queued.includes(waiting)) expect(queued.shift()).toBe(waiting);
                held.push({ bytes, withdraw: claim.withdraw });
              });
            }
          } else if (what === 'done') {
            const one = held.shift();
            if (one !== undefined) {
              window.heard(one.bytes, delayMs);
              one.withdraw();
            }
          } else queued.pop()?.claim.withdraw();
          await Promise.resolve();
          await Promise.resolve();
          const used = held.reduce((sum, one) => sum + one.bytes, 0);
          expect(window.usedBytes).toBe(used);
          // A piece that is larger than the window goes alone; one that shrinks waits for what is under way.
          if (what === 'claim' && held.length > 1) expect(used).toBeLessThanOrEqual(8 * 1024 * 1024);
          expect(window.limitBytes).toBeGreaterThanOrEqual(64 * 1024);
          expect(window.limitBytes).toBeLessThanOrEqual(8 * 1024 * 1024);
        }
        while (held.length > 0) {
          held.shift()?.withdraw();
          await Promise.resolve();
          await Promise.resolve();
        }
        expect(window.usedBytes).toBe(0);
      }),
    );
  });

  /** A link that carries so many bytes a second, with one transfer on it that always has more. */
  function steady(bytesPerSecond: number, ownDelayMs: number): Window {
    const window = new Window();
    let nowMs = 0;
    let freeMs = 0;
    const underWay: { bytes: number; sentMs: number; doneMs: number }[] = [];
    let pending: { claim: Claim; bytes: number } | undefined;
    const send = (bytes: number): void => {
      freeMs = Math.max(nowMs, freeMs) + (bytes / bytesPerSecond) * 1000;
      underWay.push({ bytes, sentMs: nowMs, doneMs: freeMs + ownDelayMs });
    };
    for (let answers = 0; answers < 2_000; answers += 1) {
      while (pending === undefined) {
        const bytes = window.pieceBytes(255 * 1024);
        const claim = window.claim(bytes);
        if (claim.granted === undefined) send(bytes);
        else pending = { claim, bytes };
      }
      const one = underWay.shift();
      if (one === undefined) throw new Error('nothing is under way');
      nowMs = one.doneMs;
      const before = window.usedBytes;
      window.heard(one.bytes, nowMs - one.sentMs);
      window.release(one.bytes);
      // The one that waits is served as soon as there is room for it.
      if (window.usedBytes > before - one.bytes) {
        send(pending.bytes);
        pending = undefined;
      }
    }
    return window;
  }

  test('opens on a fast link', () => {
    expect(steady(50_000_000, 40).limitBytes).toBe(8 * 1024 * 1024);
  });

  test('does not queue for more than a few seconds on a slow one', () => {
    expect(steady(100_000, 40).limitBytes).toBeLessThanOrEqual(400_000);
    const slow = steady(10_000, 40);
    expect(slow.limitBytes).toBe(64 * 1024);
    expect(slow.pieceBytes(255 * 1024)).toBe(32 * 1024);
  });

  test('is not closed by a link that is far', () => {
    expect(steady(50_000_000, 700).limitBytes).toBe(8 * 1024 * 1024);
  });
});
