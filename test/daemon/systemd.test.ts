/*
 * What systemd is told, when, and what happens where it cannot be told. The program that tells it is a script here,
 * or left out; a real systemd hears it in test/systemd.
 */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Supervisor, superviseBySystemd, type Tell } from '../../src/daemon/systemd.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { temporaryDirectory } from '../support/temporary.js';

const WATCHDOG_MS = 20_000;

interface Scene {
  readonly supervisor: Supervisor;
  readonly messages: (readonly string[])[];
  readonly events: FerrydEvent[];
  readonly environment: Record<string, string | undefined>;
}

interface SceneOptions {
  readonly environment?: Record<string, string | undefined>;
  /** How the message of this number ends; well, unless told. */
  readonly tell?: (number: number, signal: AbortSignal) => Promise<void>;
}

function scene(options: SceneOptions = {}): Scene {
  const messages: (readonly string[])[] = [];
  const events: FerrydEvent[] = [];
  const environment = options.environment ?? {
    NOTIFY_SOCKET: '/run/systemd/notify',
    WATCHDOG_USEC: String(WATCHDOG_MS * 1000),
    WATCHDOG_PID: String(process.pid),
  };
  const tell: Tell = async (assignments, signal) => {
    messages.push(assignments);
    await options.tell?.(messages.length, signal);
  };
  const supervisor = superviseBySystemd(environment, { tell, listener: (event) => events.push(event) });
  return { supervisor, messages, events, environment };
}

const names = (events: readonly FerrydEvent[]): string[] => events.map(({ event }) => event);
const signsOfLife = (messages: readonly (readonly string[])[]): number =>
  messages.filter((message) => message.includes('WATCHDOG=1')).length;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

describe('without systemd', () => {
  test('nobody is told, and what is stuck still goes to the log', async () => {
    const { supervisor, messages, events } = scene({ environment: { PATH: '/usr/bin' } });
    let stuck: string | undefined;
    supervisor.starting(1_000);
    supervisor.ready();
    supervisor.reloading();
    supervisor.status('all is well');
    supervisor.watch(() => stuck);
    stuck = 'The ledger has not answered for ten minutes.';
    await vi.advanceTimersByTimeAsync(60_000);
    expect(events).toEqual([
      {
        event: 'daemon.stuck',
        message:
          'ferryd is stuck: The ledger has not answered for ten minutes. Nothing supervises ferryd here: restart it if this does not end by itself.',
      },
    ]);
    supervisor.stopping(1_000);
    await supervisor.stop();
    expect(messages).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([[{}], [{ NOTIFY_SOCKET: '' }]])('no socket in %j: no message', async (environment) => {
    const { supervisor, messages } = scene({ environment });
    supervisor.ready();
    await supervisor.stop();
    expect(messages).toEqual([]);
  });
});

test('what systemd left for ferryd is taken out of the environment, and nothing else', () => {
  const { environment } = scene({
    environment: { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1', PATH: '/bin' },
  });
  expect(environment).toEqual({ PATH: '/bin' });
});

describe('messages', () => {
  test('each change of state is said by itself, in order, with the newest status', async () => {
    const { supervisor, messages } = scene();
    supervisor.status('2 jobs');
    supervisor.ready();
    supervisor.reloading();
    supervisor.ready();
    supervisor.status('3 jobs');
    supervisor.status('4 jobs');
    await vi.advanceTimersByTimeAsync(0);
    expect(messages).toEqual([
      ['STATUS=2 jobs'],
      ['READY=1', 'STATUS=4 jobs'],
      ['RELOADING=1', expect.stringMatching(/^MONOTONIC_USEC=\d+$/)],
      ['READY=1'],
    ]);
    await supervisor.stop();
  });

  test('the time of a reload is the monotonic clock in microseconds', async () => {
    const { supervisor, messages } = scene();
    const before = process.hrtime.bigint() / 1000n;
    supervisor.reloading();
    const after = process.hrtime.bigint() / 1000n;
    await supervisor.stop();
    const said = BigInt(messages[0]?.[1]?.split('=')[1] ?? '0');
    expect(said >= before && said <= after).toBe(true);
  });

  test('start and stop ask for the time that they need', async () => {
    const { supervisor, messages } = scene();
    supervisor.starting(90_000.4);
    // Whatever comes now may block.
    expect(messages).toHaveLength(1);
    supervisor.stopping(25_000);
    await supervisor.stop();
    // A minute for the rest of the start; for the stop what notices and last words take behind the runs.
    expect(messages).toEqual([
      ['EXTEND_TIMEOUT_USEC=150001000'],
      ['STOPPING=1', 'EXTEND_TIMEOUT_USEC=50000000'],
    ]);
  });

  test('a status that changes all the time is shown every five seconds, and at last the newest', async () => {
    const { supervisor, messages } = scene();
    for (let i = 0; i < 25; i += 1) {
      supervisor.status(`file ${i}`);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(messages).toEqual([['STATUS=file 0']]);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(messages).toEqual([['STATUS=file 0'], ['STATUS=file 24']]);
    supervisor.status('file 24');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(messages).toHaveLength(2);
    await supervisor.stop();
  });

  test('a status is one short line', async () => {
    const { supervisor, messages } = scene();
    supervisor.status(`a\nREADY=1\u001b[31m${'x'.repeat(2_000)}`);
    await supervisor.stop();
    expect(messages[0]?.[0]).toMatch(/^STATUS=a\\nREADY=1\\x1b\[31mx+\.\.\.$/);
    expect(messages[0]?.[0]?.length).toBeLessThan(520);
  });
});

describe('the watchdog', () => {
  test('it is fed twice in its time for as long as there is progress', async () => {
    const { supervisor, messages } = scene();
    supervisor.watch(() => undefined);
    await vi.advanceTimersByTimeAsync(5 * WATCHDOG_MS);
    expect(signsOfLife(messages)).toBe(11);
    await supervisor.stop();
    await vi.advanceTimersByTimeAsync(WATCHDOG_MS);
    expect(signsOfLife(messages)).toBe(11);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('what is stuck is told once, before the time is over, and not fed; loose again, it is fed at once', async () => {
    const { supervisor, messages, events } = scene();
    let stuck: string | undefined;
    supervisor.status('2 jobs');
    supervisor.watch(() => stuck);
    await vi.advanceTimersByTimeAsync(1_000);
    const before = signsOfLife(messages);
    stuck = 'The run of outbox has not moved since 10:00.';
    await vi.advanceTimersByTimeAsync(WATCHDOG_MS - 2_000);
    expect(signsOfLife(messages)).toBe(before);
    expect(messages.at(-1)).toEqual([`STATUS=Stuck: ${stuck}`]);
    await vi.advanceTimersByTimeAsync(2 * WATCHDOG_MS);
    expect(names(events)).toEqual(['daemon.stuck']);
    expect(events[0]).toMatchObject({ message: expect.stringContaining('systemd restarts ferryd') });
    stuck = undefined;
    // It looks more often while something is stuck.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(signsOfLife(messages)).toBe(before + 1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(
      messages
        .flat()
        .filter((text) => text.startsWith('STATUS='))
        .at(-1),
    ).toBe('STATUS=2 jobs');
    expect(names(events)).toEqual(['daemon.stuck', 'daemon.loose']);
    await supervisor.stop();
  });

  test('a question that fails is no progress', async () => {
    const { supervisor, messages, events } = scene();
    supervisor.watch(() => {
      throw new Error('out of order');
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(signsOfLife(messages)).toBe(0);
    expect(events[0]).toMatchObject({
      event: 'daemon.stuck',
      message: expect.stringContaining('out of order'),
    });
    await supervisor.stop();
  });

  test.each([
    ['another process is meant', { WATCHDOG_USEC: '1000000', WATCHDOG_PID: '4194305' }],
    ['there is none', {}],
    ['its time is no time', { WATCHDOG_USEC: 'soon' }],
    ['its time is nothing', { WATCHDOG_USEC: '0' }],
  ])('it is not fed where %s', async (_what, environment) => {
    const { supervisor, messages } = scene({ environment: { NOTIFY_SOCKET: '/x', ...environment } });
    supervisor.watch(() => undefined);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(messages).toEqual([]);
    await supervisor.stop();
  });

  test.each([
    ['no process is named', {}],
    ['a wrapper around this one is', { WATCHDOG_PID: String(process.ppid) }],
  ])('it is fed where %s', async (_what, more) => {
    const environment = { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '1000000', ...more };
    const { supervisor, messages } = scene({ environment });
    supervisor.watch(() => undefined);
    await supervisor.stop();
    expect(messages).toEqual([['WATCHDOG=1']]);
  });
});

describe('where systemd cannot be told', () => {
  test('ready is said again until it is heard; the log hears of both, once', async () => {
    const { supervisor, messages, events } = scene({
      tell: async (number) => {
        if (number <= 3) throw new Error('systemd-notify was not found');
      },
    });
    supervisor.ready();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(messages).toEqual(Array(4).fill(['READY=1']));
    expect(names(events)).toEqual(['daemon.unheard', 'daemon.heard']);
    expect(events[0]).toMatchObject({ message: expect.stringContaining('(systemd-notify was not found)') });
    await supervisor.stop();
  });

  test('a lost sign of life is not repeated: it is asked anew, and soon', async () => {
    let stuck: string | undefined;
    const { supervisor, messages } = scene({
      tell: async (number) => {
        if (number === 1) {
          stuck = 'It stands still.';
          throw new Error('busy');
        }
      },
    });
    supervisor.watch(() => stuck);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(messages).toEqual([['WATCHDOG=1'], ['STATUS=Stuck: It stands still.']]);
    stuck = undefined;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(signsOfLife(messages)).toBe(2);
    await supervisor.stop();
  });

  test('the pauses grow to half a minute', async () => {
    const { supervisor, messages } = scene({
      environment: { NOTIFY_SOCKET: '/x' },
      tell: async () => {
        throw new Error('no');
      },
    });
    supervisor.ready();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(messages.length).toBeGreaterThan(20);
    expect(messages.length).toBeLessThan(27);
    await supervisor.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('the stop waits two seconds for the last words, and no longer', async () => {
    let given: AbortSignal | undefined;
    const { supervisor, messages } = scene({
      tell: (_number, signal) =>
        new Promise((_done, failed) => {
          given = signal;
          signal.addEventListener('abort', () => failed(new Error('was ended')));
        }),
    });
    supervisor.stopping(1_000);
    supervisor.status('on the way out');
    const stopped = vi.fn();
    const stop = supervisor.stop().then(stopped);
    await vi.advanceTimersByTimeAsync(1_900);
    expect(stopped).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200);
    expect(stopped).toHaveBeenCalled();
    await stop;
    expect(given?.aborted).toBe(true);
    expect(messages).toHaveLength(1);
    supervisor.ready();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(messages).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('many changes that nobody hears stay few', async () => {
    let deaf = true;
    const { supervisor, messages } = scene({
      environment: { NOTIFY_SOCKET: '/x' },
      tell: async () => {
        if (deaf) throw new Error('no');
      },
    });
    for (let i = 0; i < 100; i += 1) {
      supervisor.reloading();
      supervisor.ready();
    }
    await vi.advanceTimersByTimeAsync(1);
    deaf = false;
    messages.length = 0;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(messages.length).toBeLessThanOrEqual(4);
    expect(messages.at(-1)).toEqual(['READY=1']);
    await supervisor.stop();
  });
});

describe('the program systemd-notify', () => {
  beforeEach(() => {
    vi.useRealTimers();
  });

  test('it is given the socket and the words, and nothing of the environment but PATH', async () => {
    await using directory = await temporaryDirectory('notify');
    const script = `#!/bin/sh\n{ env | grep -v ^PWD= | sort; printf '<%s>' "$@"; echo; } >>'${directory.join('heard')}'\n`;
    await writeFile(directory.join('systemd-notify'), script);
    await chmod(directory.join('systemd-notify'), 0o755);
    const path = `${directory.path}:${process.env.PATH}`;
    const environment = { NOTIFY_SOCKET: '/run/n', PATH: path, NAS_PASSWORD: 'secret' };
    const events: FerrydEvent[] = [];
    const supervisor = superviseBySystemd(environment, { listener: (event) => events.push(event) });
    supervisor.ready();
    supervisor.status('2 jobs; next: nightly $HOME');
    await supervisor.stop();
    const heard = (await readFile(directory.join('heard'), 'utf8'))
      .split('\n')
      .filter((line) => !/^(_|SHLVL|OLDPWD)=/.test(line));
    expect(heard).toEqual([
      'NOTIFY_SOCKET=/run/n',
      `PATH=${path}`,
      '<READY=1>',
      'NOTIFY_SOCKET=/run/n',
      `PATH=${path}`,
      '<STATUS=2 jobs; next: nightly $HOME>',
      '',
    ]);
    expect(events).toEqual([]);
  });

  test.each([
    ['that fails', '#!/bin/sh\necho no such socket >&2\nexit 1\n', /ended with exit code 1: no such socket/],
    ['that is missing', undefined, /was not found/],
  ])('one %s is told in a sentence', async (_what, script, words) => {
    await using directory = await temporaryDirectory('notify');
    if (script !== undefined) {
      await writeFile(directory.join('systemd-notify'), script);
      await chmod(directory.join('systemd-notify'), 0o755);
    }
    const events: FerrydEvent[] = [];
    const supervisor = superviseBySystemd(
      { NOTIFY_SOCKET: '/run/n', PATH: directory.path },
      { listener: (event) => events.push(event) },
    );
    supervisor.ready();
    await vi.waitFor(() => expect(names(events)).toEqual(['daemon.unheard']), { timeout: 10_000 });
    expect(events[0]).toMatchObject({ message: expect.stringMatching(words) });
    await supervisor.stop();
  });
});
