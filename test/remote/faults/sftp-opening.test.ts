/*
 * Everything that can go wrong before there is an SFTP session: on the wire at any byte, at the login, at the channel,
 * at VERSION and what is asked behind it. No file is ever blamed for it, nothing hangs, and when it is over the same
 * account works.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Account, openAccount } from '../../../src/remote/account.js';
import type { Failure } from '../../../src/remote/decision.js';
import { judge } from '../../../src/remote/failure.js';
import type { Rule } from '../../support/sftp-server/fault.js';
import { sshKey } from '../../support/sftp-server/keys.js';
import { number } from '../../support/sftp-server/packet.js';
import { deliveryOf, filesBelow, sourceOf } from '../contract.js';
import { SftpBerth, type SftpBerthOptions, sftpCredentials, sftpSettings } from '../sftp-berth.js';

/** For faults that are silence. */
const IMPATIENT = { connectMs: 400, replyMs: 400, stallMs: 400, transferMs: 2_000 };

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  return judge(
    await work.then(
      () => new Error('It did not fail'),
      (error: unknown) => error,
    ),
  );
}

/** One that knows nothing of the berth's own. */
function anotherAccount(berth: SftpBerth): Account {
  return openAccount(
    { protocol: 'sftp', server: sftpSettings(berth.server), credentials: sftpCredentials() },
    { onOpened: () => {}, onLearned: () => {}, onWire: undefined },
  );
}

/** What the first operation of an account meets; with rules, the next one must succeed without them. */
async function meeting(rule: Rule | undefined, options: SftpBerthOptions = {}): Promise<Failure> {
  await using berth = await SftpBerth.open({
    ...options,
    prepare: (server) => {
      if (rule !== undefined) server.script({ nth: 'every', ...rule });
    },
  });
  await writeFile(join(berth.disk, 'file'), 'x');
  const failure = await failureOf(berth.remote.stat('file'));
  expect(failure.message).not.toMatch(/[\p{Cc}\p{Cf}]|secret/u);
  if (rule !== undefined) {
    berth.server.behave();
    // A refused login is not tried again by itself.
    if (failure.decision !== 'abort') expect(await berth.remote.stat('file')).toMatchObject({ sizeBytes: 1 });
  }
  return failure;
}

describe('one moment', () => {
  test.each<[string, Rule, RegExp]>([
    ['reset', { on: 'connect', do: { kind: 'end', how: 'reset' } }, /^(?:reconnect|hold) /],
    ['closed', { on: 'connect', do: { kind: 'end', how: 'close' } }, /^(?:reconnect|hold) /],
    ['silence', { on: 'connect', do: { kind: 'end', how: 'mute' } }, /^reconnect (?:timeout|ETIMEDOUT)/],
    ['FTP', { on: 'connect', do: { kind: 'bytes', bytes: '220 Welcome\r\n' } }, /^(?:abort|reconnect) /],
    [
      'HTTP',
      { on: 'connect', do: { kind: 'bytes', bytes: 'HTTP/1.1 400 Bad\r\n\r\n' } },
      /^(?:abort|reconnect) /,
    ],
    ['SSH 1', { on: 'connect', do: { kind: 'bytes', bytes: 'SSH-1.5-Old\r\n' } }, /^(?:abort|reconnect) /],
    ['login refused', { on: 'auth', do: { kind: 'refuse' } }, /^abort authentication/],
    ['reset at the login', { on: 'auth', do: { kind: 'end', how: 'reset' } }, /^(?:reconnect|hold) /],
    [
      'silence at the login',
      { on: 'auth', do: { kind: 'end', how: 'mute' } },
      /^reconnect (?:timeout|ETIMEDOUT)/,
    ],
    ['no channel', { on: 'session', do: { kind: 'refuse' } }, /^hold CHANNEL/],
    ['reset at the channel', { on: 'session', do: { kind: 'end', how: 'reset' } }, /^(?:reconnect|hold) /],
    [
      'silence at the channel',
      { on: 'session', do: { kind: 'end', how: 'mute' } },
      /^reconnect (?:timeout|ETIMEDOUT)/,
    ],
    ['no subsystem', { on: 'subsystem', do: { kind: 'refuse' } }, /^abort SUBSYSTEM/],
    [
      'closed at the subsystem',
      { on: 'subsystem', do: { kind: 'end', how: 'close' } },
      /^(?:reconnect|hold) /,
    ],
    [
      'the channel closed at INIT',
      { on: 'INIT', do: { kind: 'end', how: 'channel' } },
      /^(?:reconnect|abort|hold) /,
    ],
    ['silence at INIT', { on: 'INIT', do: { kind: 'end', how: 'hang' } }, /^reconnect (?:timeout|ETIMEDOUT)/],
    ['a status for a VERSION', { on: 'INIT', do: { kind: 'status', code: 4 } }, /^abort /],
    ['zeros for a VERSION', { on: 'INIT', do: { kind: 'bytes', bytes: new Uint8Array(64) } }, /^abort /],
    [
      'a VERSION of 4 GiB',
      { on: 'INIT', do: { kind: 'bytes', bytes: new Uint8Array([255, 255, 255, 255, 2]) } },
      /^abort /,
    ],
    [
      'half a VERSION',
      { on: 'INIT', do: { kind: 'cut', atByte: 7, how: 'channel' } },
      /^(?:reconnect|abort|hold) /,
    ],
    ['a VERSION that is too short', { on: 'INIT', do: { kind: 'shorten', bytes: 3 } }, /^abort /],
    ['a limit of nothing', { on: 'limits@openssh.com', do: { kind: 'end', how: 'channel' } }, /^reconnect /],
    [
      'silence to the first question',
      { on: 'REALPATH', do: { kind: 'noAnswer' } },
      /^reconnect (?:timeout|ETIMEDOUT)/,
    ],
  ])('%s', async (_what, rule, judged) => {
    const failure = await meeting(rule, { account: { timeouts: IMPATIENT } });
    expect(`${failure.decision} ${failure.code}`, failure.message).toMatch(judged);
    expect(failure.beforeSession || failure.decision === 'reconnect', failure.message).toBe(true);
  });

  test('limits and a directory that are refused, or told wrongly, are done without', async () => {
    const rules: Rule[] = [
      { on: 'limits@openssh.com', do: { kind: 'status', code: 8 } },
      { on: 'limits@openssh.com', do: { kind: 'status', code: 4 } },
      { on: 'limits@openssh.com', do: { kind: 'packet', type: 201, body: new Uint8Array(32) } },
      { on: 'limits@openssh.com', do: { kind: 'packet', type: 201, body: new Uint8Array(32).fill(255) } },
      { on: 'REALPATH', do: { kind: 'status', code: 4 } },
      {
        on: 'REALPATH',
        do: { kind: 'packet', type: 104, body: Buffer.concat([number(1), number(0), number(0), number(0)]) },
      },
    ];
    for (const rule of rules) {
      await using berth = await SftpBerth.open({ prepare: (server) => void server.script(rule) });
      await berth.remote.deliver(deliveryOf('a/file', sourceOf('content')));
      expect(await filesBelow(berth.disk), JSON.stringify(rule.do)).toEqual(['a/file']);
    }
  });

  test('the wire is cut at any byte: a connection is made anew, and no file is blamed', async () => {
    await using berth = await SftpBerth.open();
    let cuts = 0;
    for (const side of ['sentBytes', 'receivedBytes'] as const) {
      for (let bytes = 1; bytes < 3_600; bytes += 97) {
        const how = bytes % 4 === 1 ? 'reset' : 'close';
        berth.server.script({ on: 'connect', do: { kind: 'dropAfter', [side]: bytes, how } });
        const account = anotherAccount(berth);
        const remote = account.remote({ path: '', absolute: false });
        const outcome = await remote.stat('missing').then(
          () => undefined,
          (error: unknown) => judge(error),
        );
        berth.server.behave();
        // Some come so late that all was said.
        if (outcome !== undefined) {
          cuts += 1;
          expect(['reconnect', 'hold'], `${side} ${bytes}: ${outcome.message}`).toContain(outcome.decision);
          expect(await remote.stat('missing')).toBeUndefined();
        }
        await account.close();
      }
    }
    expect(cuts).toBeGreaterThan(20);
  });
});

describe('for good', () => {
  test.each<[string, SftpBerthOptions, RegExp, RegExp]>([
    ['a wrong password', { credentials: { password: 'wrong' } }, /^abort authentication/, /password|log/i],
    ['no such user', { account: { user: 'nobody' } }, /^abort authentication/, /nobody/],
    ['a host key nobody knows', { account: { hostKeys: [] } }, /^abort /, /SHA256:/],
    ['another host key', { account: { hostKeys: [sshKey('another').fingerprint] } }, /^abort /, /SHA256:/],
    ['no subsystem', { server: { subsystem: 'none' } }, /^abort SUBSYSTEM/, /SFTP/],
    [
      'a shell that greets',
      { server: { noise: 'Welcome to \u001b[1mnas\u001b[0m!\r\n' } },
      /^abort /,
      /Welcome to/,
    ],
    ['version 2', { server: { version: 2 } }, /^abort /, /version/i],
    ['version 0', { server: { version: 0 } }, /^abort /, /version/i],
  ])('%s: the run ends, and says so', async (_what, options, judged, words) => {
    const failure = await meeting(undefined, options);
    expect(`${failure.decision} ${failure.code}`, failure.message).toMatch(judged);
    expect(failure.message).toMatch(words);
    expect(failure.beforeSession).toBe(true);
  });

  test('a later version is spoken to in the third', async () => {
    await using berth = await SftpBerth.open({
      server: { version: 6, otherExtensions: { newline: '\n', 'vendor-id': 'x' } },
    });
    const outcome = await berth.remote.stat('missing').then(
      () => 'done',
      (error: unknown) => judge(error).decision,
    );
    expect(['done', 'abort']).toContain(outcome);
  });
});

describe('too many', () => {
  test.each<[string, SftpBerthOptions]>([
    ['connections, at the door', { server: { maxConnections: 1 } }],
    ['connections, behind the login', { server: { maxConnections: 1, tooManyAt: 'login' } }],
    ['sessions', { server: { maxSessions: 1, maxConnections: 2 } }],
  ])('%s: what there is carries all', async (_what, options) => {
    await using berth = await SftpBerth.open({ ...options, account: { connections: 4 } });
    const names = Array.from({ length: 80 }, (_, count) => `file-${String(count).padStart(2, '0')}`);
    const outcomes = await Promise.allSettled(
      names.map((name) => berth.remote.deliver(deliveryOf(name, sourceOf(name)))),
    );
    for (const each of outcomes)
      if (each.status === 'rejected') expect(judge(each.reason)).toMatchObject({ decision: 'hold' });
    expect(await filesBelow(berth.disk)).toEqual(names);
  });
});
