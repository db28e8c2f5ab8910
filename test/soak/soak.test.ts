/* The soak itself works, for as long as a test may take; whether memory grows is for whoever runs it for an hour. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { findServer } from '../support/real-server.js';
import { temporaryDirectory } from '../support/temporary.js';
import type { SoakResult } from './soak.js';

const PROGRAM = resolve(import.meta.dirname, '../../build/test/soak/main.js');

test('a short soak meets everything once, and both sides agree in the end', async () => {
  await using directory = await temporaryDirectory('soak-test');
  const child = spawn(process.execPath, [PROGRAM, '8s', '7'], {
    env: { ...process.env, TMPDIR: directory.path },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((done) => child.once('close', done));
  const printed = await text(child.stdout);
  const code = await ended;
  expect(printed).toMatch(/^Soak of 8s, seed 7, in /);
  const line = printed.split('\n').find((candidate) => candidate.startsWith('{')) ?? '{}';
  const result = JSON.parse(line) as SoakResult;
  expect({ code, problems: result.problems }, printed).toEqual({ code: 0, problems: [] });
  for (const what of [
    'kills',
    'stops',
    'cuts',
    'stalls',
    'refusals',
    'forsaken',
    'restarts',
    'runs',
    'uploaded',
    'downloaded',
  ])
    expect(result.figures[what], what).toBeGreaterThan(0);
  // Where there is no sshd, its own suites say so, or fail.
  const expected = findServer('openssh') === undefined ? ['nas'] : ['nas', 'vault'];
  expect(Object.keys(result.servers)).toEqual(expected);
  for (const [name, { uploaded, downloaded }] of Object.entries(result.servers)) {
    expect(uploaded, name).toBeGreaterThan(0);
    expect(downloaded, name).toBeGreaterThan(0);
  }
}, 180_000);
