/*
 * Files that do not keep still: written, replaced and deleted while they are on their way. Under the final name there
 * is never anything but a content that the file once had as a whole.
 */
import { appendFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

const OLD = Buffer.alloc(3 * 1024 * 1024 + 7, 'old ');
const NEW = Buffer.alloc(OLD.length, 'NEW!');

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

/** Calls once, at the first command or reply that fits; returns how often it did. */
function once(event: 'command' | 'reply', verb: string, words: RegExp, act: () => void): () => number {
  let calls = 0;
  const hear = (itsVerb: string, text: string): void => {
    if (calls > 0 || itsVerb !== verb || !words.test(text)) return;
    calls += 1;
    act();
  };
  if (event === 'command') world.server.on('command', hear);
  else world.server.on('reply', (text, itsVerb) => hear(itsVerb, text));
  return () => calls;
}

describe('written over with as many bytes', () => {
  it.each([
    ['before STOR', 'command', 'STOR', /./],
    ['as the data begins', 'reply', 'STOR', /^150/],
    ['behind the last byte', 'reply', 'STOR', /^226/],
    ['when the size is asked for', 'command', 'SIZE', /./],
    ['when the name is given', 'command', 'RNTO', /./],
    ['when the name was given', 'reply', 'RNTO', /^250/],
  ] as const)(
    '%s: no mixture under the final name, and the new content in the end',
    async (_when, event, verb, words) => {
      await open();
      await world.put('f', OLD);
      const calls = once(event, verb, words, () => writeFileSync(world.local('f'), NEW));
      const watch = world.watchFinals({ f: [OLD, NEW] });
      const first = await world.run();
      expect(calls()).toBe(1);
      expect(first).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
      // What changed behind the proof is the next run's.
      await world.run();
      watch.expectWhole();
      world.expectConverged();
      expect(world.held().f?.startsWith('NEW!')).toBe(true);
    },
  );
});

it('grown, cut or replaced in the middle: sent again as it is then', async () => {
  for (const change of [
    () => appendFileSync(world.local('f'), 'more'),
    () => writeFileSync(world.local('f'), 'short'),
    () => {
      writeFileSync(world.local('other'), NEW);
      renameSync(world.local('other'), world.local('f'));
    },
  ]) {
    await open();
    await world.put('f', OLD);
    once('reply', 'STOR', /^150/, change);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.told('file.retry')).toMatchObject([{ path: 'f', code: 'CHANGED' }]);
    expect(world.stores).toBe(2);
    world.expectConverged();
    await world[Symbol.asyncDispose]();
  }
  await open();
});

it('deleted in the middle: nothing of it stays, and nothing is wrong', async () => {
  await open();
  await world.put('f', OLD);
  await world.put('g');
  once('reply', 'STOR', /^150/, () => rmSync(world.local('f')));
  const report = await world.run();
  expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
  expect(world.held()).toEqual({ g: 'g' });
  expect(world.intents()).toEqual([]);
});

it('deleted between the scan and its turn: the server is not even asked', async () => {
  await open({ settings: { connections: 1 } });
  // Enough of them before it that it is not opened yet when the connection is made.
  const before = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'];
  for (const name of before) await world.put(name, 'a');
  await world.put('b');
  once('command', 'USER', /./, () => rmSync(world.local('b')));
  expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 6, skipped: 0 } });
  expect(world.held()).toEqual(Object.fromEntries(before.map((name) => [name, 'a'])));
  expect(world.intents()).toEqual([]);
  expect(world.count('DELE')).toBe(0);
});

it('changed without end: given up for this run, not remembered, nothing half stays', async () => {
  await open();
  await world.put('f', OLD);
  let changes = 0;
  world.server.on('reply', (text, verb) => {
    if (verb !== 'STOR' || !text.startsWith('150')) return;
    changes += 1;
    writeFileSync(world.local('f'), Buffer.alloc(OLD.length, String(changes % 10)));
  });
  const report = await world.run();
  expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 0, skipped: 1 } });
  expect(world.told('file.skipped')).toMatchObject([{ code: 'CHANGED', remembered: false }]);
  expect(changes).toBe(4);
  expect(world.held()).toEqual({});
  expect(world.skips()).toEqual([]);
  expect(world.intents()).toEqual([]);
});

it('an old content that arrived whole never passes for a new one of the same size, also behind a cut', async () => {
  await open();
  await world.put('f', OLD);
  // All of the old content is on the server, then the file changes; the run is cut before the new one is sent.
  once('reply', 'STOR', /^226/, () => writeFileSync(world.local('f'), NEW));
  const cut = new AbortController();
  world.server.on('command', (verb) => {
    if (verb === 'STOR' && world.stores === 2) cut.abort();
  });
  world.server.script({ on: 'STOR', nth: 2, do: { kind: 'hang' } });
  const watch = world.watchFinals({ f: [NEW] });
  expect(await world.run({ cut: cut.signal })).toMatchObject({ outcome: 'interrupted' });
  expect(await world.run()).toMatchObject({ outcome: 'ok' });
  watch.expectWhole();
  world.expectConverged();
});

describe('settle', () => {
  const SETTLE_MS = 150;
  const intended = (): string | undefined =>
    world.ledger.bindingsOf('nightly').length === 0 ? undefined : world.intents()[0]?.temporary;

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve));
  }

  const triggers = [
    { kind: 'watch', settleMs: SETTLE_MS, rescanMs: 3_600_000, events: 'auto', pollMs: 30_000 },
  ] as const;

  it('a file that is being written is not sent until it is quiet', async () => {
    await open({ job: { triggers } });
    // Else the first run would look at the server before.
    world.settle();
    await world.put('f', 'one ');
    let lastMs = 0;
    let writes = 0;
    const write = (): void => {
      writes += 1;
      appendFileSync(world.local('f'), `write ${writes} `);
      // As a copy does that keeps the time of what it copies: only ctime tells.
      utimesSync(world.local('f'), EARLIER / 1000, EARLIER / 1000);
      lastMs = performance.now();
    };
    let firstCommandMs: number | undefined;
    world.server.on('command', () => {
      firstCommandMs ??= performance.now();
    });
    const running = world.run();
    // An intent of a new name is written once the file was seen: from then on the run waits for it to be quiet.
    for (let seen = ''; writes < 3; ) {
      await until(() => intended() !== undefined && intended() !== seen);
      seen = intended() ?? '';
      write();
    }
    const report = await running;
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
    expect(world.told('file.retry').map(({ code, delayMs }) => [code, delayMs])).toEqual([
      ['CHANGED', SETTLE_MS],
      ['CHANGED', SETTLE_MS],
      ['CHANGED', SETTLE_MS],
    ]);
    expect(world.held()).toEqual({ f: 'one write 1 write 2 write 3 ' });
    // One STOR: nothing of the earlier contents was ever sent, no connection was made for them.
    expect(world.stores).toBe(1);
    expect((firstCommandMs ?? 0) - lastMs).toBeGreaterThan(SETTLE_MS - 15);
    world.expectConverged();
  });

  it('a file that is quiet already does not wait', async () => {
    await open({
      job: {
        triggers: [{ kind: 'watch', settleMs: 60_000, rescanMs: 3_600_000, events: 'auto', pollMs: 30_000 }],
      },
    });
    await world.put('f');
    await world.put('g');
    // No call sets the ctime, so the clock is set ahead instead.
    const now = Date.now;
    Date.now = () => now() + 120_000;
    try {
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2 } });
    } finally {
      Date.now = now;
    }
  });

  it('without a watch trigger nobody waits', async () => {
    await open();
    await world.put('f');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.told('file.retry')).toEqual([]);
  });

  it('a stop does not wait for it', async () => {
    await open({
      job: {
        triggers: [{ kind: 'watch', settleMs: 60_000, rescanMs: 3_600_000, events: 'auto', pollMs: 30_000 }],
      },
    });
    world.settle();
    await world.put('f');
    const stop = new AbortController();
    const running = world.run({ stop: stop.signal });
    await until(() => intended() !== undefined);
    stop.abort();
    expect(await running).toMatchObject({ outcome: 'interrupted', tally: { uploaded: 0 } });
    expect(world.server.journal.connections).toBe(0);
  });
});
