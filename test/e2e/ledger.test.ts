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

describe('a ledger that the disk has spoilt', () => {
  async function spoilt(stage: Stage): Promise<void> {
    for (let i = 0; i < 120; i += 1) await stage.write(`source/${'n'.repeat(180)}/${i}.txt`, `${i}`);
    expect((await stage.ferryd('run', 'nightly')).code).toBe(0);
    const bytes = await readFile(stage.ledger);
    for (let page = 5; page < bytes.length / 4096; page += 1) {
      bytes.fill(0xee, page * 4096, page * 4096 + 2_000);
    }
    await writeFile(stage.ledger, bytes);
  }

  const aside = async (stage: Stage): Promise<string[]> =>
    (await readdir(stage.directory.path)).filter((name) => name.startsWith('ledger.db.damaged-'));

  test('is told by those who only read, and replaced by the next run, which sends nothing again', async () => {
    await using stage = await prepared();
    await using server = await stage.server();
    await stage.writeNas(server);
    await spoilt(stage);
    const before = await hash(stage.ledger);
    const { code, words } = await stage.ferryd('history');
    expect(code).toBe(1);
    expect(words[0]).toContain('is damaged');
    expect(await hash(stage.ledger)).toBe(before);
    const stores = server.journal.of('STOR').length;
    const ended = await stage.run('nightly');
    expect(ended.result).toMatchObject({ outcome: 'ok', uploaded: 0, unchanged: 121 });
    expect(ended.log).toContainEqual(expect.objectContaining({ event: 'ledger.replaced', level: 'error' }));
    expect(server.journal.of('STOR').length).toBe(stores);
    const [name = ''] = await aside(stage);
    expect(await hash(stage.at(name))).toBe(before);
    // It is said once, and the new one is as good as any.
    const next = await stage.run('nightly');
    expect(next.result).toMatchObject({ outcome: 'ok', unchanged: 121 });
    expect(next.log).not.toContainEqual(expect.objectContaining({ event: 'ledger.replaced' }));
    expect(await aside(stage)).toHaveLength(1);
  });

  test('is replaced by a daemon that starts, and left by a run beside one that works', async () => {
    await using stage = await prepared();
    await using server = await stage.server();
    await stage.writeNas(server);
    await spoilt(stage);
    const daemon = await stage.daemon();
    expect(await aside(stage)).toHaveLength(1);
    expect(daemon.log).toContainEqual(expect.objectContaining({ event: 'ledger.replaced' }));
    const { code } = await stage.ferryd('run', 'nightly');
    expect(code).toBe(0);
    daemon.signal('SIGTERM');
    expect((await daemon.inTime()).code).toBe(0);
    expect(await aside(stage)).toHaveLength(1);
  });
});

describe('backup', () => {
  test('copies the ledger beside a daemon, and the copy knows what the ledger knows', async () => {
    await using stage = await prepared();
    await using server = await stage.server();
    await stage.writeNas(server);
    expect(await stage.ferryd('backup', stage.at('copy.db'))).toMatchObject({ code: 2, stdout: '' });
    expect((await stage.ferryd('run', 'nightly')).code).toBe(0);
    const daemon = await stage.daemon();
    const told = await stage.ferryd('backup', stage.at('copy.db'));
    expect(told).toMatchObject({ code: 0, words: [] });
    expect(told.stdout).toMatch(
      /^The ledger .*ledger\.db is copied to .*copy\.db \(.*\), and the copy is whole\.\n$/,
    );
    const again = await stage.ferryd('--json', 'backup', stage.at('copy.db'));
    expect(JSON.parse(again.stdout)).toMatchObject({ ledger: stage.ledger, backup: stage.at('copy.db') });
    daemon.signal('SIGTERM');
    expect((await daemon.inTime()).code).toBe(0);
    const { stdout } = await stage.ferryd('--ledger', stage.at('copy.db'), '--json', 'history');
    expect(stdout).toContain('"uploaded":1');
    const connections = server.journal.connections;
    expect((await stage.ferryd('--ledger', stage.at('copy.db'), 'run', 'nightly')).code).toBe(0);
    // Where the copy takes the place of the ledger, nothing is asked of the server.
    expect(server.journal.connections).toBe(connections);
  });

  test('overwrites nothing else: exit code 2', async () => {
    await using stage = await prepared();
    await using server = await stage.server();
    await stage.writeNas(server);
    expect((await stage.ferryd('run', 'nightly')).code).toBe(0);
    await stage.write('thesis.txt', 'my thesis');
    const refused = await stage.ferryd('backup', stage.at('thesis.txt'));
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.words[0]).toContain('is not overwritten');
    expect(await readFile(stage.at('thesis.txt'), 'utf8')).toBe('my thesis');
    expect((await stage.ferryd('backup', stage.ledger)).code).toBe(2);
  });
});
