/*
 * A process that is killed (SIGKILL) at every point of an upload and of a download. Whatever it left, the next run
 * converges: right bytes, no temporary names, nothing sent again that the server held whole, and at no moment half a
 * file under a final name.
 */
import { mkdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Child } from '../ledger/child.js';
import type { Rule } from '../support/ftp-server/fault.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { compileSource, startRun } from './support/child.js';
import { type VoyageOptions, World } from './support/voyage.js';

let compiled: TemporaryDirectory;
beforeAll(async () => {
  compiled = await temporaryDirectory('compiled');
  compileSource(compiled.path);
});
afterAll(() => compiled.remove());

let world: World;
let child: Child | undefined;
beforeEach(() => {
  child = undefined;
});
afterEach(async () => {
  await child?.end();
  await world[Symbol.asyncDispose]();
});

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

interface Moment {
  /** What the server hears, or is about to say. */
  readonly at: 'command' | 'reply';
  readonly verb: string;
  /** The how-manieth; the first unless told. */
  readonly nth?: number;
  /** Holds against the reply. */
  readonly words?: RegExp;
}

/** Starts a run and kills it in that moment; resolves when the process is gone and the server has noticed. */
async function killAt(moment: Moment, server: 'goes on' | 'stalls' = 'goes on'): Promise<void> {
  const { nth = 1, words = /./ } = moment;
  let met = 0;
  let killed: Promise<void> | undefined;
  const meet = (verb: string): void => {
    if (verb !== moment.verb) return;
    met += 1;
    if (met === nth) killed = child?.end();
  };
  const quiet =
    moment.at === 'command'
      ? world.server.on('command', (verb) => meet(verb))
      : world.server.on('reply', (text, verb) => words.test(text) && meet(verb));
  child = startRun(compiled.path, world);
  const code = await child.ended();
  quiet();
  // A server that stalls has to be told that its client is gone.
  if (server === 'stalls') world.server.drop('reset');
  expect(met).toBeGreaterThanOrEqual(nth);
  // Killed, not ended by itself.
  expect(code).toBeNull();
  await killed;
  await world.server.until((journal) => journal.open === 0);
}

/** Kills a run whose transfer the server holds up. */
async function killStalled(): Promise<void> {
  await child?.end();
  world.server.drop('reset');
  await world.server.until((journal) => journal.open === 0);
}

const CONTENT = Buffer.alloc(900_000, 'all of it ').toString();

describe('an upload', () => {
  it.each<[string, Moment, readonly [number, number]]>([
    ['at STOR', { at: 'command', verb: 'STOR' }, [1, 2]],
    ['before the 150', { at: 'reply', verb: 'STOR', words: /^150/ }, [1, 2]],
    ['before the 226', { at: 'reply', verb: 'STOR', words: /^226/ }, [1, 1]],
    ['at SIZE', { at: 'command', verb: 'SIZE' }, [1, 1]],
    ['before the answer to SIZE', { at: 'reply', verb: 'SIZE' }, [1, 1]],
    ['at MFMT', { at: 'command', verb: 'MFMT' }, [1, 1]],
    ['before the answer to MFMT', { at: 'reply', verb: 'MFMT' }, [1, 1]],
    ['at RNFR', { at: 'command', verb: 'RNFR' }, [1, 1]],
    ['at RNTO', { at: 'command', verb: 'RNTO' }, [1, 1]],
    ['before the answer to RNTO', { at: 'reply', verb: 'RNTO' }, [1, 1]],
  ])('killed %s', async (_when, moment, [least, most]) => {
    await open();
    await world.put('d/f', CONTENT);
    await mkdir(world.remote('d'));
    const watch = world.watchFinals({ 'd/f': [CONTENT] });
    await killAt(moment);
    expect(world.intents()).toMatchObject([{ path: 'd/f' }]);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    expect(world.stores).toBeGreaterThanOrEqual(least);
    expect(world.stores).toBeLessThanOrEqual(most);
    world.expectConverged();
    watch.expectWhole();
    expect(world.ledger.lastRuns('nightly', 2)).toMatchObject([
      { outcome: 'ok' },
      { outcome: 'interrupted', failure: { code: 'process-ended' } },
    ]);
    const { connections } = world.server.journal;
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
    expect(world.server.journal.connections).toBe(connections);
  });

  it.each([0, 1, 450_000, 899_999])('killed with %i bytes on the server', async (atByte) => {
    await open();
    await world.put('f', CONTENT);
    world.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte } });
    const watch = world.watchFinals({ f: [CONTENT] });
    child = startRun(compiled.path, world);
    await world.server.until((journal) => journal.dataConnections > 0 && journal.receivedBytes >= atByte);
    await world.server.waitFor('STOR');
    await killStalled();
    expect(world.temporaries()).toHaveLength(1);
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.stores).toBe(2);
    world.expectConverged();
    watch.expectWhole();
  });

  it('killed over TLS', async () => {
    await open({ server: { security: 'explicit' } });
    await world.put('f', CONTENT);
    const watch = world.watchFinals({ f: [CONTENT] });
    world.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 300_000 } });
    child = startRun(compiled.path, world);
    await world.server.until((journal) => journal.receivedBytes >= 300_000);
    await killStalled();
    await killAt({ at: 'command', verb: 'RNTO' });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.stores).toBe(2);
    world.expectConverged();
    watch.expectWhole();
  });

  it('killed as soon as it is told that a file arrived', async () => {
    await open({ settings: { connections: 1 } });
    for (let i = 0; i < 5; i += 1) await world.put(`f${i}`);
    child = startRun(compiled.path, world);
    while ((await child.line()) !== 'uploaded f2');
    await child.end();
    await world.server.until((journal) => journal.open === 0);
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    world.expectConverged();
    expect(world.stores).toBeLessThanOrEqual(6);
  });

  it('killed when the old file is removed for a server that does not rename onto it', async () => {
    await open({ server: { renameOverwrites: false } });
    await world.put('f', 'first');
    await world.run();
    await world.put('f', 'second', Date.UTC(2023, 0, 1));
    const watch = world.watchFinals({ f: ['first', 'second'] });
    await killAt({ at: 'reply', verb: 'DELE', words: /^250/ });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.held()).toEqual({ f: 'second' });
    expect(world.stores).toBe(2);
    world.expectConverged();
    watch.expectWhole();
  });

  it('killed again and again while it recovers', async () => {
    await open();
    await world.put('f', CONTENT);
    const watch = world.watchFinals({ f: [CONTENT] });
    await killAt({ at: 'command', verb: 'SIZE' });
    await killAt({ at: 'reply', verb: 'SIZE' });
    await killAt({ at: 'command', verb: 'MDTM' });
    await killAt({ at: 'command', verb: 'MFMT' });
    await killAt({ at: 'reply', verb: 'RNTO' });
    // Published by now: the temporary name is asked for first, then the final one.
    await killAt({ at: 'reply', verb: 'SIZE', nth: 2 });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 1 } });
    expect(world.stores).toBe(1);
    world.expectConverged();
    watch.expectWhole();
    expect(world.ledger.lastRuns('nightly', 20).map((run) => 'outcome' in run && run.outcome)).toEqual([
      'ok',
      ...Array.from({ length: 6 }, () => 'interrupted'),
    ]);
  });

  it('killed, and the file is another when the next run comes', async () => {
    await open();
    await world.put('f', CONTENT);
    await killAt({ at: 'reply', verb: 'STOR', words: /^226/ });
    const other = CONTENT.replaceAll('a', 'b');
    await world.put('f', other, Date.UTC(2023, 0, 1));
    const watch = world.watchFinals({ f: [other] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    world.expectConverged();
    watch.expectWhole();
  });
});

describe('many files on four connections', () => {
  it.each<[Moment, Rule | undefined]>([
    [{ at: 'command', verb: 'STOR', nth: 7 }, undefined],
    [{ at: 'reply', verb: 'STOR', nth: 30, words: /^226/ }, undefined],
    [{ at: 'command', verb: 'RNTO', nth: 13 }, undefined],
    [{ at: 'reply', verb: 'RNTO', nth: 40 }, undefined],
    [{ at: 'command', verb: 'MKD', nth: 2 }, undefined],
    [
      { at: 'command', verb: 'STOR', nth: 20 },
      { on: 'STOR', nth: 17, times: 3, do: { kind: 'dataStall', atByte: 5 } },
    ],
  ])('killed at %j', async (moment, rule) => {
    await open();
    const contents: Record<string, string[]> = {};
    for (let i = 0; i < 60; i += 1) {
      const path = `d${i % 3}/f${i}`;
      contents[path] = [path.repeat(50)];
      await world.put(path, path.repeat(50));
    }
    if (rule !== undefined) world.server.script(rule);
    const watch = world.watchFinals(contents);
    await killAt(moment, rule === undefined ? 'goes on' : 'stalls');
    world.server.behave();
    const before = world.stores;
    const published = Object.keys(world.held()).filter((path) => path in contents).length;
    const whole = Object.entries(world.held()).filter(([, content]) =>
      Object.values(contents).some(([wanted]) => wanted === content),
    ).length;
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    expect(report.tally.uploaded + report.tally.unchanged).toBe(60);
    world.expectConverged();
    watch.expectWhole();
    // Whatever the server held whole, published or not, is not sent again.
    expect(whole).toBeGreaterThanOrEqual(published);
    const since = world.server.journal.of('STOR').slice(before);
    // A STOR that missed its directory is no sending.
    const sent = since.filter(({ replies }) => replies[0]?.startsWith('150'));
    expect(sent).toHaveLength(60 - whole);
  });
});

describe('a download', () => {
  it.each([0, 1, 450_000, 899_999])('killed with %i bytes here', async (atByte) => {
    await open({ job: { direction: 'pull' } });
    await world.putRemote('d/f', CONTENT);
    world.server.script({ on: 'RETR', do: { kind: 'dataStall', atByte } });
    child = startRun(compiled.path, world);
    await world.server.until((journal) => journal.of('RETR').length > 0 && journal.sentBytes >= atByte);
    await killStalled();
    expect(world.here()).not.toHaveProperty('d/f');
    expect(world.temporaries()).toHaveLength(1);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    world.expectConverged();
  });

  it('killed before the 226', async () => {
    await open({ job: { direction: 'pull' } });
    await world.putRemote('f', CONTENT);
    await killAt({ at: 'reply', verb: 'RETR', words: /^226/ });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    world.expectConverged();
  });
});
