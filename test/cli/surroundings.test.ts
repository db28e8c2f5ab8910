/*
 * Where a command looks: options, then the environment, then the places that exist by default, in this order.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandFailed } from '../../src/cli/exit.js';
import {
  type GlobalOptions,
  jobsDirectory,
  jobsNamed,
  ledgerFile,
  load,
  openForReading,
  wireOf,
} from '../../src/cli/surroundings.js';
import type { AgentSettings } from '../../src/job/job.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
const before = process.cwd();

beforeEach(async () => {
  directory = await temporaryDirectory('cli');
  process.chdir(directory.path);
});

afterEach(async () => {
  process.chdir(before);
  await directory.remove();
});

describe('the jobs directory', () => {
  test('option, environment, ./jobs, /etc/ferryd/jobs', async () => {
    const environment = { FERRYD_JOBS: '/from/environment' };
    expect(jobsDirectory({ jobs: '/from/option' }, environment)).toBe('/from/option');
    expect(jobsDirectory({}, environment)).toBe('/from/environment');
    expect(jobsDirectory({}, {})).toBe('/etc/ferryd/jobs');
    await mkdir('jobs');
    expect(jobsDirectory({}, {})).toBe(directory.join('jobs'));
    expect(jobsDirectory({}, environment)).toBe('/from/environment');
  });

  test('an empty variable counts as none, and what is relative becomes absolute', () => {
    expect(jobsDirectory({}, { FERRYD_JOBS: '' })).toBe('/etc/ferryd/jobs');
    expect(jobsDirectory({}, { FERRYD_JOBS: 'mine' })).toBe(directory.join('mine'));
    expect(jobsDirectory({ jobs: 'mine' }, {})).toBe(directory.join('mine'));
  });
});

describe('the ledger', () => {
  const rows: readonly [GlobalOptions, Record<string, string>, string][] = [
    [{ ledger: '/o/l.db' }, { FERRYD_LEDGER: '/e/l.db', STATE_DIRECTORY: '/s' }, '/o/l.db'],
    [{}, { FERRYD_LEDGER: '/e/l.db', STATE_DIRECTORY: '/s', XDG_STATE_HOME: '/x' }, '/e/l.db'],
    [{}, { STATE_DIRECTORY: '/s', XDG_STATE_HOME: '/x' }, '/s/ledger.db'],
    [{}, { STATE_DIRECTORY: '/s1:/s2' }, '/s1/ledger.db'],
    [{}, { FERRYD_LEDGER: '', STATE_DIRECTORY: '', XDG_STATE_HOME: '/x' }, '/x/ferryd/ledger.db'],
    [{}, {}, join(homedir(), '.local/state/ferryd/ledger.db')],
  ];

  test.each(rows)('%j with %j is %s', (options, environment, expected) => {
    expect(ledgerFile(options, environment)).toBe(expected);
  });

  test('one that is not there is no error to a reader, and is not made', () => {
    expect(openForReading({ ledger: 'none.db' })).toBeUndefined();
  });
});

describe('jobs by name', () => {
  beforeEach(async () => {
    await mkdir('jobs');
    await mkdir('source');
    const job = (more = ''): string =>
      `from: ../source\nto: { url: "ftp://127.0.0.1", user: u, password: { env: P } }\n${more}`;
    await writeFile('jobs/good.yaml', job());
    await writeFile('jobs/other.yaml', job());
    await writeFile('jobs/bad.yaml', job('inclde: ["*"]\n'));
  });

  const failure = async (...names: string[]): Promise<CommandFailed> => {
    const configuration = await load({ jobs: 'jobs' });
    try {
      jobsNamed(configuration, names);
    } catch (error) {
      if (error instanceof CommandFailed) return error;
      throw error;
    }
    throw new Error('it did not fail');
  };

  test('each once, in the order in which they were named', async () => {
    const configuration = await load({ jobs: 'jobs' });
    const names = jobsNamed(configuration, ['other', 'good', 'other']).map((job) => job.name);
    expect(names).toEqual(['other', 'good']);
  });

  test('an unknown one is told together with those that there are', async () => {
    const { exitCode, message } = await failure('good', 'nope');
    expect(exitCode).toBe(2);
    expect(message).toBe(`There is no job nope in ${directory.join('jobs')}; there are: good, other.`);
  });

  test('a broken one shows what is wrong with it, with file, line and column', async () => {
    const { exitCode, message } = await failure('bad', 'nope');
    expect(exitCode).toBe(2);
    const [first, ...more] = message.split('\n');
    expect(first).toMatch(/jobs\/bad\.yaml:3:1: error: .*did you mean "include"/);
    expect(more[0]).toBe('The job bad cannot run before that is mended.');
    expect(more[1]).toContain('There is no job nope');
  });
});

test('the wire is traced at the level debug only, the option before agent.yaml', () => {
  const agent = (level: 'info' | 'debug'): AgentSettings => ({
    log: { level, files: 'show', file: undefined },
    stop: { withinMs: 1 },
    runsAtOnce: 1,
    history: { keepMs: 1 },
    notify: [],
  });
  expect(wireOf({}, agent('info'))).toBe('silent');
  expect(wireOf({}, agent('debug'))).toBe('traced');
  expect(wireOf({ logLevel: 'debug' }, agent('info'))).toBe('traced');
  expect(wireOf({ logLevel: 'warn' }, agent('debug'))).toBe('silent');
});
