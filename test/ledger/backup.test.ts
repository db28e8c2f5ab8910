/* Copies of the ledger in use: whole, for their owner alone, and never in the place of something else. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackupRefused, backupLedger } from '../../src/ledger/backup.js';
import { LedgerError } from '../../src/ledger/error.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { lockDirectory } from '../../src/ledger/lock.js';
import { begin, delivered, digestOf, temporaryDirectory } from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
let copy: string;
let ledger: Ledger;
let at: { bindingId: number; runId: number };
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory.path, 'ledger.db');
  copy = join(directory.path, 'copy.db');
  ledger = openLedger(file);
  at = begin(ledger);
  for (let i = 0; i < 2_000; i += 1) ledger.record(delivered(at, `f${i}`));
  ledger.flush();
});
afterEach(() => {
  ledger.close();
  directory.remove();
});

async function backup(to = copy): Promise<void> {
  const reader = openLedger(file, { access: 'read-only' });
  try {
    expect(await backupLedger(reader, to)).toEqual({ file: to, sizeBytes: statSync(to).size });
  } finally {
    reader.close();
  }
}

const refusedOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  if (error instanceof BackupRefused || error instanceof LedgerError) return error.message;
  throw error;
};

const others = (): string[] => readdirSync(directory.path).filter((name) => name.includes('.new'));

describe('a copy', () => {
  it('holds all that was committed, is one file for its owner alone, and can take the place of the ledger', async () => {
    await backup();
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory.path).filter((name) => name.startsWith('copy.db'))).toEqual(['copy.db']);
    const restored = openLedger(copy);
    expect(restored.countKnown(at.bindingId)).toBe(2_000);
    expect(restored.lastRuns('nightly', 9)).toHaveLength(1);
    restored.close();
    expect(others()).toEqual([]);
  });

  it('is one moment of a ledger that is written meanwhile', async () => {
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i += 1) {
        ledger.record(delivered(at, `meanwhile-${i}`));
        ledger.flush();
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await backup();
    writing = false;
    await writer;
    const restored = openLedger(copy, { access: 'read-only' });
    const known = [...restored.known(at.bindingId)].map(({ path }) => path);
    expect(known.filter((path) => path.startsWith('f'))).toHaveLength(2_000);
    const numbers = known.filter((path) => path.startsWith('m')).map((path) => Number(path.split('-')[1]));
    // Those that were there, without a gap.
    expect(numbers.sort((a, b) => a - b)).toEqual(numbers.map((_, i) => i));
    restored.close();
    expect(ledger.countKnown(at.bindingId)).toBeGreaterThanOrEqual(known.length);
  });

  it('takes the place of an earlier one, and of an empty file', async () => {
    writeFileSync(copy, '');
    await backup();
    ledger.record(delivered(at, 'later'));
    ledger.flush();
    await backup();
    const restored = openLedger(copy, { access: 'read-only' });
    expect(restored.countKnown(at.bindingId)).toBe(2_001);
    restored.close();
  });
});

describe('a copy is refused', () => {
  it('where it would take the place of something else', async () => {
    writeFileSync(copy, 'my thesis');
    expect(await refusedOf(backup())).toContain(`${copy} exists and is no copy of a ledger`);
    expect(readFileSync(copy, 'utf8')).toBe('my thesis');
    const other = join(directory.path, 'other.db');
    const database = new Database(other);
    database.exec('CREATE TABLE recipes (name TEXT)');
    database.close();
    const before = digestOf(other);
    expect(await refusedOf(backup(other))).toContain('exists and is no copy');
    expect(digestOf(other)).toBe(before);
    mkdirSync(join(directory.path, 'there'));
    expect(await refusedOf(backup(join(directory.path, 'there')))).toContain('exists and is no copy');
  });

  it('where it would take the place of the ledger, by whatever name, or of one that is in use', async () => {
    const before = digestOf(file);
    expect(await refusedOf(backup(file))).toContain('is the ledger itself');
    symlinkSync(file, copy);
    expect(await refusedOf(backup())).toContain('is the ledger itself');
    const other = join(directory.path, 'other.db');
    openLedger(other).close();
    mkdirSync(lockDirectory(other));
    expect(await refusedOf(backup(other))).toContain('is a ledger that a ferryd works with');
    expect(digestOf(file)).toBe(before);
  });

  it('where there is no directory for it', async () => {
    expect(await refusedOf(backup(join(directory.path, 'mnt', 'copy.db')))).toContain('Is its disk mounted?');
    expect(existsSync(join(directory.path, 'mnt'))).toBe(false);
  });
});

it('a damaged ledger makes no copy, and leaves the earlier one as it is', async () => {
  await backup();
  const earlier = digestOf(copy);
  ledger.close();
  const bytes = readFileSync(file);
  for (let page = 30; page < 50; page += 1) bytes.fill(0xee, page * 4096, page * 4096 + 2_000);
  writeFileSync(file, bytes);
  expect(await refusedOf(backup())).toMatch(/damaged .*an earlier one stands as it was/);
  expect(digestOf(copy)).toBe(earlier);
  expect(others()).toEqual([]);
  ledger = openLedger(join(directory.path, 'another.db'));
});
