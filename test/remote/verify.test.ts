/*
 * What proves that a file arrived: the server's hash where it tells one, its size, or the file read back. The scripted
 * server alters bytes, tells wrong hashes, or has no hashes at all.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FtpError } from '../../src/ftp/errors.js';
import type { Server } from '../../src/job/job.js';
import { isTemporary } from '../../src/plan/temporary.js';
import { judge } from '../../src/remote/failure.js';
import { World } from '../run/support/voyage.js';
import type { Rule } from '../support/ftp-server/fault.js';
import type { Feature, FtpServerOptions } from '../support/ftp-server/settings.js';
import { FtpBerth } from './berth.js';
import { deliveryOf, fetched, filesBelow, sourceOf } from './contract.js';

const HASH_VERBS = ['HASH', 'XSHA256', 'XSHA1', 'XMD5', 'XCRC'] as const;
const NAMES = ['one', 'two', 'three', 'four', 'a name with spaces'];
const contentOf = (name: string): Buffer => Buffer.from(name.repeat(7 + name.length));

interface Options {
  readonly features?: Readonly<Partial<Record<Feature, boolean>>>;
  readonly server?: Omit<FtpServerOptions, 'root'>;
  readonly verify?: Server['verify'];
}

function open({ features = {}, server, verify = 'auto' }: Options = {}): Promise<FtpBerth> {
  return FtpBerth.open({ server: { features, ...server }, account: { connections: 1, verify } });
}

async function openWorld({ features = {}, verify = 'auto', pull }: Options & { pull?: true } = {}) {
  const world = await World.open({
    server: { features },
    settings: { connections: 1, verify },
    job: { direction: pull === true ? 'pull' : 'push' },
  });
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

async function deliverAll(berth: FtpBerth, names: readonly string[] = NAMES): Promise<void> {
  await Promise.all(names.map((name) => berth.remote.deliver(deliveryOf(name, sourceOf(contentOf(name))))));
  for (const name of names) {
    expect((await readFile(join(berth.disk, name))).equals(contentOf(name)), name).toBe(true);
  }
  expect((await filesBelow(berth.disk)).filter(isTemporary)).toEqual([]);
}

/** How often each verb was used that proves something. */
function asked(berth: { readonly server: FtpBerth['server'] }): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const verb of [...HASH_VERBS, 'RETR']) {
    const times = berth.server.journal.of(verb).length;
    if (times > 0) counts[verb] = times;
  }
  return counts;
}

/** Rules on a verb have no digits in it. */
const asking = (verb: string): RegExp => new RegExp(`^${verb} `);

const wrong = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('how the hash is asked for', () => {
  test.each([
    [['HASH'], 'HASH'],
    [['XSHA256'], 'XSHA256'],
    [['XSHA1'], 'XSHA1'],
    [['XMD5'], 'XMD5'],
    [['XCRC'], 'XCRC'],
    [['XCRC', 'XMD5', 'XSHA1', 'XSHA256', 'HASH'], 'HASH'],
    [['XCRC', 'XMD5', 'XSHA1', 'XSHA256'], 'XSHA256'],
    [['XCRC', 'XMD5', 'XSHA1'], 'XSHA1'],
    [['XCRC', 'XMD5'], 'XMD5'],
  ] as const)('a server with %j is asked by %s, in the packet of SIZE', async (features, verb) => {
    await using berth = await open({ features: Object.fromEntries(features.map((name) => [name, true])) });
    await deliverAll(berth);
    expect(asked(berth)).toEqual({ [verb]: NAMES.length });
    const { journal } = berth.server;
    for (const { packet, argument } of journal.of(verb)) {
      const path = argument.replace(/^"|"$/g, '');
      const size = journal.of('SIZE').find((command) => command.argument === path);
      expect(size?.packet).toBe(packet);
    }
    expect(berth.learned).toEqual([]);
  });

  test('it costs no packet: as many as without hashes', async () => {
    const packets: number[] = [];
    for (const features of [{}, { HASH: true }]) {
      await using berth = await open({ features });
      await deliverAll(berth, ['warm']);
      const before = new Set(berth.server.journal.commands.map(({ packet }) => packet)).size;
      await deliverAll(berth);
      packets.push(new Set(berth.server.journal.commands.map(({ packet }) => packet)).size - before);
    }
    expect(packets[1]).toBe(packets[0]);
  });

  test('HASH is told which algorithm is wanted, and the best one is', async () => {
    await using berth = await open({ features: { HASH: true } });
    await deliverAll(berth, ['one']);
    expect(berth.server.journal.of('OPTS').map(({ argument }) => argument)).toContain('HASH SHA-256');
  });

  test('HASH without SHA-256: the next best', async () => {
    const features = (lines: readonly string[]): string =>
      [
        '211-Features:',
        ...lines.filter((line) => !line.startsWith('HASH')),
        ' HASH CRC32;SHA-1;MD5*',
        '211 End',
      ].join('\n');
    await using berth = await open({
      features: { HASH: true },
      server: { features: { HASH: true }, replies: { features } },
    });
    await deliverAll(berth);
    expect(berth.server.journal.of('OPTS').map(({ argument }) => argument)).toContain('HASH SHA-1');
    expect(berth.server.journal.of('HASH')[0]?.replies[0]).toContain('SHA-1 ');
    expect(asked(berth)).toEqual({ HASH: NAMES.length });
    expect(berth.learned).toEqual([]);
  });

  test('a server without hashes is asked for none', async () => {
    await using berth = await open();
    await deliverAll(berth);
    expect(asked(berth)).toEqual({});
    expect(berth.server.journal.of('OPTS').map(({ argument }) => argument)).toEqual(['UTF8 ON']);
  });

  test('`verify: size` never asks', async () => {
    await using berth = await open({ features: { HASH: true, XCRC: true }, verify: 'size' });
    await deliverAll(berth);
    await fetched(berth.remote, 'one');
    await berth.remote.fetch('one', async () => {}, { holds: async () => false });
    expect(asked(berth)).toEqual({ RETR: 2 });
    expect(berth.server.journal.of('OPTS').map(({ argument }) => argument)).toEqual(['UTF8 ON']);
  });

  test('`verify: hash` without a command for hashes reads each file back', async () => {
    await using berth = await open({ verify: 'hash' });
    await deliverAll(berth);
    expect(asked(berth)).toEqual({ RETR: NAMES.length });
    // What is read back is what lies under the temporary name: the rename comes after.
    for (const { argument } of berth.server.journal.of('RETR')) expect(argument).toContain('.ferryd-');
  });

  test('an empty file is proven too', async () => {
    await using berth = await open({ features: { XCRC: true } });
    await berth.remote.deliver(deliveryOf('empty', sourceOf('')));
    expect(asked(berth)).toEqual({ XCRC: 1 });
    expect(berth.server.journal.of('XCRC')[0]?.replies).toEqual(['250 00000000']);
    expect(berth.learned).toEqual([]);
  });

  test('a CRC with leading zeros, which some servers leave out', async () => {
    await using berth = await open({ features: { XCRC: true } });
    // The CRC-32 of this text is 000a08d4.
    const text = await textWithSmallCrc();
    berth.server.script({
      on: 'XCRC',
      do: { kind: 'reply', text: `250 ${text.crc.replace(/^0+/, '')}` },
    });
    await berth.remote.deliver(deliveryOf('file', sourceOf(text.text)));
    expect(berth.learned).toEqual([]);
    expect(asked(berth)).toEqual({ XCRC: 1 });
  });
});

async function textWithSmallCrc(): Promise<{ text: string; crc: string }> {
  const { crc32 } = await import('node:zlib');
  for (let place = 0; ; place += 1) {
    const crc = crc32(`text ${place}`).toString(16).padStart(8, '0');
    if (crc.startsWith('00')) return { text: `text ${place}`, crc };
  }
}

describe('bytes that the server alters, with the size right', () => {
  test.each(HASH_VERBS)('%s finds it: nothing stands under the final name', async (verb) => {
    await using berth = await open({ features: { [verb]: true } });
    berth.server.script({ on: 'STOR', nth: 2, do: { kind: 'corrupt', atByte: 5 } });
    const ends = await Promise.allSettled(
      NAMES.map((name) => berth.remote.deliver(deliveryOf(name, sourceOf(contentOf(name))))),
    );
    const failed = ends.filter((end) => end.status === 'rejected');
    expect(failed).toHaveLength(1);
    const failure = judge(failed[0]?.reason);
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification', code: 'mismatch' });
    expect(failure.message).toContain('two and holds other bytes than were sent');
    expect((await filesBelow(berth.disk)).filter((name) => !name.startsWith('.'))).toEqual(
      NAMES.filter((name) => name !== 'two').sort(),
    );
    // The file was read back once before anybody was blamed.
    expect(asked(berth)).toMatchObject({ RETR: 1 });
    expect(berth.learned).toEqual([]);
  });

  test('reading back finds it where there are no hashes', async () => {
    await using berth = await open({ verify: 'hash' });
    berth.server.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 0 } });
    const end = berth.remote.deliver(deliveryOf('one', sourceOf('content')));
    await expect(end).rejects.toMatchObject({ kind: 'mismatch' });
    expect((await filesBelow(berth.disk)).filter((name) => !name.startsWith('.'))).toEqual([]);
  });

  test('once: the run sends it again under another name, and all is well', async () => {
    await using world = await openWorld({ features: { HASH: true } });
    const content = randomBytes(2_500_000);
    await world.put('f', content);
    for (const name of ['a', 'b', 'z']) await world.put(name);
    world.server.script({ on: 'STOR', nth: 3, do: { kind: 'corrupt', atByte: 1_234_567 } });
    const watch = world.watchFinals({ f: [content] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 4 }, failure: undefined });
    expect(world.told('file.retry')).toMatchObject([{ path: 'f', code: 'mismatch' }]);
    world.expectConverged();
    watch.expectWhole();
    const retr = world.of('RETR');
    expect(retr).toHaveLength(1);
    expect(world.of('REST')).toEqual([]);
  });

  test('always: the file is skipped, and the run ends as a failure of verification', async () => {
    await using world = await openWorld({ features: { HASH: true } });
    for (const name of ['a', 'f', 'z']) await world.put(name, `${name} content`);
    const temporaries = new Set<string>();
    world.server.on('command', (verb, argument) => {
      if (verb === 'RNFR') temporaries.add(argument);
    });
    // The second of the three, and whatever is sent when the others are through.
    world.server.script({ on: 'STOR', nth: 2, do: { kind: 'corrupt', atByte: 0 } });
    world.server.script({ on: 'STOR', nth: 4, times: 100, do: { kind: 'corrupt', atByte: 0 } });
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'partial',
      tally: { uploaded: 2, skipped: 1 },
      failure: { kind: 'verification', code: 'mismatch' },
    });
    expect(report.failure?.message).toContain('1 file did not arrive whole');
    expect(world.stores).toBe(2 + world.job.retries.attempts);
    expect(world.held()).toEqual({ a: 'a content', z: 'z content' });
    expect(world.intents()).toEqual([]);
    expect(world.skips()).toEqual([]);
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 2 } });
    world.expectConverged();
  });
});

describe('a server whose hashes are wrong', () => {
  test.each([
    ['HASH', `213 SHA-256 0-9 ${wrong('x')} file`],
    ['XSHA1', `250 ${wrong('x').slice(0, 40)}`],
    ['XMD5', `250 ${wrong('x').slice(0, 32)}`],
    ['XCRC', '250 DEADBEEF'],
  ] as const)('%s: found out by reading one file back, and not asked any more', async (verb, text) => {
    await using berth = await open({ features: { [verb]: true } });
    berth.server.script({ on: asking(verb), nth: 'every', do: { kind: 'reply', text } });
    await deliverAll(berth, ['one']);
    await deliverAll(berth, ['two']);
    await deliverAll(berth, ['three']);
    expect(asked(berth)).toEqual({ [verb]: 1, RETR: 1 });
    expect(berth.learned).toEqual([expect.stringContaining('tells wrong hashes')]);
  });

  test('in a full lane each file that was under way is read back, and every one arrives', async () => {
    await using berth = await open({ features: { HASH: true } });
    berth.server.script({
      on: 'HASH',
      nth: 'every',
      do: { kind: 'reply', text: `213 SHA-256 0-9 ${wrong('x')} file` },
    });
    await deliverAll(berth);
    expect(asked(berth).RETR).toBeLessThanOrEqual(2);
    expect(berth.learned).toEqual([expect.stringContaining('tells wrong hashes')]);
  });

  test('with `verify: hash` it is found out as well, and from then on each file is read back', async () => {
    await using berth = await open({ features: { HASH: true }, verify: 'hash' });
    berth.server.script({
      on: 'HASH',
      nth: 'every',
      do: { kind: 'reply', text: `213 SHA-256 0-9 ${wrong('x')} file` },
    });
    for (const name of NAMES) await deliverAll(berth, [name]);
    expect(asked(berth)).toEqual({ HASH: 1, RETR: NAMES.length });
    berth.server.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 1 } });
    await expect(berth.remote.deliver(deliveryOf('bad', sourceOf('content')))).rejects.toMatchObject({
      kind: 'mismatch',
    });
  });
});

describe('a hash that is refused', () => {
  test.each(['500 Unknown command.', '501 No.', '502 Not implemented.', '504 Not that one.'])(
    '%s: the next form is used, and remembered',
    async (text) => {
      await using berth = await open({ features: { HASH: true, XSHA1: true, XCRC: true } });
      berth.server.script({ on: 'HASH', nth: 'every', do: { kind: 'reply', text } });
      for (const name of NAMES) await deliverAll(berth, [name]);
      expect(asked(berth)).toEqual({ HASH: 1, XSHA1: NAMES.length - 1 });
      expect(berth.learned).toEqual([expect.stringContaining('does not do HASH: XSHA1 is used')]);
    },
  );

  test('every form is refused: files are proven by their size from then on', async () => {
    await using berth = await open({ features: { HASH: true, XMD5: true, XCRC: true } });
    for (const verb of HASH_VERBS)
      berth.server.script({ on: asking(verb), nth: 'every', do: { kind: 'reply', text: '502 No.' } });
    for (const name of NAMES) await deliverAll(berth, [name]);
    expect(asked(berth)).toEqual({ HASH: 1, XMD5: 1, XCRC: 1 });
    expect(berth.learned.at(-1)).toContain('files are proven by their size');
  });

  test.each(['550 Not this one.', '450 Not now.', '556 Too large.', '450 Busy.'])(
    '%s for one file: that one is proven by its size, and nothing is learned',
    async (text) => {
      await using berth = await open({ features: { HASH: true } });
      berth.server.script({ on: 'HASH', nth: 2, do: { kind: 'reply', text } });
      for (const name of NAMES) await deliverAll(berth, [name]);
      expect(asked(berth)).toEqual({ HASH: NAMES.length });
      expect(berth.learned).toEqual([]);
    },
  );

  test('for one file, with `verify: hash`: that one is read back', async () => {
    await using berth = await open({ features: { HASH: true }, verify: 'hash' });
    berth.server.script({ on: 'HASH', nth: 2, do: { kind: 'reply', text: '550 Not this one.' } });
    for (const name of NAMES) await deliverAll(berth, [name]);
    expect(asked(berth)).toEqual({ HASH: NAMES.length, RETR: 1 });
    expect(berth.learned).toEqual([]);
  });

  test('an answer that no hash can be read in: the next form is used', async () => {
    await using berth = await open({ features: { HASH: true, XCRC: true } });
    berth.server.script({ on: 'HASH', do: { kind: 'reply', text: '213 It is a nice file.' } });
    for (const name of NAMES) await deliverAll(berth, [name]);
    expect(asked(berth)).toEqual({ HASH: 1, XCRC: NAMES.length - 1 });
  });

  test('a connection that is lost at the hash loses no file', async () => {
    await using world = await openWorld({ features: { HASH: true } });
    for (const name of NAMES) await world.put(name, contentOf(name));
    world.server.script({ on: 'HASH', nth: 3, do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: NAMES.length } });
    world.expectConverged();
  });
});

describe('a server whose last steps travel by single commands', () => {
  test('is asked for the hash all the same', async () => {
    await using berth = await open({
      features: { XMD5: true },
      server: { features: { XMD5: true }, renameOverwrites: false },
    });
    await writeFile(join(berth.disk, 'one'), 'old');
    await deliverAll(berth, ['one']);
    await deliverAll(berth, ['two', 'three']);
    expect(asked(berth)).toEqual({ XMD5: 3 });
    berth.server.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 1 } });
    await expect(berth.remote.deliver(deliveryOf('four', sourceOf('content')))).rejects.toBeInstanceOf(
      FtpError,
    );
  });

  test('and one that refuses all forms is asked in each of them once, and not for ever', async () => {
    const features = {
      HASH: true,
      XMD5: true,
      XCRC: true,
      MFMT: false,
      'MDTM-SET': false,
      'SITE-UTIME': false,
    };
    await using berth = await open({ features });
    for (const verb of HASH_VERBS)
      berth.server.script({ on: asking(verb), nth: 'every', do: { kind: 'reply', text: '502 No.' } });
    for (const name of NAMES) await deliverAll(berth, [name]);
    expect(asked(berth)).toEqual({ HASH: 1, XMD5: 1, XCRC: 1 });
  });

  test('and one that refuses it goes to the next form at once', async () => {
    const features = {
      XSHA1: true,
      XMD5: true,
      MFMT: false,
      'MDTM-SET': false,
      'SITE-UTIME': false,
    } as const;
    await using berth = await open({ features });
    await deliverAll(berth, ['one']);
    berth.server.script({ on: asking('XSHA1'), nth: 'every', do: { kind: 'reply', text: '502 No.' } });
    berth.server.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 1 } });
    await expect(berth.remote.deliver(deliveryOf('two', sourceOf('content')))).rejects.toMatchObject({
      kind: 'mismatch',
    });
    expect(asked(berth)).toEqual({ XSHA1: 2, XMD5: 1, RETR: 1 });
  });
});

describe('downloads', () => {
  const content = randomBytes(2_500_000);
  const rules: Readonly<Record<string, Rule>> = {
    once: { on: 'RETR', do: { kind: 'corrupt', atByte: 2_000_000 } },
    always: { on: 'RETR', nth: 'every', do: { kind: 'corrupt', atByte: 2_000_000 } },
  };

  test.each(HASH_VERBS)('are compared with what %s says', async (verb) => {
    await using world = await openWorld({ features: { [verb]: true }, pull: true });
    await world.putRemote('f', content);
    await world.putRemote('d/g h');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
    expect(asked(world)).toEqual({ [verb]: 2, RETR: 2 });
    world.expectConverged();
  });

  test('altered once: fetched again from the beginning', async () => {
    await using world = await openWorld({ features: { HASH: true }, pull: true });
    await world.putRemote('f', content);
    world.server.script(rules.once as Rule);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 }, failure: undefined });
    expect(world.told('file.retry')).toMatchObject([{ path: 'f', code: 'mismatch' }]);
    expect(world.of('REST')).toEqual([]);
    world.expectConverged();
  });

  test('altered always: never published, and the run ends as a failure of verification', async () => {
    await using world = await openWorld({ features: { XSHA256: true }, pull: true });
    await world.putRemote('f', content);
    await world.putRemote('g');
    world.server.script({ ...(rules.always as Rule), path: '**/f' });
    // Each reading back is altered at another byte than the download before it, or it would agree with that.
    let reads = 0;
    world.server.behave();
    const alter = (): void => {
      reads += 1;
      world.server.script({ on: 'RETR', path: '**/f', do: { kind: 'corrupt', atByte: reads } });
    };
    alter();
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) alter();
    });
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'partial',
      tally: { downloaded: 1, skipped: 1 },
      failure: { kind: 'verification' },
    });
    expect(world.here()).toEqual({ g: 'g' });
    expect(world.intents()).toEqual([]);
  });

  test('a wrong hash of a right file is found out, and the file is taken', async () => {
    await using world = await openWorld({ features: { XMD5: true }, pull: true });
    for (const name of ['a', 'b', 'c']) await world.putRemote(name, `${name} content`);
    world.server.script({
      on: asking('XMD5'),
      nth: 'every',
      do: { kind: 'reply', text: `250 ${wrong('x').slice(0, 32)}` },
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 3 } });
    expect(asked(world)).toEqual({ XMD5: 1, RETR: 4 });
    expect(world.told('server.learned').map(({ message }) => message)).toEqual([
      expect.stringContaining('tells wrong hashes'),
    ]);
    world.expectConverged();
  });

  test('a hash that is refused for one file: taken by its size', async () => {
    await using world = await openWorld({ features: { HASH: true }, pull: true });
    for (const name of ['a', 'b', 'c']) await world.putRemote(name);
    world.server.script({ on: 'HASH', nth: 2, do: { kind: 'reply', text: '550 No.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 3 } });
    expect(asked(world)).toEqual({ HASH: 3, RETR: 3 });
  });

  test('`verify: size` asks for no hash', async () => {
    await using world = await openWorld({ features: { HASH: true }, verify: 'size', pull: true });
    await world.putRemote('a');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(asked(world)).toEqual({ RETR: 1 });
  });

  test('`verify: hash` without a command for hashes fetches each file twice, and finds what was altered', async () => {
    await using world = await openWorld({ verify: 'hash', pull: true });
    for (const name of ['a', 'b', 'c']) await world.putRemote(name, `${name} content`);
    world.server.script({ on: 'RETR', nth: 3, do: { kind: 'corrupt', atByte: 3 } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 3 }, failure: undefined });
    expect(world.told('file.retry')).toMatchObject([{ code: 'mismatch' }]);
    expect(asked(world)).toEqual({ RETR: 8 });
    world.expectConverged();
  });
});

describe('where uploads may not be read back', () => {
  const unreadable: Rule = { on: 'RETR', nth: 'every', do: { kind: 'reply', text: '550 Uploads only.' } };

  test('a hash that does not agree is a verification failure, and no refusal of the file', async () => {
    await using berth = await open({ features: { HASH: true } });
    berth.server.script(unreadable);
    berth.server.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 1 } });
    const error = await berth.remote.deliver(deliveryOf('file', sourceOf('content'))).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(judge(error)).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(judge(error).message).toContain('tells another hash');
    expect(await filesBelow(berth.disk)).not.toContain('file');
  });

  test('`verify: hash` cannot be had without a command for hashes, and says what to write instead', async () => {
    await using berth = await open({ verify: 'hash' });
    berth.server.script(unreadable);
    const error = await berth.remote.deliver(deliveryOf('file', sourceOf('content'))).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(judge(error)).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(judge(error).message).toContain('verify: auto does without');
  });
});
