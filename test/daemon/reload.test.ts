/* What a configuration that was loaded anew takes away, brings, changes and leaves as it was: all of it, as a table. */

import { rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { changeBy, type InForce } from '../../src/daemon/reload.js';
import type { AgentSettings, Job } from '../../src/job/job.js';
import { loadConfiguration } from '../../src/job/load.js';
import { temporaryDirectory } from '../support/temporary.js';

const NAS = 'nas: { url: ftpes://nas.example.net, user: backup, password: { env: X } }\n';
const job = (more = ''): string => `from: /a\nto: nas:x\n${more}`;

/** Loads a directory with these files. */
async function loaded(files: Readonly<Record<string, string>>) {
  await using directory = await temporaryDirectory('reload');
  for (const [name, text] of Object.entries(files)) await writeFile(directory.join(name), text);
  return await loadConfiguration(directory.path, { cron: () => undefined });
}

async function inForce(files: Readonly<Record<string, string>>): Promise<InForce> {
  const configuration = await loaded(files);
  expect(configuration.problems).toEqual([]);
  return changeBy(configuration, undefined).inForce;
}

const names = (jobs: readonly Job[]): string[] => jobs.map(({ name }) => name);

test('at the start everything is new', async () => {
  const change = changeBy(await loaded({ 'servers.yaml': NAS, 'a.yaml': job(), 'b.yaml': job() }), undefined);
  expect(names(change.added)).toEqual(['a', 'b']);
  expect([change.changed, change.removed, change.stale.size, change.broken.size]).toEqual([[], [], 0, 0]);
});

test('what is the same as before is the very same object: its runs and watches are not touched', async () => {
  const before = await inForce({ 'servers.yaml': NAS, 'a.yaml': job(), 'b.yaml': job() });
  const moved = (value: InForce): InForce => ({
    agent: value.agent,
    jobs: new Map([...value.jobs].map(([name, one]) => [name, { ...one, file: `/reload/${name}.yaml` }])),
  });
  const now = moved(before);
  const change = changeBy(
    {
      jobs: [...moved(before).jobs.values()],
      agent: before.agent,
      problems: [],
      directory: '/reload',
    },
    now,
  );
  expect([change.added, change.changed, change.removed]).toEqual([[], [], []]);
  expect(change.inForce.jobs.get('a')).toBe(now.jobs.get('a'));
});

/** The same directory, loaded twice with an edit in between. */
async function edited(
  first: Readonly<Record<string, string>>,
  then: Readonly<Record<string, string | undefined>>,
) {
  await using directory = await temporaryDirectory('reload');
  const load = () => loadConfiguration(directory.path, { cron: () => undefined });
  for (const [name, text] of Object.entries(first)) await writeFile(directory.join(name), text);
  const before = changeBy(await load(), undefined).inForce;
  for (const [name, text] of Object.entries(then)) {
    if (text === undefined) await rm(directory.join(name));
    else await writeFile(directory.join(name), text);
  }
  return { before, change: changeBy(await load(), before), directory: directory.path };
}

const BOTH = { 'servers.yaml': NAS, 'a.yaml': job(), 'b.yaml': job() };

test('a job that was edited, one that is new, one that is gone', async () => {
  const { change } = await edited(BOTH, {
    'a.yaml': job('mode: mirror\n'),
    'b.yaml': undefined,
    'c.yaml': job(),
  });
  expect(names(change.changed)).toEqual(['a']);
  expect(change.inForce.jobs.get('a')?.mode).toBe('mirror');
  expect(names(change.added)).toEqual(['c']);
  expect(change.removed).toEqual(['b']);
  expect(change.broken.size).toBe(0);
});

test('a job whose file is broken goes on as it was, the others change', async () => {
  const { before, change } = await edited(BOTH, { 'a.yaml': 'from: [', 'b.yaml': job('mode: mirror\n') });
  expect(change.inForce.jobs.get('a')).toBe(before.jobs.get('a'));
  expect([...change.stale.keys()]).toEqual(['a']);
  expect(change.stale.get('a')).toMatch(/a\.yaml:1:.*error/);
  expect(names(change.changed)).toEqual(['b']);
  expect(change.removed).toEqual([]);
});

test('a job that was broken from the beginning is not there, and is told', async () => {
  const { change } = await edited({ 'servers.yaml': NAS, 'a.yaml': job() }, { 'new.yaml': 'from: 5\n' });
  expect([...change.broken.keys()]).toEqual(['new']);
  expect(change.stale.size).toBe(0);
  expect(change.inForce.jobs.has('new')).toBe(false);
});

test('a server that was edited changes each job that uses it; a broken servers.yaml changes none', async () => {
  const moved = await edited(BOTH, { 'servers.yaml': NAS.replace('nas.example', 'new.example') });
  expect(names(moved.change.changed)).toEqual(['a', 'b']);
  const broken = await edited(BOTH, { 'servers.yaml': 'nas: { url: [' });
  expect(broken.change.changed).toEqual([]);
  expect(broken.change.removed).toEqual([]);
  expect([...broken.change.stale.keys()]).toEqual(['a', 'b']);
  const gone = await edited(BOTH, { 'servers.yaml': undefined });
  expect([...gone.change.stale.keys()]).toEqual(['a', 'b']);
});

test.each([
  ['is empty', { 'servers.yaml': undefined, 'a.yaml': undefined, 'b.yaml': undefined }],
  ['has no job any more', { 'a.yaml': undefined, 'b.yaml': undefined }],
])('a directory that %s takes nothing away: its disk may not be mounted', async (_, then) => {
  const { change } = await edited(BOTH, then);
  expect(change.removed).toEqual([]);
  expect([...change.inForce.jobs.keys()]).toEqual(['a', 'b']);
  expect([...change.stale.keys()]).toEqual(['a', 'b']);
});

test('a directory that cannot be read takes nothing away, the settings neither', async () => {
  const before = await inForce({ ...BOTH, 'agent.yaml': 'runsAtOnce: 9\n' });
  const change = changeBy(await loadConfiguration('/nonexistent/jobs', { cron: () => undefined }), before);
  expect([...change.inForce.jobs.keys()]).toEqual(['a', 'b']);
  expect(change.inForce.agent.runsAtOnce).toBe(9);
  expect([...change.broken.keys()]).toEqual(['']);
});

test('settings change; broken ones keep the last good ones; without the file the defaults hold', async () => {
  const first = { ...BOTH, 'agent.yaml': 'runsAtOnce: 9\n' };
  const at = async (text: string | undefined): Promise<AgentSettings> =>
    (await edited(first, { 'agent.yaml': text })).change.inForce.agent;
  expect((await at('runsAtOnce: 2\n')).runsAtOnce).toBe(2);
  expect((await at('runsAtOnce: many\n')).runsAtOnce).toBe(9);
  expect((await at('runsAtOnce: [')).runsAtOnce).toBe(9);
  expect((await at(undefined)).runsAtOnce).toBe(4);
});
