/*
 * Values for the ledger's tests: a temporary directory, a binding, and changes that are right unless a test says
 * what should be different about them.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PlannedDeletion } from '../../src/ledger/deletion.js';
import { LedgerError } from '../../src/ledger/error.js';
import type { Ledger } from '../../src/ledger/ledger.js';
import type { BindingKey, Change } from '../../src/ledger/record.js';
import type { Baseline, Fingerprint } from '../../src/plan/entry.js';

export const BINDING: BindingKey = {
  job: 'nightly',
  direction: 'push',
  server: 'ftp://backup@nas.example.net:21',
  remoteRoot: 'dumps',
  localRoot: '/var/backups/db',
};

export const LOCAL: Fingerprint = {
  sizeBytes: 5_000_000_000,
  mtimeMs: 1_700_000_000_123.4568,
  ctimeMs: 1_700_000_000_999.0002,
  inode: 18_446_744_073_709_550_000,
};

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function baseline(path: string, other: Partial<Baseline> = {}): Baseline {
  return { path, local: LOCAL, sha256: sha256(path), remoteModifiedMs: undefined, ...other };
}

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>;

export function delivered(
  at: { bindingId: number; runId: number },
  path: string,
  other: Partial<Of<'delivered'>> = {},
): Change {
  return {
    kind: 'delivered',
    way: 'up',
    ...at,
    attempt: 1,
    durationMs: 12.5,
    atMs: 1_700_000_001_000,
    temporary: undefined,
    baseline: baseline(path),
    bytes: 10,
    ...other,
  };
}

export function skipped(
  at: { bindingId: number; runId: number },
  path: string,
  other: Partial<Of<'skipped'>> = {},
): Change {
  return {
    kind: 'skipped',
    ...at,
    attempt: 1,
    durationMs: 3,
    atMs: 1_700_000_002_000,
    temporary: undefined,
    path,
    code: '553',
    text: 'Could not create file.',
    remember: { local: LOCAL, settings: 'settings-1' },
    ...other,
  };
}

export function deletion(path: string, other: Partial<PlannedDeletion> = {}): PlannedDeletion {
  return {
    path,
    side: 'remote',
    at: path,
    kind: 'file',
    sizeBytes: 3,
    modifiedMs: 1_700_000_000_000,
    sha256: sha256(path),
    known: 'ours',
    ...other,
  };
}

/** A binding with an open run, which most changes need. */
export function begin(ledger: Ledger, key: BindingKey = BINDING): { bindingId: number; runId: number } {
  const bindingId = ledger.bind(key);
  const runId = ledger.startRun({
    job: key.job,
    bindingId,
    trigger: 'by hand',
    pid: 4711,
    startedAtMs: 1_700_000_000_000,
  });
  return { bindingId, runId };
}

export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ferryd-ledger-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function modesOf(directory: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(directory).map((name) => [name, (statSync(join(directory, name)).mode & 0o777).toString(8)]),
  );
}

export function digestOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** The LedgerError that `work` throws; anything else fails the test. */
export function problemOf(work: () => unknown): LedgerError {
  try {
    work();
  } catch (error) {
    if (error instanceof LedgerError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
