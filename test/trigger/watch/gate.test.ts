/* The gate before a file system that may not answer: one at a time for each, in order, whatever becomes of a call. */
import { expect, it } from 'vitest';
import { throughGate } from '../../../src/trigger/watch/gate.js';

/** A call that ends when the test says so. */
function pending(): { readonly call: () => Promise<string>; readonly end: () => void; begun: boolean } {
  let end: () => void = () => undefined;
  const done = new Promise<string>((resolve) => {
    end = () => resolve('done');
  });
  const one = {
    begun: false,
    end: () => end(),
    call: () => {
      one.begun = true;
      return done;
    },
  };
  return one;
}

it('lets one in at a time, in the order of asking', async () => {
  const calls = [pending(), pending(), pending()];
  const results = calls.map(({ call }) => throughGate('/mnt/nas', call));
  for (const [place, call] of calls.entries()) {
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls.map(({ begun }) => begun)).toEqual(calls.map((_, other) => other <= place));
    call.end();
  }
  expect(await Promise.all(results)).toEqual(['done', 'done', 'done']);
});

it('holds up nobody at another gate, and nobody where there is none', async () => {
  const stuck = pending();
  const result = throughGate('/mnt/away', stuck.call);
  expect(await throughGate('/mnt/there', async () => 1)).toBe(1);
  expect(await throughGate(undefined, async () => 2)).toBe(2);
  stuck.end();
  await result;
});

it('opens again after a call that failed', async () => {
  const failed = throughGate('/mnt/nas', async () => {
    throw new Error('ESTALE');
  });
  const next = throughGate('/mnt/nas', async () => 'in');
  await expect(failed).rejects.toThrow('ESTALE');
  expect(await next).toBe('in');
});
