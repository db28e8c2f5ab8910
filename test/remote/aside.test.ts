/*
 * Deliveries that move aside what they replace: at every moment the old or the new file stands under its name, or the
 * old one lies aside and the new one whole under its temporary name. A sweep strikes at every command of such a
 * delivery; then servers that refuse one of the two renames, or both.
 */
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { Delivered, Delivery } from '../../src/remote/remote.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { serverLike } from '../support/ftp-server/settings.js';
import type { FtpServer } from '../support/ftp-server.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const asideOf = (path: string): string => `.ferryd-trash/20260101T020304Z/${path}`;
const oldOf = (path: string): string => `old ${path}`;
const newOf = (path: string): string => `new ${path} `.repeat(20);

const open = (options: FtpBerthOptions = {}): Promise<FtpBerth> =>
  FtpBerth.open({ ...options, account: { connections: 1, ...options.account } });

const replacing = (path: string, content = newOf(path)): Delivery => ({
  ...deliveryOf(path, sourceOf(content)),
  aside: asideOf(path),
});

async function place(berth: FtpBerth, path: string, content: string): Promise<void> {
  await mkdir(dirname(join(berth.disk, path)), { recursive: true });
  await writeFile(join(berth.disk, path), content);
}

function read(berth: FtpBerth, path: string): string | undefined {
  try {
    return readFileSync(join(berth.disk, path), 'utf8');
  } catch {
    return undefined;
  }
}

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

/** Delivers as a run does: after a failure it looks at what is there, and goes on with that. */
async function deliverInTheEnd(berth: FtpBerth, delivery: Delivery): Promise<Delivered | 'found'> {
  const { path, temporary, source } = delivery;
  let part: Delivery['part'] = 'none';
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await berth.remote.deliver({ ...delivery, part });
    } catch (error) {
      const { decision, message } = judge(error);
      if (attempt === 6 || !['retry', 'reconnect'].includes(decision))
        throw new Error(`${path} was judged ${decision}: ${message}`, { cause: error });
      if ((await berth.remote.stat(temporary)) !== undefined) part = 'possible';
      else {
        part = 'none';
        const final = await berth.remote.stat(path);
        if (final?.sizeBytes === source.sizeBytes && final.modifiedMs === source.modifiedMs) return 'found';
      }
    }
  }
}

/** What must hold of a file at every moment, while no command is being carried out. */
function wrongWith(
  berth: FtpBerth,
  { path, temporary }: Delivery,
  had: 'old' | 'nothing',
): string | undefined {
  const final = read(berth, path);
  if (final === newOf(path)) return undefined;
  if (had === 'nothing') return final === undefined ? undefined : 'holds what was never sent';
  if (final === oldOf(path)) return undefined;
  if (final !== undefined) return `holds ${final.length} bytes that nobody sent`;
  if (read(berth, asideOf(path)) !== oldOf(path)) return 'is gone, and the old file is not aside';
  return read(berth, temporary) === newOf(path)
    ? undefined
    : 'is gone, and the new file is not whole beside it';
}

/** What stands there before, in a directory and without, and what does not. */
const OLD = ['one', 'sub/two'];
const FRESH = ['three'];

interface Point {
  readonly on: string;
  readonly nth: number;
  readonly fault: Fault;
}

/** All deliveries at once on one connection, under a fault, and again until all have arrived. */
async function voyage(
  options: FtpBerthOptions,
  point?: Point,
): Promise<{ readonly problems: readonly string[]; readonly verbs: readonly string[] }> {
  await using berth = await open(options);
  for (const path of OLD) await place(berth, path, oldOf(path));
  const deliveries = [...OLD, ...FRESH].map((path) => replacing(path));
  const problems = new Set<string>();
  const look = (): void => {
    for (const delivery of deliveries) {
      const wrong = wrongWith(berth, delivery, OLD.includes(delivery.path) ? 'old' : 'nothing');
      if (wrong !== undefined) problems.add(`${delivery.path} ${wrong}`);
    }
  };
  const unhear = [berth.server.on('command', look), berth.server.on('reply', look)];
  const rule =
    point === undefined ? undefined : berth.server.script({ on: point.on, nth: point.nth, do: point.fault });
  const ends = await Promise.allSettled(deliveries.map((delivery) => deliverInTheEnd(berth, delivery)));
  look();
  for (const stop of unhear) stop();
  for (const end of ends) if (end.status === 'rejected') problems.add(String(end.reason));
  if (rule?.fired === 0) problems.add('the fault never struck');
  ends.forEach((end, place) => {
    const { path } = deliveries[place] ?? { path: '' };
    if (end.status === 'rejected' || end.value === 'found') return;
    const before = OLD.includes(path);
    if (end.value.setAside !== before) problems.add(`${path} was told to be set aside: ${!before}`);
  });
  const files = await filesBelow(berth.disk);
  const wanted = [...OLD, ...FRESH, ...OLD.map(asideOf)].sort();
  if (files.join('\n') !== wanted.join('\n')) problems.add(`there are ${files.join(', ')}`);
  for (const path of OLD)
    if (read(berth, asideOf(path)) !== oldOf(path)) problems.add(`${path} is not aside as it was`);
  return { problems: [...problems], verbs: berth.server.journal.verbs() };
}

describe('a fault at every command', () => {
  const OPENING = 'USER PASS CLNT FEAT OPTS TYPE PWD QUIT'.split(' ');

  const faults: Readonly<Record<string, Fault>> = {
    'before it is done': { kind: 'reset' },
    'after it was done': { kind: 'reset', at: 'final' },
    'refused for now': { kind: 'reply', text: '450 Not now.' },
  };

  /** The same steps by other commands: struck where they differ. */
  const LOOKS_AND_MOVES = ['SIZE', 'RNFR', 'RNTO', 'MKD'];

  test.each<[string, FtpBerthOptions, readonly string[] | 'every']>([
    ['a server that can do everything', {}, 'every'],
    ['vsftpd', { server: serverLike('vsftpd') }, LOOKS_AND_MOVES],
    ['a server that does not rename onto a file', { server: { renameOverwrites: false } }, LOOKS_AND_MOVES],
  ])(
    '%s: nothing is lost, and all arrives',
    async (_name, options, struck) => {
      const calm = await voyage(options);
      expect(calm.problems).toEqual([]);
      const counts = new Map<string, number>();
      const problems: string[] = [];
      let swept = 0;
      for (const on of calm.verbs) {
        if (OPENING.includes(on) || (struck !== 'every' && !struck.includes(on))) continue;
        const nth = (counts.get(on) ?? 0) + 1;
        counts.set(on, nth);
        for (const [when, fault] of Object.entries(faults)) {
          const { problems: found } = await voyage(options, { on, nth, fault });
          problems.push(...found.map((problem) => `${on} ${nth}, ${when}: ${problem}`));
          swept += 1;
        }
      }
      expect(problems).toEqual([]);
      expect(swept).toBeGreaterThan(40);
    },
    60_000,
  );
});

describe('where the old file cannot be moved', () => {
  const refuse = (server: FtpServer, text: string): void => {
    server.script({ on: 'RNTO', path: /\.ferryd-trash/, nth: 'every', do: { kind: 'reply', text } });
  };

  test.each([
    ['550 Rename failed.', {}],
    ['553 Permission denied.', {}],
    ['451 Rename/move failure: Invalid cross-device link', {}],
    ['550 The system cannot move the file to a different disk drive.', serverLike('iis')],
  ])('%s: it stays, nothing is published, and the sentence says what to do', async (text, server) => {
    await using berth = await open({ server, prepare: (scripted) => refuse(scripted, text) });
    await place(berth, 'one', oldOf('one'));
    const failure = await failing(berth.remote.deliver(replacing('one')));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(failure.message).toContain(text.slice(4));
    expect(failure.message).toContain('deletes: { policy: delete }');
    expect(failure.message).toContain('file system');
    expect(read(berth, 'one')).toBe(oldOf('one'));
    expect(read(berth, asideOf('one'))).toBeUndefined();
    // Where nothing has to be moved, nothing is refused.
    expect(await berth.remote.deliver(replacing('two'))).toMatchObject({ setAside: false });
  });

  test('its directory cannot be made: the same', async () => {
    await using berth = await open();
    berth.server.script({ on: 'MKD', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
    await place(berth, 'one', oldOf('one'));
    const failure = await failing(berth.remote.deliver(replacing('one')));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(failure.message).toContain('policy: delete');
    expect(read(berth, 'one')).toBe(oldOf('one'));
  });

  test('refused for now: it is tried again, and no file is blamed', async () => {
    await using berth = await open({ prepare: (server) => refuse(server, '450 Busy.') });
    await place(berth, 'one', oldOf('one'));
    expect(await failing(berth.remote.deliver(replacing('one')))).toMatchObject({ decision: 'retry' });
    expect(read(berth, 'one')).toBe(oldOf('one'));
  });
});

test.each(['553 No.', '450 Not now.'])(
  'the second rename is refused (%s): the old file comes back',
  async (text) => {
    await using berth = await open();
    await place(berth, 'one', oldOf('one'));
    const delivery = replacing('one');
    // Its temporary name is known, so the rename that publishes it is the one right behind.
    berth.server.on('command', (verb, argument) => {
      if (verb === 'RNFR' && argument.endsWith('.part'))
        berth.server.script({ on: 'RNTO', do: { kind: 'reply', text } });
    });
    const failure = await failing(berth.remote.deliver(delivery));
    expect(failure.decision).toBe(text.startsWith('4') ? 'retry' : 'fallback');
    expect(read(berth, 'one')).toBe(oldOf('one'));
    expect(read(berth, asideOf('one'))).toBeUndefined();
    expect(read(berth, delivery.temporary)).toBe(newOf('one'));
  },
);

describe('a server that cannot rename', () => {
  const cannot = (server: FtpServer): void => {
    for (const on of ['RNFR', 'RNTO'])
      server.script({ on, nth: 'every', do: { kind: 'reply', text: '502 Not implemented.' } });
  };

  test('found out while a file stands there: it is left, and the sentence says what to do', async () => {
    await using berth = await open({ prepare: cannot });
    await place(berth, 'one', oldOf('one'));
    const failure = await failing(berth.remote.deliver(replacing('one')));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(failure.message).toMatch(/cannot rename.*policy: delete/);
    expect(berth.remote.temporaryForm).toBe('none');
    expect(read(berth, 'one')).toBe(oldOf('one'));
  });

  describe('known', () => {
    /** Under the final name, as such a server gets its files. */
    const direct = (path: string, part: Delivery['part'], content = newOf(path)): Delivery => ({
      ...replacing(path, content),
      temporary: path,
      part,
    });

    async function known(): Promise<FtpBerth> {
      const berth = await open({ prepare: cannot });
      await failing(berth.remote.deliver(replacing('first')));
      await berth.remote.remove(replacing('first').temporary);
      await berth.remote.deliver(direct('first', 'none'));
      return berth;
    }

    test('what does not stand there yet is sent', async () => {
      await using berth = await known();
      expect(await berth.remote.deliver(direct('sub/new', 'none'))).toMatchObject({ setAside: false });
      expect(read(berth, 'sub/new')).toBe(newOf('sub/new'));
    });

    test.each(['none', 'possible'] as const)('what stands there is not written over (%s)', async (part) => {
      await using berth = await known();
      await place(berth, 'one', oldOf('one'));
      const stored = berth.server.journal.stored;
      const failure = await failing(berth.remote.deliver(direct('one', part)));
      expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
      expect(read(berth, 'one')).toBe(oldOf('one'));
      expect(berth.server.journal.stored).toBe(stored);
    });

    test('a part of this very content is no loss: it is sent again, or gone on with', async () => {
      await using berth = await known();
      await place(berth, 'one', newOf('one').slice(0, 30));
      await berth.remote.deliver(direct('one', 'possible'));
      expect(read(berth, 'one')).toBe(newOf('one'));
    });
  });
});

test('with many connections each old file comes to lie aside, its directories made once', async () => {
  await using berth = await open({ account: { connections: 4 } });
  const paths = Array.from({ length: 40 }, (_, i) => `d${i % 4}/file-${String(i).padStart(2, '0')}`);
  for (const path of paths) await place(berth, path, oldOf(path));
  const delivered = await Promise.all(paths.map((path) => berth.remote.deliver(replacing(path))));
  expect(delivered.every(({ setAside }) => setAside)).toBe(true);
  for (const path of paths) {
    expect(read(berth, path)).toBe(newOf(path));
    expect(read(berth, asideOf(path))).toBe(oldOf(path));
  }
  expect(berth.learned).toEqual([]);
});
