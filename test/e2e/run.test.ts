/*
 * check, plan and run as a person types them, against the scripted FTPS server: what they print, where, and what
 * they leave alone.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { FerrydEvent } from '../../src/report/event.js';
import { FERRYD } from './command.js';
import { PASSWORD, pathsBelow, resultOf, Stage } from './stage.js';

/** Every event name that there is; the compiler holds it against the union, in both directions. */
const EVENTS: Readonly<Record<FerrydEvent['event'], true>> = {
  'daemon.started': true,
  'daemon.stopping': true,
  'daemon.stopped': true,
  'job.loaded': true,
  'configuration.problem': true,
  'trigger.fired': true,
  'trigger.problem': true,
  'run.started': true,
  'run.waiting': true,
  'run.ended': true,
  'hook.started': true,
  'hook.output': true,
  'hook.ended': true,
  'run.recovered': true,
  'file.uploaded': true,
  'file.downloaded': true,
  'file.retry': true,
  'file.skipped': true,
  'file.ignored': true,
  'file.waiting': true,
  'file.deleted': true,
  'file.conflict': true,
  'link.outside': true,
  'trash.pruned': true,
  'scan.problem': true,
  'connection.opened': true,
  'connection.retry': true,
  'server.learned': true,
  'daemon.stuck': true,
  'daemon.loose': true,
  'daemon.unheard': true,
  'daemon.heard': true,
  'ledger.replaced': true,
  'ledger.tended': true,
  'ledger.problem': true,
  'job.removed': true,
  'notice.sent': true,
  'notice.failed': true,
  wire: true,
};

describe('check', () => {
  test('all mistakes of all files at once, each with its place first, and exit code 2', async () => {
    await using stage = await Stage.open();
    await stage.write('jobs/servers.yaml', 'nas:\n  url: ftpes://nas.example\n  usr: backup\n');
    await stage.write(
      'jobs/nightly.yaml',
      'from: ../source\nto: naas:in\ninclde: ["*"]\nretries: { attempts: none }\n',
    );
    await stage.write('jobs/broken.yaml', 'from: [\n');
    await stage.write('jobs/good.yaml', 'from: ../source\nto: { url: "ftpes://nas.example" }\n');
    const { code, stdout, stderr } = await stage.ferryd('check');
    expect(code).toBe(2);
    expect(stderr).toBe('');
    const lines = stdout.trimEnd().split('\n');
    const last = lines.pop();
    for (const line of lines) expect(line).toMatch(/^jobs\/[a-z]+\.yaml:\d+:\d+: (error|warning): /);
    const of = (file: string): string[] =>
      lines
        .filter((line) => line.includes(`jobs/${file}.yaml:`))
        .map((line) => line.replace(/^.*\.yaml:/, ''));
    expect(of('nightly')).toEqual([
      expect.stringMatching(/^2:5: error: .*naas.*did you mean "nas"/),
      expect.stringMatching(/^3:1: error: .*did you mean "include"/),
      expect.stringMatching(/^4:\d+: error: .*attempts/),
    ]);
    expect(of('broken')[0]).toMatch(/^\d+:\d+: error: /);
    expect(of('servers')[0]).toMatch(/^3:3: error: .*did you mean "user"/);
    expect(of('good').filter((line) => line.includes('error'))).toEqual([]);
    expect(last).toMatch(/^1 job ready to run in .*jobs, \d+ mistakes, \d+ warnings?\.$/);
  });

  test('with --json one object a line; nothing wrong is 0', async () => {
    await using stage = await Stage.open();
    await stage.write('jobs/bad.yaml', 'from: ../source\nto: nas:in\n');
    const bad = await stage.ferryd('--json', 'check');
    expect(bad.code).toBe(2);
    for (const line of bad.stdout.trimEnd().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({ file: stage.at('jobs/bad.yaml'), line: 2, severity: 'error' });
    }
    await rm(stage.at('jobs/bad.yaml'));
    await stage.writeNas({ url: 'ftpes://nas.example' });
    await stage.writePush('good');
    const good = await stage.ferryd('check');
    expect(good).toMatchObject({ code: 0, stderr: '' });
    expect(good.stdout).toBe(`1 job ready to run in ${stage.at('jobs')}, 0 mistakes, 0 warnings.\n`);
  });

  test('it runs the example jobs of the repository without a mistake', async () => {
    await using stage = await Stage.open();
    const { code, stdout } = await stage.ferryd(
      '--jobs',
      new URL('../../jobs', import.meta.url).pathname,
      'check',
    );
    expect(stdout).toContain('0 mistakes');
    expect(code).toBe(0);
  });
});

describe('plan', () => {
  test('shows exactly what run does, and changes nothing', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { exclude: ['*.tmp'] });
    for (const path of ['a.txt', 'empty', 'deep/er/b.bin', 'ümläut 日本.txt']) {
      await stage.write(`source/${path}`, path === 'empty' ? '' : `content of ${path}`);
    }
    await stage.write('source/left.tmp', 'x');
    await stage.settled();
    const before = await pathsBelow(stage.directory.path);

    const planned = await stage.ferryd('--json', 'plan', 'nightly');
    expect(planned.code).toBe(0);
    expect(await pathsBelow(stage.directory.path)).toEqual(before);
    expect(existsSync(stage.ledger)).toBe(false);
    // As a first run would, it looks at what is there already.
    expect(server.journal.of('MLSD')).toHaveLength(1);
    expect(server.journal.stored).toBe(0);

    const ran = await stage.run('nightly');
    const uploads = (lines: string): string[] =>
      lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { action: string; path: string })
        .filter(({ action }) => action === 'upload')
        .map(({ path }) => path)
        .sort();
    expect(uploads(planned.stdout)).toHaveLength(4);
    expect(
      ran.log
        .filter(({ event }) => event === 'file.uploaded')
        .map(({ path }) => path)
        .sort(),
    ).toEqual(uploads(planned.stdout));

    const again = await stage.ferryd('plan', 'nightly');
    expect(again.stdout).toBe('A run would upload 0 files (0 B); 4 unchanged.\n');
    await stage.write('source/a.txt', 'something else');
    const connections = server.journal.connections;
    const changed = await stage.ferryd('plan', 'nightly');
    expect(changed.stdout).toMatch(
      /^upload {3}a\.txt {2}\(changed, 14 B\)\nA run would upload 1 file \(14 B\); 3 unchanged\.\n$/,
    );
    expect(server.journal.connections).toBe(connections);
    const one = await stage.run('nightly');
    expect(one.result).toMatchObject({ uploaded: 1, unchanged: 3, bytes: 14 });
  });

  test('of a pull asks for listings and fetches nothing', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.write('remote/out/a.txt', 'from afar');
    await mkdir(stage.at('target'));
    await stage.writeJob('fetch', { from: 'nas:out', to: '../target' });
    const planned = await stage.ferryd('plan', 'fetch');
    expect(planned.stdout).toMatch(/^download a\.txt {2}\(new, 9 B\)\nA run would download 1 file/);
    expect(server.journal.of('RETR')).toHaveLength(0);
    expect(await pathsBelow(stage.at('target'))).toEqual([]);
    expect((await stage.run('fetch')).result).toMatchObject({ outcome: 'ok', downloaded: 1 });
    expect(await readFile(stage.at('target/a.txt'), 'utf8')).toBe('from afar');
  });
});

describe('run', () => {
  test('--json prints one line a job with these keys in this order, the log goes to standard error', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('one');
    await stage.writePush('two', { to: 'nas:other' });
    await stage.write('source/a.txt', 'twelve bytes');
    const ended = await stage.ferryd('--json', 'run', 'one', 'two');
    expect(ended.code).toBe(0);
    const results = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const result of results) {
      expect(Object.keys(result)).toEqual(
        'job, run, outcome, uploaded, downloaded, deleted, renamed, skipped, unchanged, bytes, durationMs, failure'.split(
          ', ',
        ),
      );
    }
    expect(results).toEqual([
      expect.objectContaining({ job: 'one', run: 1, outcome: 'ok', uploaded: 1, bytes: 12, failure: null }),
      expect.objectContaining({ job: 'two', run: 2, outcome: 'ok', uploaded: 1, bytes: 12, failure: null }),
    ]);

    expect(ended.words).toEqual([]);
    expect(ended.log.map(({ event }) => event).filter((event) => !Object.hasOwn(EVENTS, event))).toEqual([]);
    for (const line of ended.log) {
      expect(Object.keys(line).slice(0, 3)).toEqual(['time', 'level', 'event']);
      expect(new Date(line.time).toISOString()).toBe(line.time);
      expect(line.message).not.toBe('');
    }
    expect(ended.log.filter(({ job }) => job === 'one').map(({ event }) => event)).toEqual([
      'run.started',
      'file.uploaded',
      'run.ended',
    ]);
    expect(ended.log.find(({ event }) => event === 'file.uploaded')).toMatchObject({
      job: 'one',
      run: 1,
      path: 'a.txt',
      bytes: 12,
      attempt: 1,
    });
  });

  test('files, directories, names and times arrive as they are; a second run opens no connection', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    const content: Record<string, Buffer> = {
      empty: Buffer.alloc(0),
      'a/b/c/deep.bin': Buffer.alloc(3_000_000, 'ferryd'),
      'Grüße – 日本 🚢.txt': Buffer.from('names'),
      '.hidden': Buffer.from('too'),
      'it\'s a "quoted" name': Buffer.from('x'),
    };
    for (const [path, bytes] of Object.entries(content)) await stage.write(`source/${path}`, bytes);
    await utimes(stage.at('source/a/b/c/deep.bin'), 1_600_000_000, 1_600_000_000);
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(0);
    expect(result).toMatchObject({ outcome: 'ok', uploaded: 5, skipped: 0, bytes: 3_000_009 });
    expect(await stage.differences('remote/in', content)).toEqual([]);
    expect((await stat(stage.at('remote/in/a/b/c/deep.bin'))).mtimeMs).toBe(1_600_000_000_000);

    const { connections, dataConnections, listings } = server.journal;
    const second = await stage.run('nightly');
    expect(second.result).toMatchObject({ outcome: 'ok', uploaded: 0, unchanged: 5, bytes: 0 });
    expect(server.journal).toMatchObject({ connections, dataConnections, listings });
  });

  test('what is read on a terminal is a sentence a line, not JSON', async ({ skip }) => {
    if (!existsSync('/usr/bin/script')) {
      process.stderr.write('\n*** SKIPPED: the log on a terminal. It needs script(1) of util-linux.\n\n');
      skip();
    }
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    const terminal = stage.start(
      ['-qec', `'${process.execPath}' '${FERRYD}' run nightly`, stage.at('typescript')],
      { program: ['/usr/bin/script'], env: { NO_COLOR: '1' } },
    );
    const { code, stdout } = await terminal.inTime();
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split(/\r?\n/);
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info {2}nightly: a\.txt: uploaded, 1 B in .*\.$/,
      ),
    );
    expect(lines.at(-1)).toMatch(/^nightly: ok, 1 uploaded, /);
    expect(stdout).not.toContain('{');
  });

  test('without --json a sentence says how it ended', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    const { stdout } = await stage.ferryd('run', 'nightly');
    expect(stdout).toMatch(/^nightly: ok, 1 uploaded, 1 B, in .*\.\n$/);
  });

  test('a refused file is asked again only with --retry-skipped', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await mkdir(stage.at('remote/in'));
    await writeFile(stage.at('source/a.txt'), 'x');
    server.script({ on: 'STOR', nth: 'every', do: { kind: 'reply', text: '553 Not this one.' } });
    expect((await stage.run('nightly')).code).toBe(3);
    server.behave();
    const stored = server.journal.of('STOR').length;
    expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'partial', skipped: 1 });
    expect(server.journal.of('STOR')).toHaveLength(stored);
    expect((await stage.run('nightly', '--retry-skipped')).result).toMatchObject({
      outcome: 'ok',
      uploaded: 1,
    });
  });

  test('two jobs of which one fails: both are told, the graver code counts', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('broken', { from: '../nowhere' });
    await stage.writePush('good');
    await stage.write('source/a.txt', 'x');
    const { code, stdout } = await stage.ferryd('--json', 'run', 'broken', 'good');
    expect(code).toBe(1);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { outcome: string }).outcome),
    ).toEqual(['failed', 'ok']);
  });

  test('plain FTP to another machine is warned of at every load', async () => {
    await using stage = await Stage.open();
    await stage.write(
      'jobs/servers.yaml',
      'nas:\n  url: ftp://nas.example\n  user: ferry\n  password: { env: NAS_PASSWORD }\n',
    );
    await stage.writePush('nightly');
    const { code, stdout } = await stage.ferryd('check');
    expect(code).toBe(0);
    expect(stdout).toMatch(/servers\.yaml:2:\d+: warning: .*\n.*1 warning\.\n$/);
    expect(stdout).not.toContain(PASSWORD);
  });
});

test('history and status of a machine where nothing ran', async () => {
  await using stage = await Stage.open();
  await stage.writeNas({ url: 'ftpes://nas.example' });
  await stage.writePush('nightly', { description: 'Every night', triggers: [{ cron: '30 2 * * *' }] });
  expect((await stage.ferryd('history')).stdout).toBe('There is no ledger yet: no job has run.\n');
  const { stdout, code } = await stage.ferryd('status');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^No daemon is running: nothing starts by itself\.\n\nnightly: Every night\n/);
  expect(stdout).toMatch(
    / {2}last run {2}never\n {2}next run {2}\d{4}-\d\d-\d\d 02:30:00, once the daemon is started\n/,
  );
  expect((await stage.ferryd('status', 'nope')).code).toBe(2);
  expect(existsSync(stage.ledger)).toBe(false);
});

test('history tells runs and their files, newest first, readable and as JSON', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly');
  await stage.write('source/a.txt', 'x');
  const first = resultOf(await stage.ferryd('--json', 'run', 'nightly'));
  await stage.write('source/b.txt', 'yy');
  await stage.run('nightly');
  const runs = (await stage.ferryd('--json', 'history', 'nightly')).stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(runs).toEqual([
    expect.objectContaining({
      run: 2,
      job: 'nightly',
      trigger: 'by hand',
      outcome: 'ok',
      uploaded: 1,
      bytes: 2,
    }),
    expect.objectContaining({ run: first.run, outcome: 'ok', uploaded: 1, bytes: 1, failure: null }),
  ]);
  expect((await stage.ferryd('history', '--limit', '1')).stdout).toMatch(
    /^run 2 .*nightly {2}by hand {2}ok, 1 uploaded/,
  );
  expect((await stage.ferryd('history', '--run', '2')).stdout).toMatch(/ {2}uploaded {2}b\.txt {2}2 B in /);
  expect((await stage.ferryd('history', '--limit', 'many')).code).toBe(2);
});
