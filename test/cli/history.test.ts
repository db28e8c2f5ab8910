/*
 * `ferryd history --run`: each result of a file as a person and as a program reads it.
 */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { history } from '../../src/cli/history.js';
import { openLedger } from '../../src/ledger/ledger.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
let printed: string;

beforeEach(async () => {
  directory = await temporaryDirectory('history');
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await directory.remove();
});

/** A ledger with one run in which everything happened once. */
function everything(): string {
  const file = directory.join('ledger.db');
  const ledger = openLedger(file);
  const bindingId = ledger.bind({
    job: 'nightly',
    direction: 'push',
    server: 'ftp://nas',
    remoteRoot: '',
    localRoot: '/srv',
  });
  const runId = ledger.startRun({ job: 'nightly', bindingId, trigger: 'by hand', pid: 1, startedAtMs: 0 });
  const attempt = { bindingId, runId, attempt: 1, durationMs: 1_500, atMs: 60_000 };
  const local = { sizeBytes: 2, mtimeMs: 1, ctimeMs: 1, inode: 1 };
  for (const way of ['up', 'down'] as const) {
    const baseline = { path: way, local, sha256: '0'.repeat(64), remoteModifiedMs: undefined };
    ledger.record({ kind: 'delivered', ...attempt, way, baseline, bytes: 2, temporary: undefined });
  }
  const gone = { kind: 'deleted', ...attempt, bytes: 0 } as const;
  ledger.record({ ...gone, path: 'there', side: 'remote', text: 'into the trash\u001b[2J' });
  ledger.record({ ...gone, path: 'here', side: 'local', text: '' });
  ledger.record({ kind: 'set-aside', ...attempt, path: 'old', to: '.ferryd-trash/20261123T020000Z/old' });
  const refused = { ...attempt, code: '553', text: 'No.', temporary: undefined, remember: undefined };
  ledger.record({ kind: 'skipped', ...refused, path: 'left' });
  ledger.record({ kind: 'failed', ...refused, path: 'cut' });
  ledger.close();
  return file;
}

test('shows where each file went, and why one stayed', async () => {
  expect(await history(undefined, { ledger: everything(), limit: '20', run: '1' })).toBe(0);
  const rows = printed.split('\n').map((line) => line.trim().split(/ {2,}/).slice(1));
  expect(rows.filter((row) => row.length > 0)).toEqual([
    ['uploaded', 'up', '2 B in 1.5 s'],
    ['downloaded', 'down', '2 B in 1.5 s'],
    ['deleted', 'there', expect.stringMatching(/^on the server: into the trash/)],
    ['deleted', 'here', 'here'],
    ['set-aside', 'old', 'to .ferryd-trash/20261123T020000Z/old'],
    ['skipped', 'left', 'No.'],
    ['failed', 'cut', 'No.'],
  ]);
  expect(printed).not.toContain('\u001b');
});

test('tells programs the same', async () => {
  expect(await history(undefined, { ledger: everything(), limit: '20', run: '1', json: true })).toBe(0);
  const lines = printed
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
  const common = { run: 1, at: '1970-01-01T00:01:00.000Z', attempt: 1, durationMs: 1_500 };
  expect(lines).toEqual([
    { ...common, path: 'up', result: 'uploaded', bytes: 2 },
    { ...common, path: 'down', result: 'downloaded', bytes: 2 },
    { ...common, path: 'there', result: 'deleted', side: 'remote', text: 'into the trash\u001b[2J' },
    { ...common, path: 'here', result: 'deleted', side: 'local', text: '' },
    { ...common, path: 'old', result: 'set-aside', to: '.ferryd-trash/20261123T020000Z/old' },
    { ...common, path: 'left', result: 'skipped', code: '553', text: 'No.' },
    { ...common, path: 'cut', result: 'failed', code: '553', text: 'No.' },
  ]);
});
