/*
 * Permissions on their way: where SITE CHMOD stands among the packets of a lane, what a refusal leads to, and that
 * no file is lost where the connection breaks there. One connection, so that the order of what is sent is known.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const names = Array.from({ length: 8 }, (_, i) => `file-${i}`);
const modes = [0o600, 0o640, 0o444, 0o755, 0o711, 0o660, 0o604, 0o700];
const modeOf = (name: string): number => modes[names.indexOf(name)] ?? 0o644;

const open = (options: FtpBerthOptions = {}): Promise<FtpBerth> =>
  FtpBerth.open({ ...options, account: { connections: 1, ...options.account } });

/** Delivers all at once. @returns the names of those that failed, with what it was */
async function deliverAll(berth: FtpBerth, which: readonly string[] = names): Promise<Map<string, unknown>> {
  const failed = new Map<string, unknown>();
  await Promise.all(
    which.map((name) =>
      berth.remote
        .deliver({ ...deliveryOf(name, sourceOf(name)), permissions: modeOf(name) })
        .catch((error: unknown) => failed.set(name, error)),
    ),
  );
  return failed;
}

async function modesOf(berth: FtpBerth, which: readonly string[]): Promise<number[]> {
  return Promise.all(which.map(async (name) => (await stat(join(berth.disk, name))).mode & 0o7777));
}

/** The packets of the connection, each a list of what its commands are. */
function packetsOf(berth: FtpBerth): string[][] {
  const packets = new Map<number, string[]>();
  for (const { packet, verb } of berth.server.journal.commands)
    packets.set(packet, [...(packets.get(packet) ?? []), verb]);
  return [...packets.values()];
}

describe('a server that sets permissions', () => {
  test('is asked on the temporary name, with the proof, and before the rename', async () => {
    await using berth = await open();
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await modesOf(berth, names)).toEqual(modes);
    const { journal } = berth.server;
    const asked = journal.of('SITE').map(({ argument }) => argument);
    expect(asked.map((argument) => argument.split(' ').slice(0, 2).join(' '))).toEqual(
      modes.map((mode) => `CHMOD ${mode.toString(8)}`),
    );
    for (const { argument, order } of journal.of('SITE')) {
      const path = argument.split(' ').slice(2).join(' ');
      const proof = journal.of('SIZE').find((size) => size.argument === path);
      const rename = journal.of('RNFR').find((from) => from.argument === path);
      expect(proof?.order).toBeLessThan(order);
      expect(order).toBeLessThan(rename?.order ?? 0);
    }
    expect(berth.learned).toEqual([]);
  });

  test('travels in the packet of a later STOR', async () => {
    await using berth = await open();
    await deliverAll(berth);
    const full = packetsOf(berth)
      .map((verbs) => verbs)
      .filter((verbs) => verbs.includes('STOR') && verbs.includes('RNTO'));
    expect(full).toHaveLength(names.length - 2);
    for (const verbs of full) expect(verbs).toEqual(['RNFR', 'RNTO', 'SIZE', 'MFMT', 'SITE', 'STOR', 'EPSV']);
  });

  test('nobody asks where nobody wants it', async () => {
    await using berth = await open();
    await Promise.all(names.map((name) => berth.remote.deliver(deliveryOf(name, sourceOf(name)))));
    expect(berth.server.journal.of('SITE')).toEqual([]);
  });

  test('where nothing travels together it is asked by itself', async () => {
    await using berth = await open({ server: { renameOverwrites: false } });
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await modesOf(berth, names)).toEqual(modes);
  });

  test('setuid, setgid and the sticky bit never travel', async () => {
    await using berth = await open();
    await berth.remote.deliver({ ...deliveryOf('a', sourceOf('a')), permissions: 0o7755 });
    expect(await modesOf(berth, ['a'])).toEqual([0o755]);
  });
});

describe('a server that refuses', () => {
  test.each([
    ['500 Unknown SITE command.'],
    ['502 Not implemented.'],
    ['550 Not permitted.'],
    ['202 Superfluous here.'],
  ])('%s: is told of once, and not asked again', async (text) => {
    await using berth = await open({
      prepare: (server) => server.script({ on: 'SITE', nth: 'every', do: { kind: 'reply', text } }),
    });
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await filesBelow(berth.disk)).toEqual(names);
    expect(berth.learned).toEqual([expect.stringContaining('does not set permissions (SITE CHMOD)')]);
    const asked = berth.server.journal.of('SITE').length;
    expect(asked).toBeLessThanOrEqual(2);
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(berth.server.journal.of('SITE')).toHaveLength(asked);
    expect(berth.learned).toHaveLength(1);
  });

  test('without the command: the files arrive all the same', async () => {
    await using berth = await open({ server: { features: { 'SITE-CHMOD': false } } });
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await filesBelow(berth.disk)).toEqual(names);
    expect(berth.learned).toHaveLength(1);
  });

  test('for now: it is asked once more, and nothing is learned', async () => {
    await using berth = await open();
    berth.server.script({ on: 'SITE', nth: 3, do: { kind: 'reply', text: '450 Not now.' } });
    expect(await deliverAll(berth)).toEqual(new Map());
    expect(await modesOf(berth, names)).toEqual(modes);
    expect(berth.server.journal.of('SITE')).toHaveLength(names.length + 1);
    expect(berth.learned).toEqual([]);
  });

  test('for now, again and again: the file is tried later, and the others have arrived', async () => {
    await using berth = await open();
    berth.server.script({
      on: 'SITE',
      path: '**',
      nth: 3,
      times: 2,
      do: { kind: 'reply', text: '450 Not now.' },
    });
    const failed = await deliverAll(berth);
    expect([...failed.values()].map((error) => judge(error).decision)).toEqual(['retry']);
    const [late = ''] = failed.keys();
    expect((await filesBelow(berth.disk)).filter((path) => names.includes(path))).toEqual(
      names.filter((name) => name !== late),
    );
    expect(await deliverAll(berth, [late])).toEqual(new Map());
    expect(await modesOf(berth, names)).toEqual(modes);
    expect(berth.learned).toEqual([]);
  });

  test('a file that vanished says nothing about the server', async () => {
    await using berth = await open();
    berth.server.script({ on: 'SITE', nth: 2, do: { kind: 'reply', text: '550 No such file.' } });
    berth.server.script({ on: 'SIZE', nth: 2, do: { kind: 'reply', text: '550 No such file.' } });
    const failed = await deliverAll(berth);
    expect([...failed.values()].map((error) => judge(error).code)).toEqual(['mismatch']);
    expect(berth.learned).toEqual([]);
  });
});

describe('where the connection breaks at SITE CHMOD', () => {
  const faults: Readonly<Record<string, Fault>> = {
    reset: { kind: 'reset' },
    closed: { kind: 'close' },
    'the reply lost with it': { kind: 'reset', at: 'final' },
    'a reply too many': { kind: 'prepend', bytes: '250 And another thing.\r\n' },
    'the goodbye of an idle server': { kind: 'reply', text: '421 Goodbye.' },
  };

  test.each(Object.keys(faults))('%s: every file ends, and a second try brings the rest', async (name) => {
    await using berth = await open();
    const fault = faults[name];
    if (fault === undefined) throw new Error(`no fault ${name}`);
    berth.server.script({ on: 'SITE', nth: 4, do: fault });
    const failed = await deliverAll(berth);
    for (const error of failed.values()) expect(judge(error).decision).toMatch(/retry|reconnect/);
    const there = (await filesBelow(berth.disk)).filter((path) => names.includes(path));
    expect(there).toEqual(expect.arrayContaining(names.filter((file) => !failed.has(file))));
    expect(await deliverAll(berth, [...failed.keys()])).toEqual(new Map());
    expect((await filesBelow(berth.disk)).filter((path) => names.includes(path))).toEqual(names);
  });
});
