import { readdirSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import type { Ledger } from '../../src/ledger/ledger.js';
import { GRACE_MS, RUN_GRACE_MS } from '../../src/notice/freshness.js';
import type { NoticeStore } from '../../src/notice/store.js';
import { emptyTally } from '../../src/plan/outcome.js';
import { startSmtp } from '../support/smtp.js';
import { Desk } from './desk.js';
import { ALL, DAY, deadPort, HOUR, MINUTE, NOON, Receiver, TRUST, UNREACHABLE, webhook } from './stage.js';

/** Long enough for loopback; what hangs fails the test. By the manual clock, it never comes. */
const SETTLE_MS = 10_000;

const LOCKED = { kind: 'locked', code: 'locked', message: 'Another run is under way.' } as const;

function told(receiver: Receiver): string[] {
  return receiver.notices.map(({ notice, job }) => `${notice} ${job}`);
}

describe('runs', () => {
  it('are told once for each state, over restarts too, and when they are well again', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.run('ok');
    desk.run('failed', UNREACHABLE);
    desk.run('failed', UNREACHABLE);
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a']);
    {
      await using next = desk.beside();
      next.run('failed', UNREACHABLE);
      next.run('interrupted');
      next.run('failed', TRUST);
      await next.board.settle(SETTLE_MS);
      desk.clock.pass(2 * HOUR);
      next.run('ok');
      next.run('ok');
      await next.board.settle(SETTLE_MS);
    }
    expect(told(receiver)).toEqual(['failure a', 'failure a', 'recovery a']);
    expect(receiver.notices[2]).toMatchObject({
      was: {
        state: 'failed:trust',
        since: new Date(NOON).toISOString(),
        durationMs: 2 * HOUR,
        message: TRUST.message,
      },
      host: 'box',
    });
    expect(new Set(receiver.notices.map(({ id }) => id)).size).toBe(3);
    expect(desk.log).toEqual(['notice.sent failure webhook 1']);
    expect(desk.events[0]).toMatchObject({ job: 'a', attempt: 1 });
  });

  it('that were called off or locked out say nothing; one that could not begin does', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    const report = { job: 'a', run: undefined, tally: emptyTally(), durationMs: 1 };
    desk.run('interrupted');
    desk.board.notBegun({ ...report, outcome: 'interrupted', failure: undefined });
    desk.board.notBegun({ ...report, outcome: 'failed', failure: LOCKED });
    // This one has an event of its own.
    desk.board.notBegun({ ...report, run: 9, outcome: 'failed', failure: UNREACHABLE });
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
    desk.board.notBegun({
      ...report,
      outcome: 'failed',
      failure: { kind: 'failed', code: 'ENOSPC', message: 'Full.' },
    });
    await desk.board.settle(SETTLE_MS);
    expect(receiver.notices).toMatchObject([
      { notice: 'failure', message: 'a: no run could begin. Full.', run: null },
    ]);
  });

  it('of jobs are told apart', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.run('failed', UNREACHABLE);
    desk.run('held', { kind: 'held', code: 'source-empty', message: 'It is empty.' }, { job: 'b' });
    desk.run('ok', undefined, { job: 'b' });
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a', 'held b', 'recovery b']);
  });

  it('are pinged', async () => {
    await using receiver = await Receiver.open();
    const source = { kind: 'text', url: receiver.url('/u') } as const;
    const ping = { start: source, success: source, failure: source, suffixed: 'yes' } as const;
    await using desk = await Desk.open({ channels: [], ping });
    for (const outcome of ['ok', 'partial', 'interrupted'] as const) {
      const run = desk.begin();
      await desk.board.settle(SETTLE_MS);
      desk.end(run, outcome);
      await desk.board.settle(SETTLE_MS);
    }
    expect(receiver.asked.map(({ path }) => path)).toEqual([
      '/u/start',
      '/u',
      '/u/start',
      '/u/fail',
      '/u/start',
    ]);
  });
});

describe('what cannot be told now', () => {
  it('is told by the next process, in its order, with the id it had', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 503;
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.run('failed', UNREACHABLE);
    desk.run('ok');
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a']);
    await desk.board.stop();
    receiver.answer = () => 200;
    await using next = desk.beside();
    next.board.start();
    await next.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a']);
    desk.clock.pass(10_000);
    await next.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a', 'failure a', 'recovery a']);
    const [first, again] = receiver.notices;
    expect(again?.id).toBe(first?.id);
    expect(receiver.asked[1]?.headers['x-ferryd-id']).toBe(first?.id);
    expect(next.ledger.notices.waitingNotices(9)).toEqual([]);
  });

  it('is waited for at an end no longer than was said, and stays due', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 'silence';
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.run('failed', UNREACHABLE);
    const settled = desk.board.settle(5_000);
    await vi.waitFor(() => expect(receiver.asked).toHaveLength(1));
    desk.clock.pass(5_000);
    await settled;
    await desk.board.stop();
    expect(desk.clock.timers).toBe(0);
    expect(desk.ledger.notices.waitingNotices(9)).toMatchObject([{ attempts: 0, nextMs: NOON }]);
    expect(desk.log).toEqual([]);
    desk.run('ok');
    expect(desk.ledger.notices.waitingNotices(9)).toHaveLength(1);
  });
});

describe('freshness', () => {
  const expectation = { freshnessMs: 26 * HOUR };

  it('is told when it is over, once, and when it is back', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], ...expectation });
    desk.board.start();
    desk.run('ok');
    desk.clock.pass(26 * HOUR);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
    desk.clock.pass(MINUTE);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.notices).toMatchObject([
      {
        notice: 'overdue',
        job: 'a',
        state: 'overdue',
        since: new Date(NOON + 26 * HOUR).toISOString(),
        freshness: { expectedMs: 26 * HOUR, provenAt: new Date(NOON).toISOString() },
        message: expect.stringContaining('No run was begun since then'),
      },
    ]);
    await using next = desk.beside(expectation);
    next.board.start();
    desk.clock.pass(HOUR);
    next.run('failed', UNREACHABLE);
    await next.board.settle(SETTLE_MS);
    next.run('ok');
    await next.board.settle(SETTLE_MS);
    expect(receiver.notices.slice(1).map(({ notice, about }) => `${notice} ${about}`)).toEqual([
      'failure run',
      'recovery run',
      'recovery freshness',
    ]);
    expect(receiver.notices.at(-1)).toMatchObject({ run: { outcome: 'ok' }, was: { state: 'overdue' } });
  });

  it('is not kept by runs that leave files behind or fail, and the notice says why they did', async () => {
    await using receiver = await Receiver.open();
    const channels = [webhook(receiver.url(), { on: ['overdue'] })];
    await using desk = await Desk.open({ channels, ...expectation });
    desk.board.start();
    desk.run('ok');
    for (let night = 1; night <= 2; night += 1) {
      desk.clock.pass(DAY);
      desk.run('failed', UNREACHABLE);
    }
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['overdue a']);
    expect(receiver.notices[0]?.message).toMatch(
      /newest runs since then: 1 failed\. .* nas refuses connections/,
    );
  });

  it('is asked of a job that never ran, from the moment that it is first expected', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], ...expectation });
    desk.board.start();
    await desk.board.stop();
    desk.clock.pass(25 * HOUR);
    await using next = desk.beside(expectation);
    next.board.start();
    desk.clock.pass(HOUR);
    await next.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
    desk.clock.pass(MINUTE);
    await next.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['overdue a']);
  });

  it('is judged from what the ledger knows where it is newly expected', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.board.start();
    desk.run('ok');
    desk.clock.pass(9 * DAY);
    desk.freshnessMs = 26 * HOUR;
    desk.clock.pass(MINUTE);
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['overdue a']);
    desk.freshnessMs = 30 * DAY;
    desk.clock.pass(MINUTE);
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['overdue a', 'recovery a']);
  });

  it('after days off gives the catch-up run its chance, and no more', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], ...expectation });
    desk.run('ok');
    desk.clock.set(NOON + 3 * DAY);
    {
      await using booted = desk.beside(expectation);
      booted.board.start();
      const run = booted.begin();
      desk.clock.pass(GRACE_MS + HOUR);
      booted.end(run, 'ok');
      await booted.board.settle(SETTLE_MS);
      expect(receiver.asked).toEqual([]);
    }
    desk.clock.set(NOON + 9 * DAY);
    await using booted = desk.beside(expectation);
    booted.board.start();
    desk.clock.pass(GRACE_MS - 1);
    await booted.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
    desk.clock.pass(MINUTE);
    await booted.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['overdue a']);
  });

  it('is told at once where the catch-up run has failed, and in the end where it hangs', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], ...expectation });
    desk.run('ok');
    desk.clock.set(NOON + 3 * DAY);
    {
      await using booted = desk.beside(expectation);
      booted.board.start();
      booted.run('failed', UNREACHABLE);
      await booted.board.settle(SETTLE_MS);
      expect(told(receiver)).toEqual(['failure a', 'overdue a']);
      booted.run('ok');
      await booted.board.settle(SETTLE_MS);
      expect(told(receiver).slice(2)).toEqual(['recovery a', 'recovery a']);
    }
    desk.clock.set(NOON + 9 * DAY);
    await using booted = desk.beside(expectation);
    booted.board.start();
    booted.begin();
    desk.clock.pass(RUN_GRACE_MS - MINUTE);
    await booted.board.settle(SETTLE_MS);
    expect(receiver.asked).toHaveLength(4);
    desk.clock.pass(2 * MINUTE);
    await booted.board.settle(SETTLE_MS);
    expect(told(receiver).slice(4)).toEqual(['overdue a']);
    expect(receiver.notices[4]?.message).toContain('One is under way.');
  });

  it('is not judged by a clock that is behind, and patiently by one that was set ahead', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], ...expectation });
    desk.board.start();
    desk.run('ok');
    desk.clock.set(0);
    desk.clock.pass(3 * DAY);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
    // NTP has been reached.
    desk.clock.set(NOON + 4 * DAY);
    desk.clock.pass(MINUTE);
    desk.run('ok');
    desk.clock.pass(HOUR);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toEqual([]);
  });
});

describe('the configuration', () => {
  it('is told when it breaks and when it is good again, for each file, over restarts', async () => {
    await using receiver = await Receiver.open();
    await using desk = await Desk.open({ channels: [webhook(receiver.url())] });
    desk.board.configuration(new Map());
    desk.board.configuration(new Map([['a', 'a.yaml:3:1: no such key\na.yaml:4:1: no such value']]));
    desk.board.configuration(
      new Map([
        ['a', 'a.yaml:4:1: another mistake'],
        ['', 'servers.yaml:1:1: no such host'],
      ]),
    );
    await desk.board.settle(SETTLE_MS);
    await using next = desk.beside();
    next.board.configuration(new Map([['', 'servers.yaml:1:1: no such host']]));
    next.board.configuration(new Map());
    await next.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['configuration a', 'configuration null', 'recovery a', 'recovery null']);
    expect(receiver.notices[0]?.message).toBe(
      'a: the job cannot be loaded as it is. a.yaml:3:1: no such key a.yaml:4:1: no such value.',
    );
  });
});

describe('a ledger that cannot be written', () => {
  /** The ledger, whose notices cannot be kept while `full.now` is so. */
  function fullLedger(full: { now: 'full' | 'well' }): (ledger: Ledger) => NoticeStore {
    return (ledger) => ({
      notices: new Proxy(ledger.notices, {
        get(table, key) {
          const value: unknown = Reflect.get(table, key);
          if (typeof value !== 'function') return value;
          return (...given: unknown[]): unknown => {
            const reads = key === 'noticeState' || key === 'noticeStates' || key === 'waitingNotices';
            if (full.now === 'full' && !reads) throw new Error('The disk is full.');
            return Reflect.apply(value, table, given);
          };
        },
      }),
      provenAtMs: (job) => ledger.provenAtMs(job),
      knownSinceMs: (job) => ledger.knownSinceMs(job),
      lastRuns: (job, limit) => ledger.lastRuns(job, limit),
    });
  }

  it('is told all the same, once, and takes over what was told when it can', async () => {
    await using receiver = await Receiver.open();
    const full: { now: 'full' | 'well' } = { now: 'full' };
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], store: fullLedger(full) });
    desk.run('failed', UNREACHABLE);
    desk.run('failed', UNREACHABLE);
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a']);
    expect(desk.log).toEqual(['notice.failed state ledger', 'notice.sent failure webhook 1']);
    full.now = 'well';
    desk.run('failed', UNREACHABLE);
    await using next = desk.beside();
    next.run('failed', UNREACHABLE);
    next.run('ok');
    await next.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a', 'recovery a']);
  });

  it('keeps what was written before until it can be claimed, and sends nothing twice', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 503;
    const full: { now: 'full' | 'well' } = { now: 'well' };
    await using desk = await Desk.open({ channels: [webhook(receiver.url())], store: fullLedger(full) });
    desk.run('failed', UNREACHABLE);
    await desk.board.settle(SETTLE_MS);
    full.now = 'full';
    receiver.answer = () => 200;
    desk.clock.pass(5 * MINUTE);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toHaveLength(1);
    full.now = 'well';
    receiver.answer = () => {
      full.now = 'full';
      return 200;
    };
    desk.clock.pass(MINUTE);
    await desk.board.settle(SETTLE_MS);
    desk.clock.pass(HOUR);
    await desk.board.settle(SETTLE_MS);
    expect(receiver.asked).toHaveLength(2);
    full.now = 'well';
    desk.clock.pass(MINUTE);
    await desk.board.settle(SETTLE_MS);
    expect([receiver.asked.length, desk.ledger.notices.waitingNotices(9)]).toEqual([2, []]);
  });
});

describe('secrets', () => {
  it('are neither in the log nor in the ledger, whatever fails', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = ({ path }, number) =>
      number % 2 === 0 ? 'cut' : { status: 500, text: `Cannot POST ${path}`, headers: { location: path } };
    await using smtp = await startSmtp({ disabledCommands: ['STARTTLS'], allowInsecureAuth: true });
    const url = { kind: 'text', url: receiver.url('/T0P-SECRET') } as const;
    const ping = { start: url, success: url, failure: url, suffixed: 'yes' } as const;
    await using desk = await Desk.open({ channels: [], ping });
    const secret = { kind: 'file', path: desk.file('secret', 'T0P-SECRET') } as const;
    desk.channels = [
      webhook(url.url, { key: secret }),
      webhook('', { url: secret }),
      {
        kind: 'mail',
        to: ['ops@example.net'],
        from: 'ferryd@example.net',
        host: '127.0.0.1',
        port: smtp.port,
        security: 'plain',
        user: 'ferry',
        password: secret,
        timeLimitMs: 5_000,
        on: ALL,
      },
    ];
    desk.run('failed', UNREACHABLE);
    // Three channels and two pings; those wait a second before their second attempt.
    await vi.waitFor(
      () => {
        desk.clock.pass(100);
        expect(desk.log).toHaveLength(5);
      },
      { timeout: 10_000 },
    );
    expect(smtp.logins).toEqual(['ferry:T0P-SECRET']);
    expect(desk.log).toContain('notice.failed failure mail 1');
    expect(desk.ledger.notices.waitingNotices(9)).toHaveLength(3);
    expect(JSON.stringify(desk.events)).not.toContain('T0P-SECRET');
    for (const name of readdirSync(desk.directory.path)) {
      const path = desk.directory.join(name);
      if (name === 'secret' || !statSync(path).isFile()) continue;
      expect(readFileSync(path).includes('T0P-SECRET')).toBe(false);
    }
  });
});

describe('several channels', () => {
  it('hear what they want to hear, each by its own way, and do not wait for one another', async () => {
    await using receiver = await Receiver.open();
    const dead = `http://127.0.0.1:${await deadPort()}/`;
    await using desk = await Desk.open({ channels: [] });
    const path = desk.directory.join('heard');
    desk.channels = [
      webhook(dead),
      webhook(receiver.url(), { on: ['recovery', 'failure'] }),
      {
        kind: 'command',
        argv: ['/bin/sh', '-c', 'echo "$FERRYD_NOTICE" >> "$1"', 'sh', path],
        timeLimitMs: 9_000,
        on: ['partial'],
      },
    ];
    desk.run('failed', UNREACHABLE);
    desk.run('partial');
    desk.run('ok');
    await desk.board.settle(SETTLE_MS);
    expect(told(receiver)).toEqual(['failure a', 'recovery a']);
    expect(desk.log.toSorted()).toEqual([
      'notice.failed failure webhook 1',
      'notice.sent failure webhook 2',
      'notice.sent partial command 1',
      'notice.sent recovery webhook 2',
    ]);
  });
});
