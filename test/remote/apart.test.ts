/*
 * Whether names that look alike are two files there: found out by a trial that leaves nothing behind, remembered, and
 * answered with no where nobody can know.
 */
import { readdir } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { judge } from '../../src/remote/failure.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import type { Difference } from '../../src/remote/remote.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { FtpBerth } from './berth.js';

const differences: readonly Difference[] = ['case', 'form'];

function open(
  server: Omit<FtpServerOptions, 'root'> = {},
  account: Partial<Settings> = {},
): Promise<FtpBerth> {
  return FtpBerth.open({ server, account: { connections: 2, ...account } });
}

async function answers({ remote }: FtpBerth): Promise<boolean[]> {
  return Promise.all(differences.map((difference) => remote.keepsApart(difference)));
}

const left = ({ disk }: FtpBerth): Promise<string[]> => readdir(disk);

const trials = ({ server }: FtpBerth): number => server.journal.of('MKD').length;

test.each([
  ['bytes', [true, true]],
  ['caseless', [false, true]],
  ['formless', [true, false]],
] as const)('a server whose names are %s', async (names, expected) => {
  await using berth = await open({ names });
  expect(await answers(berth)).toEqual(expected);
  expect(await left(berth)).toEqual([]);
  // Once for all who ask, at once and later.
  expect(trials(berth)).toBe(2);
  const commands = berth.server.journal.commands.length;
  expect(await answers(berth)).toEqual(expected);
  expect(berth.server.journal.commands.length).toBe(commands);
});

test('asked by many at once, it is tried once', async () => {
  await using berth = await open();
  await Promise.all(Array.from({ length: 10 }, () => berth.remote.keepsApart('case')));
  expect(trials(berth)).toBe(1);
});

describe('where it cannot be tried the answer is no, and nothing is remembered', () => {
  test.each(['MKD', 'STOR', 'MLSD'])('%s is refused', async (verb) => {
    await using berth = await open();
    const rule = berth.server.script({
      on: verb,
      nth: 'every',
      do: { kind: 'reply', text: '550 Permission denied.' },
    });
    expect(await answers(berth)).toEqual([false, false]);
    expect(await left(berth)).toEqual([]);
    rule.remove();
    // Nobody asks again for a directory that was refused.
    expect(await answers(berth)).toEqual(verb === 'MKD' ? [false, false] : [true, true]);
    expect(await left(berth)).toEqual([]);
  });

  test('the charset has no such characters', async () => {
    await using berth = await open({}, { charset: 'iso-8859-15' });
    expect(await answers(berth)).toEqual([true, false]);
    expect(trials(berth)).toBe(1);
  });
});

test.each(['MKD', 'STOR', 'MLSD', 'DELE', 'RMD'])(
  'a trial that breaks off at %s is made again, and nothing is left of either',
  async (verb) => {
    await using berth = await open({}, { connections: 1 });
    berth.server.script({ on: verb, do: { kind: 'reset', at: 'final' } });
    const broken = await berth.remote.keepsApart('case').then(
      () => undefined,
      (error: unknown) => judge(error).decision,
    );
    expect(broken).toBe('reconnect');
    expect(await berth.remote.keepsApart('case')).toBe(true);
    expect(await left(berth)).toEqual([]);
  },
);

test('the answer is kept between runs, with what else is known of the server', async () => {
  let kept: string | undefined;
  const store: ProfileStore = {
    load: () => kept,
    save: (json) => {
      kept = json;
    },
  };
  await using berth = await FtpBerth.open({ server: { names: 'caseless' }, profile: store });
  expect(await berth.remote.keepsApart('case')).toBe(false);
  expect(JSON.parse(kept ?? '')).toMatchObject({ facts: { apart: { case: 'met' } } });
});
