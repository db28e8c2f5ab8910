/*
 * Lanes: how many packets a file costs, and that no file is lost or mixed up with another where a packet goes wrong.
 * One connection, so that the order of what is sent is known.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { serverLike } from '../support/ftp-server/settings.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const names = Array.from({ length: 12 }, (_, i) => `file-${String(i).padStart(2, '0')}`);

/** Each file has another size, so that a mixed-up proof shows. */
const contentOf = (name: string): string => name.repeat(3 + names.indexOf(name));

const open = (options: FtpBerthOptions = {}): Promise<FtpBerth> =>
  FtpBerth.open({ ...options, account: { connections: 1, ...options.account } });

/** Delivers all at once. @returns the names of those that failed, with what it was */
async function deliverAll(berth: FtpBerth, which: readonly string[]): Promise<Map<string, unknown>> {
  const failed = new Map<string, unknown>();
  await Promise.all(
    which.map((name) =>
      berth.remote.deliver(deliveryOf(name, sourceOf(contentOf(name)))).catch((error: unknown) => {
        failed.set(name, error);
      }),
    ),
  );
  return failed;
}

async function expectWhole(berth: FtpBerth, which: readonly string[]): Promise<void> {
  for (const name of which) {
    expect(await readFile(join(berth.disk, name), 'utf8'), name).toBe(contentOf(name));
  }
}

describe('packets', () => {
  test('the last steps of two files, a STOR and the question for the next port travel together', async () => {
    await using berth = await open();
    expect(await deliverAll(berth, names)).toEqual(new Map());
    await expectWhole(berth, names);
    const { commands, dataConnections, listings } = berth.server.journal;
    const packets = new Map<number, string[]>();
    for (const { packet, verb } of commands) packets.set(packet, [...(packets.get(packet) ?? []), verb]);
    const full = [...packets.values()].filter((verbs) => verbs.includes('STOR') && verbs.includes('RNTO'));
    expect(full).toHaveLength(names.length - 2);
    for (const verbs of full) expect(verbs).toEqual(['RNFR', 'RNTO', 'SIZE', 'MFMT', 'STOR', 'EPSV']);
    expect(dataConnections).toBe(names.length);
    expect(listings).toBe(0);
    expect(berth.learned).toEqual([]);
  });

  test('over four connections: as few commands, packets and data connections, and a directory is made once', async () => {
    await using berth = await open({ account: { connections: 4 } });
    const paths = Array.from({ length: 80 }, (_, i) => `${i % 2}/${i}`);
    await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path.repeat(20))))));
    expect(await filesBelow(berth.disk)).toHaveLength(paths.length);
    const { commands, dataConnections } = berth.server.journal;
    const counts = (verb: string): number => commands.filter((command) => command.verb === verb).length;
    const packets = new Set(commands.map(({ packet, connection }) => `${connection} ${packet}`));
    // Six commands a file; what is more are logins, the first file of each lane, and STORs before the directory was there.
    expect(commands.length).toBeLessThan(6 * paths.length + 4 * 40);
    expect(packets.size).toBeLessThan(paths.length + 4 * 20);
    expect(dataConnections).toBeLessThanOrEqual(paths.length + 2 * 4);
    expect([counts('SIZE'), counts('MFMT'), counts('RNTO')]).toEqual([80, 80, 80]);
    expect(counts('MKD')).toBeLessThanOrEqual(2 * 4);
    // Nobody's queue is bound to one connection.
    const stored = [1, 2, 3, 4].map(
      (connection) =>
        commands.filter((command) => command.verb === 'STOR' && command.connection === connection).length,
    );
    expect(Math.min(...stored)).toBeGreaterThan(5);
  });

  test('beside a directory that was missing the next ones are made in the packet of their first file', async () => {
    await using berth = await open();
    const paths = Array.from({ length: 12 }, (_, i) => `${Math.floor(i / 3)}/${i}`);
    await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path)))));
    expect(await filesBelow(berth.disk)).toHaveLength(paths.length);
    const { journal } = berth.server;
    const packetOf = (packet: number): string[] =>
      journal.commands.filter((command) => command.packet === packet).map(({ verb }) => verb);
    const [first, ...others] = journal.of('MKD').map(({ packet }) => packetOf(packet));
    expect(first).toEqual(['MKD']);
    const full = ['RNFR', 'RNTO', 'SIZE', 'MFMT', 'MKD', 'STOR', 'EPSV'];
    expect(others).toEqual([full, full, full]);
    // One STOR is refused, before anything is known.
    expect(journal.of('STOR')).toHaveLength(paths.length + 1);
    expect(journal.of('EPSV').filter(({ packet }) => packetOf(packet).length === 1)).toHaveLength(2);
  });

  test('a directory that stands already beside one that was missing is no failure, and asked for once', async () => {
    await using berth = await open();
    for (const directory of ['b', 'c']) await mkdir(join(berth.disk, directory));
    const paths = ['a/1', 'b/1', 'b/2', 'c/1', 'c/2'];
    for (const path of paths) await berth.remote.deliver(deliveryOf(path, sourceOf(path)));
    expect(await filesBelow(berth.disk)).toEqual(paths);
    expect(berth.server.journal.of('MKD')).toHaveLength(3);
    expect(berth.server.journal.of('STOR')).toHaveLength(paths.length + 1);
  });

  test('whether something stands under the final name is asked in the packet that proves', async () => {
    await using berth = await open();
    const deliver = (name: string) =>
      berth.remote.deliver({ ...deliveryOf(name, sourceOf(contentOf(name))), aside: `trash/${name}` });
    await Promise.all(names.map(deliver));
    const { journal } = berth.server;
    const packets = new Map<number, string[]>();
    for (const { packet, verb } of journal.commands)
      packets.set(packet, [...(packets.get(packet) ?? []), verb]);
    const full = [...packets.values()].filter((verbs) => verbs.includes('STOR') && verbs.includes('RNTO'));
    expect(full).toHaveLength(names.length - 2);
    for (const verbs of full) expect(verbs).toEqual(['RNFR', 'RNTO', 'SIZE', 'MFMT', 'SIZE', 'STOR', 'EPSV']);
    expect(journal.verbs()).not.toContain('MLST');
    expect(await filesBelow(berth.disk)).toEqual(names);
    // A file that stands there takes commands of its own, and the others wait for nothing but these.
    await Promise.all(names.map(deliver));
    await expectWhole(berth, names);
    expect(await filesBelow(berth.disk)).toEqual([...names, ...names.map((name) => `trash/${name}`)]);
    expect(journal.of('MKD')).toHaveLength(1);
    expect(berth.learned).toEqual([]);
  });

  test('a rename is never in a packet before the one that proves its size', async () => {
    await using berth = await open();
    await deliverAll(berth, names);
    const { journal } = berth.server;
    for (const { argument, packet } of journal.of('RNFR')) {
      const proof = journal.of('SIZE').find((size) => size.argument === argument);
      expect(proof?.packet).toBeLessThan(packet);
    }
  });

  test('a large file does not keep those before it from their final names', async () => {
    await using berth = await open();
    const large = Buffer.alloc(3_000_000, 'large ');
    await Promise.all([
      ...names.slice(0, 3).map((name) => berth.remote.deliver(deliveryOf(name, sourceOf(contentOf(name))))),
      berth.remote.deliver(deliveryOf('large', sourceOf(large))),
    ]);
    const { journal } = berth.server;
    const begun = journal.of('STOR').at(-1)?.order ?? 0;
    const published = journal.of('RNTO').filter(({ order }) => order < begun);
    expect(published).toHaveLength(3);
    expect(await readFile(join(berth.disk, 'large'))).toEqual(large);
  });

  test('long names leave no room behind STOR: the port is asked for by itself', async () => {
    await using berth = await open();
    const long = ['a', 'b', 'c', 'd'].map((letter) => `${letter.repeat(200)}/${letter.repeat(250)}`);
    for (const path of long) await berth.remote.deliver(deliveryOf(path, sourceOf('x')));
    await Promise.all(long.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf('y')))));
    for (const path of long) expect(await readFile(join(berth.disk, path), 'utf8')).toBe('y');
    const { journal } = berth.server;
    for (const { packet } of journal.of('EPSV')) {
      const bytes = journal.commands
        .filter((command) => command.packet === packet)
        .reduce((sum, { argument }) => sum + argument.length, 0);
      expect(bytes).toBeLessThan(1_300);
    }
  });
});

describe('a server that stumbles over a command behind STOR', () => {
  test.each(['plain', 'explicit'] as const)(
    '%s: is found out once, and no file hears of it',
    async (security) => {
      await using berth = await open({ server: { ...serverLike('pyftpdlib'), security } });
      expect(await deliverAll(berth, names)).toEqual(new Map());
      await expectWhole(berth, names);
      expect(berth.learned.filter((sentence) => sentence.includes('stumbles'))).toHaveLength(1);
      const { commands } = berth.server.journal;
      const behind = commands.filter(
        ({ verb, packet }) =>
          verb === 'EPSV' && commands.some((other) => other.packet === packet && other.verb === 'STOR'),
      );
      expect(behind).toHaveLength(1);
    },
  );
});

describe('a packet that goes wrong', () => {
  const faults: Readonly<Record<string, Fault>> = {
    'the connection is reset': { kind: 'reset' },
    'the connection is closed': { kind: 'close' },
    'the reply is lost with the connection': { kind: 'reset', at: 'final' },
    'a reply too many': { kind: 'prepend', bytes: '250 And another thing.\r\n' },
    'refused for now': { kind: 'reply', text: '450 Not now.' },
    'refused for good': { kind: 'reply', text: '553 No.' },
    'the server goes': { kind: 'reply', text: '421 Going down.' },
  };
  const verbs = ['RNFR', 'RNTO', 'SIZE', 'MFMT', 'STOR', 'EPSV'];

  test.each(verbs.flatMap((verb) => Object.keys(faults).map((fault) => [verb, fault] as const)))(
    '%s: %s. Every file ends, none under another name or in part, and a second try brings the rest',
    async (verb, name) => {
      await using berth = await open();
      const fault = faults[name];
      if (fault === undefined) throw new Error(`no fault ${name}`);
      berth.server.script({ on: verb, nth: 4, do: fault });
      const failed = await deliverAll(berth, names);
      for (const error of failed.values())
        expect(judge(error).decision).toMatch(/retry|reconnect|skip|fallback/);
      // What was told to be delivered is; what was not may have arrived all the same, but never in part.
      const there = (await filesBelow(berth.disk)).filter((path) => names.includes(path));
      await expectWhole(berth, there);
      expect(there).toEqual(expect.arrayContaining(names.filter((file) => !failed.has(file))));
      expect(await deliverAll(berth, [...failed.keys()])).toEqual(new Map());
      await expectWhole(berth, names);
    },
  );

  test('a goodbye in the packet of a proof, with the question for the next port behind it: nobody waits for ever', async () => {
    await using berth = await open({ server: { features: { EPSV: false } } });
    // The replies come at once, so whoever asked for the port hears of the end before the file that is being proven.
    for (const on of ['MDTM', 'SIZE']) berth.server.script({ on, nth: 1, do: { kind: 'holdBack' } });
    berth.server.script({ on: 'MFMT', nth: 1, do: { kind: 'reply', text: '421 Going down.', at: 'final' } });
    const failed = await deliverAll(berth, names);
    for (const error of failed.values()) expect(judge(error).decision).toMatch(/retry|reconnect/);
    expect(failed.size).toBeGreaterThan(0);
    expect(await deliverAll(berth, [...failed.keys()])).toEqual(new Map());
    await expectWhole(berth, names);
  });

  test('a size that is not the sent one fails its own file and no other', async () => {
    await using berth = await open();
    berth.server.script({ on: 'SIZE', nth: 5, do: { kind: 'wrongSize', addBytes: 1 } });
    const failed = await deliverAll(berth, names);
    expect([...failed.values()].map((error) => judge(error).code)).toEqual(['mismatch']);
    await expectWhole(
      berth,
      names.filter((name) => !failed.has(name)),
    );
    const there = await filesBelow(berth.disk);
    for (const name of failed.keys()) expect(there).not.toContain(name);
  });
});

test('deliveries that were not begun are not begun after a stop', async () => {
  await using berth = await open();
  const stop = new AbortController();
  berth.server.on('command', (verb) => {
    if (verb === 'STOR') stop.abort(new Error('stopped'));
  });
  const ends = await Promise.allSettled(
    names.map((name) =>
      berth.remote.deliver(deliveryOf(name, sourceOf(contentOf(name))), { stop: stop.signal }),
    ),
  );
  expect(ends.map(({ status }) => status)).toEqual(names.map((_, i) => (i === 0 ? 'fulfilled' : 'rejected')));
  expect(await filesBelow(berth.disk)).toEqual([names[0]]);
});
