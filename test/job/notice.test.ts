/* Hooks, expectations, pings, channels and the log file: what is right, and what is told of what is wrong. */
import { describe, expect, test } from 'vitest';
import type { AgentSettings, Job } from '../../src/job/job.js';
import { load } from './directory.js';

const SHORT = 'from: /a\nto: ftpes://nas.example.net/x\n';

async function job(text: string): Promise<Job> {
  const { jobs, lines } = await load({ 'a.yaml': `${SHORT}${text}` });
  expect(lines).toEqual([]);
  const [first] = jobs;
  if (first === undefined) throw new Error('the job did not load');
  return first;
}

async function mistakes(text: string): Promise<string[]> {
  return (await load({ 'a.yaml': `${SHORT}${text}` })).lines;
}

async function agent(text: string): Promise<{ agent: AgentSettings; lines: string[] }> {
  return load({ 'a.yaml': SHORT, 'agent.yaml': text });
}

describe('hooks', () => {
  test('a text is a line for a shell, a list is run as it stands', async () => {
    const { before, after } = await job('before: "dump | gzip > a"\nafter: [rm, -f, a]\n');
    expect(before).toEqual({
      argv: ['/bin/sh', '-c', 'dump | gzip > a'],
      timeLimitMs: 3_600_000,
      onFailure: 'fail',
    });
    expect(after).toEqual({
      argv: ['rm', '-f', 'a'],
      timeLimitMs: 3_600_000,
      onFailure: 'fail',
      when: 'always',
    });
  });

  test('with keys', async () => {
    const { before, after } = await job(
      'before: { command: [/bin/dump, x], timeout: 5m, onFailure: ignore }\nafter: { command: "true", when: failure }\n',
    );
    expect(before).toEqual({ argv: ['/bin/dump', 'x'], timeLimitMs: 300_000, onFailure: 'ignore' });
    expect(after).toMatchObject({ argv: ['/bin/sh', '-c', 'true'], when: 'failure' });
  });

  test('a program with a relative path counts from the directory of the job', async () => {
    const { before, file } = await job('before: [./dump.sh]\n');
    expect(before?.argv).toEqual([file.replace(/a\.yaml$/, 'dump.sh')]);
  });

  test.each([
    ['before: ""', ['must not be empty']],
    ['before: " "', ['the command is empty']],
    ['before: []', ['must not be an empty list']],
    ['before: [""]', ['the program of the command is empty']],
    ['before: { timeout: 5m }', ['say what is run']],
    ['before: { command: x, when: success }', ['unknown key "when"']],
    ['before: { command: x, onFailure: continue }', ['did you mean "ignore"?']],
    ['after: { command: x, timeout: 5 }', ['a duration needs a unit']],
    ['pre: x', ['did you mean "before"?']],
    ['after: x\ntriggers: [{ watch: {} }]', ['warning: /after: what after writes']],
  ])('%s', async (text, expected) => {
    const lines = await mistakes(text);
    expect(lines).toHaveLength(expected.length);
    for (const [index, words] of expected.entries()) expect(lines[index]).toContain(words);
  });
});

describe('what is expected, and who is pinged', () => {
  test('nothing, unless it is written', async () => {
    expect(await job('')).toMatchObject({
      expect: { freshnessMs: undefined },
      ping: undefined,
      notify: undefined,
      before: undefined,
      after: undefined,
    });
  });

  test('freshness and jitter', async () => {
    const { expect: expected, triggers } = await job(
      'expect: { freshness: 26h }\ntriggers: [{ cron: "@daily", jitter: 20m }]\n',
    );
    expect(expected.freshnessMs).toBe(93_600_000);
    expect(triggers).toMatchObject([{ jitterMs: 1_200_000 }]);
  });

  test('one URL stands for all three, and gets endings', async () => {
    const url = { kind: 'text', url: 'https://hc.example/abc' };
    expect((await job('ping: https://hc.example/abc\n')).ping).toEqual({
      start: url,
      success: url,
      failure: url,
      suffixed: 'yes',
    });
    const secret = { kind: 'credential', name: 'nightly-ping' };
    expect((await job('ping: { credential: nightly-ping }\n')).ping).toMatchObject({
      start: secret,
      suffixed: 'yes',
    });
  });

  test('a URL each', async () => {
    expect((await job('ping: { success: "https://a.example/ok", failure: { env: BAD } }\n')).ping).toEqual({
      start: undefined,
      success: { kind: 'text', url: 'https://a.example/ok' },
      failure: { kind: 'env', name: 'BAD' },
      suffixed: 'no',
    });
  });

  test.each([
    ['ping: http://hc.example/s3cret', 'must begin with https://'],
    ['ping: hc.example', 'must be a URL'],
    ['ping: https://user:s3cret@hc.example/', 'must hold no user and no password'],
    ['ping: {}', 'must have'],
    ['ping: { credential: a, env: b }', 'exactly one'],
    ['expect: { freshness: 5s }', 'must be at least 1m'],
    ['expect: 26h', 'must be a group of keys (freshness)'],
  ])('%s', async (text, words) => {
    const lines = await mistakes(text);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(words);
    expect(lines[0]).not.toContain('s3cret');
  });
});

describe('channels', () => {
  const ALL = ['failure', 'recovery', 'overdue', 'held', 'partial', 'configuration'];

  test('of each kind, in agent.yaml', async () => {
    const { agent: settings, lines } = await agent(
      [
        'notify:',
        '  - webhook: { file: hook.url }',
        '    key: { credential: hook-key }',
        '    on: [failure]',
        '  - command: [bin/tell, me]',
        '    timeout: 5s',
        '  - mail: [a@example.net, b@example.net]',
        '    from: ferryd@example.net',
        '    server: smtps://mail.example.net:4650',
        '    user: ferryd',
        '    password: { env: MAIL }',
      ].join('\n'),
    );
    expect(lines).toEqual([]);
    expect(settings.notify).toMatchObject([
      {
        kind: 'webhook',
        url: { kind: 'file', path: expect.stringMatching(/\/hook\.url$/) },
        key: { kind: 'credential', name: 'hook-key' },
        timeLimitMs: 10_000,
        on: ['failure'],
      },
      {
        kind: 'command',
        argv: [expect.stringMatching(/^\/.*\/bin\/tell$/), 'me'],
        timeLimitMs: 5_000,
        on: ALL,
      },
      {
        kind: 'mail',
        to: ['a@example.net', 'b@example.net'],
        from: 'ferryd@example.net',
        host: 'mail.example.net',
        port: 4650,
        security: 'implicit',
        user: 'ferryd',
        password: { kind: 'env', name: 'MAIL' },
        timeLimitMs: 60_000,
        on: ALL,
      },
    ]);
  });

  test.each([
    ['smtp://mail.example.net', { host: 'mail.example.net', port: 587, security: 'starttls' }],
    ['smtps://mail.example.net', { host: 'mail.example.net', port: 465, security: 'implicit' }],
    ['smtp://localhost', { host: 'localhost', port: 25, security: 'plain' }],
    ['smtp://[::1]:2525', { host: '::1', port: 2525, security: 'plain' }],
  ])('the mail server %s', async (server, expected) => {
    const { agent: settings } = await agent(
      `notify: [{ mail: a@example.net, from: b@example.net, server: "${server}" }]`,
    );
    expect(settings.notify).toMatchObject([expected]);
  });

  test("a job's own take the place of the agent's, and may be none", async () => {
    expect((await job('notify: []\n')).notify).toEqual([]);
    expect((await job('notify: [{ command: [tell] }]\n')).notify).toMatchObject([{ argv: ['tell'] }]);
  });

  test.each([
    ['notify: [https://a.example/s3cret]', 'a channel has keys'],
    ['notify: [{ webhook: http://a.example/s3cret }]', 'must begin with https://'],
    ['notify: [{ webhook: https://a.example, key: s3cret }]', 'a secret does not stand in this file'],
    ['notify: [{ webhook: https://a.example, on: [fail] }]', 'must be one of'],
    ['notify: [{ mail: a@example.net, from: b@example.net }]', 'say which mail server'],
    [
      'notify: [{ mail: "a@example.net\\r\\nBcc: c@d.e", from: b@example.net, server: smtp://m }]',
      'must be a mail address',
    ],
    [
      'notify: [{ mail: a@example.net, from: b@example.net, server: "smtp://u:s3cret@m" }]',
      'do not stand in the URL',
    ],
    [
      'notify: [{ mail: a@example.net, from: b@example.net, server: smtp://m, user: u }]',
      'a user needs a password',
    ],
    ['notify: { webhook: https://a.example }', 'must be a list'],
  ])('%s', async (text, words) => {
    for (const lines of [(await agent(text)).lines, await mistakes(text)]) {
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(words);
      expect(lines[0]).not.toContain('s3cret');
    }
  });
});

describe('the log file', () => {
  test('with its defaults', async () => {
    const { agent: settings, lines } = await agent('log: { files: hide, file: { path: log/ferryd.log } }');
    expect(lines).toEqual([]);
    expect(settings.log).toMatchObject({
      level: 'info',
      files: 'hide',
      file: {
        path: expect.stringMatching(/^\/.*\/log\/ferryd\.log$/),
        maxBytes: 10_485_760,
        maxAgeMs: 604_800_000,
        keep: 5,
      },
    });
  });

  test.each([
    ['log: { file: ferryd.log }', 'the log file has keys'],
    ['log: { file: {} }', 'say which file'],
    ['log: { file: { path: a, size: 100B } }', 'must be at least 4K'],
    ['history: { keep: 1h }', 'must be at least 1d'],
  ])('%s', async (text, words) => {
    const { lines } = await agent(text);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(words);
  });
});
