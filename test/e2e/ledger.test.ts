/*
 * A ledger that cannot be used: each command says so in a sentence, with its exit code, and leaves the file alone.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { pathsBelow, Stage } from './stage.js';

const COMMANDS = ['run nightly', 'daemon', 'status', 'history', 'plan nightly'];

async function prepared(): Promise<Stage> {
  const stage = await Stage.open();
  await stage.writeNas({ url: 'ftpes://127.0.0.1:1' });
  await stage.writePush('nightly', { triggers: [{ cron: '0 0 1 1 *' }] });
  await stage.write('source/a.txt', 'x');
  return stage;
}

async function hash(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

describe.each([
  ['a text', Buffer.from('This is my diary, not a database.\n'.repeat(100))],
  ['random bytes', createHash('sha256').update('garbage').digest()],
  ['a SQLite header and nothing behind it', Buffer.from('SQLite format 3\0garbage garbage garbage')],
])('a file that is %s', (_what, content) => {
  test.each(COMMANDS)('%s: exit code 2, and not a byte is changed', async (command) => {
    await using stage = await prepared();
    await writeFile(stage.ledger, content);
    const { code, words, stdout } = await stage.ferryd(...command.split(' '));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(words).toHaveLength(1);
    expect(words[0]).toContain(stage.ledger);
    expect(words[0]).toMatch(/is not a ferryd ledger|damaged/);
    expect((await readFile(stage.ledger)).equals(content)).toBe(true);
    expect(await readdir(stage.directory.path)).not.toContain('ledger.db-wal');
  });
});

describe('a ledger of a later ferryd', () => {
  test.each(COMMANDS)(
    '%s %s: a sentence with both versions, exit code 2, and nothing is changed',
    async (command) => {
      await using stage = await prepared();
      const { code: made } = await stage.ferryd('run', 'nightly');
      expect(made).toBe(4);
      const database = new Database(stage.ledger);
      database.pragma('user_version = 9999');
      database.close();
      const before = await hash(stage.ledger);
      const { code, words } = await stage.ferryd(...command.split(' '));
      expect(code).toBe(2);
      expect(words).toHaveLength(1);
      expect(words[0]).toContain('9999');
      expect(words[0]).toContain(stage.ledger);
      expect(await hash(stage.ledger)).toBe(before);
    },
  );
});

test('another database of SQLite is not taken over', async () => {
  await using stage = await prepared();
  const database = new Database(stage.ledger);
  database.exec("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')");
  database.close();
  const before = await hash(stage.ledger);
  const { code, words } = await stage.ferryd('run', 'nightly');
  expect(code).toBe(2);
  expect(words[0]).toContain(stage.ledger);
  expect(await hash(stage.ledger)).toBe(before);
});

test('a directory in its place, or above it a file', async () => {
  await using stage = await prepared();
  await mkdir(stage.ledger);
  expect(await stage.ferryd('run', 'nightly')).toMatchObject({ code: 2, stdout: '' });
  await rm(stage.ledger, { recursive: true });
  await writeFile(stage.at('file'), '');
  const ended = await stage.ferryd('--ledger', stage.at('file/ledger.db'), 'run', 'nightly');
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.words[0]).toContain('file/ledger.db');
});

test('it is made where it is missing, with the directories above it, for its owner alone', async () => {
  await using stage = await prepared();
  await using server = await stage.server();
  await stage.writeNas(server);
  const file = stage.at('state/of/ferryd/ledger.db');
  expect((await stage.ferryd('--ledger', file, 'run', 'nightly')).code).toBe(0);
  const { mode } = await import('node:fs').then(({ statSync }) => statSync(file));
  expect(mode & 0o777).toBe(0o600);
  expect(await pathsBelow(stage.at('remote'))).toEqual(['in/a.txt']);
});
