/*
 * Where the log goes: standard error as JSON, as readable text with priorities where that is the journal, and the
 * daemon's log file beside it, which a reload may change.
 */
import { readFile, rm } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { FERRYD } from './command.js';
import { Stage, type Written } from './stage.js';

interface Line {
  readonly event: string;
  readonly level: string;
  readonly path?: string;
}

async function linesIn(stage: Stage, path: string): Promise<Line[]> {
  const text = await readFile(stage.at(path), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

const agent = (stage: Stage, log: Written): Promise<void> =>
  stage.write('jobs/agent.yaml', JSON.stringify({ log }));

test('the daemon logs to a file what it logs on standard error, and a reload changes where and what', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly', { triggers: [{ watch: { settle: '50ms' } }] });
  await agent(stage, { files: 'hide', file: { path: '../log/first.log' } });
  await stage.write('source/a.txt', 'a');
  const daemon = await stage.daemon();
  await daemon.until('run.ended');

  await agent(stage, { files: 'show', file: { path: '../log/second.log', size: '1M', keep: 2 } });
  daemon.signal('SIGHUP');
  await vi.waitFor(
    async () => {
      await stage.write('source/b.txt', `${Math.random()}`);
      expect((await linesIn(stage, 'log/second.log')).map(({ event }) => event)).toContain('file.uploaded');
    },
    { timeout: 15_000, interval: 300 },
  );
  const { code, log } = await daemon.end('SIGTERM');
  expect(code).toBe(0);
  const [first, second] = [await linesIn(stage, 'log/first.log'), await linesIn(stage, 'log/second.log')];
  // No line is lost over the reload, none is there twice.
  expect([...first, ...second]).toEqual(log);
  expect(first.map(({ event }) => event)).toEqual(expect.arrayContaining(['daemon.started', 'run.ended']));
  expect(first.filter(({ event }) => event.startsWith('file.'))).toEqual([]);
  expect(second.at(-1)?.event).toBe('daemon.stopped');
});

test('a log file that cannot be written keeps nobody, and is told', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly', { triggers: [{ cron: '* * * * * *' }] });
  await stage.write('in-the-way', '');
  await agent(stage, { file: { path: '../in-the-way/ferryd.log' } });
  await stage.write('source/a.txt', 'a');
  const daemon = await stage.daemon();
  await daemon.until('run.ended', ({ outcome }) => outcome === 'ok');
  const told = await daemon.until('log.file');
  expect(told).toMatchObject({ level: 'warn', message: expect.stringContaining('ENOTDIR') });
  await rm(stage.at('in-the-way'));
  const { code, log } = await daemon.end('SIGTERM');
  expect(code).toBe(0);
  // The end is one more try.
  const written = await linesIn(stage, 'in-the-way/ferryd.log');
  expect(written).toEqual(log.filter(({ event }) => event !== 'log.file'));
});

test('in the journal each line is text with a priority; a command by hand leaves the log file alone', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly');
  await agent(stage, { file: { path: '../log/ferryd.log' } });
  await stage.write('source/a.txt', 'a');
  const script = 'exec 2> err; JOURNAL_STREAM=$(stat -c %d:%i err); export JOURNAL_STREAM; exec "$0" "$@"';
  const program = ['/bin/sh', '-c', script, process.execPath, FERRYD];
  const run = await stage.start(['run', 'nightly'], { program }).inTime();
  expect(run).toMatchObject({ code: 0, stderr: '' });
  const lines = (await readFile(stage.at('err'), 'utf8')).split('\n').slice(0, -1);
  expect(lines.length).toBeGreaterThan(2);
  for (const line of lines) expect(line).toMatch(/^<[3467]>[^\d{]/);
  expect(lines).toContainEqual(expect.stringMatching(/^<6>nightly: Run 1: ok, 1 uploaded/));
  await expect(readFile(stage.at('log/ferryd.log'))).rejects.toThrow('ENOENT');

  // The same variable, inherited by something whose output goes elsewhere, means nothing.
  const other = await stage.start(['run', 'nightly'], { env: { JOURNAL_STREAM: '8:4711' } }).inTime();
  expect(other.log.map(({ event }) => event)).toContain('run.ended');
});
