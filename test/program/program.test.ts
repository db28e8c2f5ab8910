/* How programs end: by themselves, in time, by a signal, not at all; and what is heard of them meanwhile. */
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { endWords, type ProgramOptions, runProgram } from '../../src/program/program.js';
import { startChild } from '../ledger/child.js';
import { compileSource } from '../run/support/child.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
beforeAll(async () => {
  directory = await temporaryDirectory('program');
});
afterAll(() => directory.remove());

const PATH = '/usr/bin:/bin';

function shell(script: string, options: Partial<ProgramOptions> = {}): ProgramOptions {
  return { argv: ['/bin/sh', '-c', script], environment: { PATH }, timeLimitMs: 20_000, ...options };
}

async function heard(script: string, options: Partial<ProgramOptions> = {}) {
  const lines: string[] = [];
  const onLine = (line: string, stream: string): void => void lines.push(`${stream}: ${line}`);
  const end = await runProgram(shell(script, { onLine, ...options }));
  return { end, lines };
}

/** False where the process is gone, or a zombie that nobody has taken away. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function pidIn(name: string): Promise<number> {
  return vi.waitFor(
    async () => {
      const pid = Number(await readFile(directory.join(name), 'utf8'));
      expect(pid).toBeGreaterThan(1);
      return pid;
    },
    { timeout: 10_000, interval: 10 },
  );
}

async function untilGone(pid: number): Promise<void> {
  await vi.waitFor(async () => expect(await isRunning(pid)).toBe(false), { timeout: 10_000, interval: 10 });
}

describe('a program', () => {
  test.each([0, 1, 7, 255])('ends with exit code %i', async (code) => {
    expect(await runProgram(shell(`exit ${code}`))).toEqual({ kind: 'ended', code, droppedBytes: 0 });
  });

  test('is ended by a signal of its own', async () => {
    expect(await runProgram(shell('kill -KILL $$'))).toEqual({
      kind: 'killed',
      signal: 'SIGKILL',
      droppedBytes: 0,
    });
  });

  test('gets its arguments as they are, and no shell', async () => {
    const lines: string[] = [];
    const argv = ['printf', '%s\\n', '$HOME; *', "it's"];
    await runProgram({ ...shell(''), argv, onLine: (line) => lines.push(line) });
    expect(lines).toEqual(['$HOME; *', "it's"]);
  });

  test('has the environment that it is given, and no other', async () => {
    const { lines } = await heard('env | sort', { environment: { PATH, A: '1', B: undefined } });
    expect(lines).toEqual(expect.arrayContaining(['output: A=1', `output: PATH=${PATH}`]));
    expect(lines.filter((line) => /: (B|HOME|USER|NODE_.*|VITEST.*)=/.test(line))).toEqual([]);
  });

  test('has the working directory that it is given', async () => {
    await mkdir(directory.join('work'));
    const { lines } = await heard('pwd -P', { directory: directory.join('work') });
    expect(lines).toEqual([`output: ${await real(directory.join('work'))}`]);
  });

  test('reads its input to the end, or none', async () => {
    expect((await heard('cat', { input: 'one\ntwo' })).lines).toEqual(['output: one', 'output: two']);
    expect((await heard('cat; echo end')).lines).toEqual(['output: end']);
  });

  test('may leave its input alone', async () => {
    const { end } = await heard('exec true', { input: 'x'.repeat(1_000_000) });
    expect(end).toMatchObject({ kind: 'ended', code: 0 });
  });

  test('leads a group of its own', async () => {
    const { lines } = await heard('ps -o pgid= -p $$; echo $$');
    const [group, own] = lines.map((line) => Number(line.slice('output: '.length)));
    expect(group).toBe(own);
  });
});

describe('a program that cannot be started', () => {
  test.each([
    [['/nowhere/dump'], 'ENOENT', 'was not found'],
    [['no-such-program-anywhere'], 'ENOENT', 'was not found'],
    [['/dev/null'], 'EACCES', 'may not be run'],
    [['true', 'x'.repeat(3_000_000)], 'E2BIG', 'its arguments and environment are too long'],
  ])('is told: %#', async (argv, code, words) => {
    const end = await runProgram({ ...shell(''), argv });
    expect(end).toMatchObject({ kind: 'not-started', code, message: expect.stringContaining(words) });
  });

  test.each([[[]], [['']], [['true', 'a\0b']]])('as no system takes it: %j', async (argv) => {
    expect(await runProgram({ ...shell(''), argv })).toMatchObject({ kind: 'not-started' });
  });

  test('for want of its directory', async () => {
    const end = await runProgram(shell('true', { directory: directory.join('gone') }));
    expect(end).toMatchObject({ kind: 'not-started', code: 'ENOENT' });
    expect(endWords(end, { timeLimitMs: 1 })).toBe(
      `cannot be started: there is no directory ${directory.join('gone')} to start it in`,
    );
  });

  test('because it is called off already', async () => {
    const file = directory.join('never');
    const end = await runProgram(shell(`touch ${file}`, { signal: AbortSignal.abort() }));
    expect(end).toEqual({ kind: 'stopped', droppedBytes: 0 });
    await expect(readFile(file)).rejects.toThrow('ENOENT');
  });
});

describe('output', () => {
  test('comes line by line, each stream in order, the last one without an end too', async () => {
    const { lines } = await heard('echo a; echo; printf b; echo x >&2; printf y >&2');
    expect(lines.filter((line) => line.startsWith('output'))).toEqual(['output: a', 'output: ', 'output: b']);
    expect(lines.filter((line) => line.startsWith('error'))).toEqual(['error: x', 'error: y']);
  });

  test('is bounded as a whole, and the rest is counted', async () => {
    const { lines, end } = await heard('i=0; while [ $i -lt 1000 ]; do echo 123456789; i=$((i+1)); done', {
      maxOutputBytes: 95,
    });
    expect(lines).toEqual([...new Array(9).fill('output: 123456789'), 'output: 12345']);
    expect(end).toEqual({ kind: 'ended', code: 0, droppedBytes: 9_905 });
  });

  test('is read as it comes, whatever becomes of its lines', async () => {
    let bytes = 0;
    const end = await runProgram(
      shell('head -c 3000000 /dev/zero', {
        onBytes: (chunk) => {
          bytes += chunk.length;
        },
      }),
    );
    expect({ bytes, end }).toEqual({ bytes: 3_000_000, end: { kind: 'ended', code: 0, droppedBytes: 0 } });
  });

  test('that nobody listens to goes nowhere', async () => {
    expect(await runProgram(shell('echo a; head -c 1000000 /dev/zero >&2'))).toMatchObject({ code: 0 });
  });

  test('held open by what was left in the background does not keep it', async () => {
    const file = 'background';
    const { end, lines } = await heard(`sleep 60 & echo $! > ${directory.join(file)}; echo done; exit 3`);
    expect(end).toMatchObject({ kind: 'ended', code: 3 });
    expect(lines).toEqual(['output: done']);
    const pid = await pidIn(file);
    // What it has left on purpose is left alone.
    expect(await isRunning(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });
});

describe('time', () => {
  test('that is up ends the program, and all that it has started', async () => {
    const file = directory.join('child');
    const end = await runProgram(shell(`sleep 60 & echo $! > ${file}; wait`, { timeLimitMs: 300 }));
    expect(end).toEqual({ kind: 'timed-out', droppedBytes: 0 });
    expect(endWords(end, { timeLimitMs: 300 })).toBe('did not finish within 0.3 s and was ended');
    expect(await isRunning(await pidIn('child'))).toBe(false);
  });

  test('is given to tidy up, and what it then says is heard', async () => {
    const { end, lines } = await heard(
      'trap "echo tidy; exit 0" TERM; echo up; while :; do sleep 0.01; done',
      {
        timeLimitMs: 400,
      },
    );
    expect(end.kind).toBe('timed-out');
    // The shell may add that its `sleep` was ended.
    expect(lines.filter((line) => line.startsWith('output'))).toEqual(['output: up', 'output: tidy']);
  });

  test('does not last for ever: what ignores the request is killed', async () => {
    const file = directory.join('stubborn');
    const began = performance.now();
    const end = await runProgram(
      shell(`trap "" TERM; echo $$ > ${file}; while :; do sleep 0.05; done`, {
        timeLimitMs: 300,
        graceMs: 200,
      }),
    );
    expect(end.kind).toBe('timed-out');
    expect(performance.now() - began).toBeGreaterThan(490);
    expect(await isRunning(await pidIn('stubborn'))).toBe(false);
  });

  test('may be longer than a timer of the system takes', async () => {
    expect(await runProgram(shell('exit 0', { timeLimitMs: 1e12 }))).toMatchObject({ code: 0 });
  });
});

describe('a stop', () => {
  test('ends the program, a stopped one too', async () => {
    const stop = new AbortController();
    const running = runProgram(
      shell(`echo $$ > ${directory.join('stopped')}; kill -STOP $$; echo on`, { signal: stop.signal }),
    );
    const pid = await pidIn('stopped');
    await vi.waitFor(
      async () => expect(await readFile(`/proc/${pid}/status`, 'utf8')).toMatch(/State:\s+T/),
      {
        timeout: 10_000,
        interval: 10,
      },
    );
    stop.abort();
    expect(await running).toEqual({ kind: 'stopped', droppedBytes: 0 });
    expect(await isRunning(pid)).toBe(false);
  });

  test('that comes after the end changes nothing', async () => {
    const stop = new AbortController();
    const end = await runProgram(shell('exit 4', { signal: stop.signal }));
    stop.abort();
    expect(end).toMatchObject({ kind: 'ended', code: 4 });
  });

  test('that comes while only its outputs are open leaves the end as it was', async () => {
    const stop = new AbortController();
    const { end } = await heard(`sleep 60 & echo $! > ${directory.join('open')}; echo x; exit 5`, {
      signal: stop.signal,
      onLine: () => setTimeout(() => stop.abort(), 100),
    });
    expect(end).toMatchObject({ kind: 'ended', code: 5 });
    process.kill(await pidIn('open'), 'SIGKILL');
  });
});

/** Lines `PARENT ARGUMENTS` of the shells that mind a program and match. */
async function minders(pattern: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'ppid=,args=']);
  const lines = stdout.split('\n').filter((line) => line.includes('ferryd-minder'));
  return lines.filter((line) => new RegExp(pattern).test(line));
}

describe('ferryd itself killed', () => {
  async function killedWhile(orphan: 'ended' | 'left', name: string): Promise<number> {
    const options = {
      ...shell(`echo $$ > ${directory.join(name)}; exec sleep 60`),
      orphan,
    };
    const keeper = startChild(
      directory.join('compiled'),
      `import { runProgram } from './src/program/program.js';
       await runProgram(JSON.parse(process.argv[2]));`,
      [JSON.stringify(options)],
    );
    const pid = await pidIn(name);
    // The program may be further than its starter, which has yet to start the one who minds it.
    if (orphan === 'ended')
      await vi.waitFor(async () => expect(await minders(`ferryd-minder ${pid}$`)).toHaveLength(1));
    await keeper.end('SIGKILL');
    return pid;
  }

  beforeAll(async () => {
    await mkdir(directory.join('compiled'));
    compileSource(directory.join('compiled'));
  });

  test('the program ends with it where that is asked for', async () => {
    await untilGone(await killedWhile('ended', 'minded'));
  });

  test('and goes on where it is not', async () => {
    const pid = await killedWhile('left', 'unminded');
    expect(await isRunning(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  test('the one who minds is gone with the program', async () => {
    const ours = (): Promise<string[]> => minders(`^ *${process.pid} `);
    const running = runProgram(shell('sleep 0.3', { orphan: 'ended' }));
    expect(await ours()).toHaveLength(1);
    expect(await running).toMatchObject({ code: 0 });
    await vi.waitFor(async () => expect(await ours()).toEqual([]), { timeout: 10_000, interval: 20 });
  });
});

async function real(path: string): Promise<string> {
  const { stdout } = await promisify(execFile)('realpath', [path]);
  return stdout.trim();
}
