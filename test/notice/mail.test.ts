import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Channel } from '../../src/job/job.js';
import type { NoticeBody } from '../../src/notice/body.js';
import { subjectOf, tellMail, textOf } from '../../src/notice/mail.js';
import type { SendingContext } from '../../src/notice/sending.js';
import { certificates } from '../support/certificates.js';
import { refusal, startSmtp } from '../support/smtp.js';
import { ALL, context, deadPort } from './stage.js';

type Mail = Extract<Channel, { kind: 'mail' }>;

const BODY: NoticeBody = {
  version: 1,
  id: '6a1d1c1e-0000-4000-8000-000000000001',
  notice: 'failure',
  job: 'nightly',
  host: 'box',
  at: '2026-11-23T12:00:00.000Z',
  message: 'nightly: failed, 3 uploaded, in 1.5 s. Der Träger „nas“ lehnt ab.',
  about: 'run',
  state: 'failed:unreachable',
  since: '2026-11-23T11:00:00.000Z',
  was: null,
  run: {
    number: 7,
    outcome: 'failed',
    durationMs: 1500,
    uploaded: 3,
    downloaded: 0,
    deleted: 0,
    renamed: 0,
    skipped: 0,
    unchanged: 0,
    bytes: 2048,
    failure: { kind: 'unreachable', code: 'ECONNREFUSED', message: 'nas refuses connections.' },
  },
  freshness: null,
};

const LOGIN = { user: 'ferry', password: { kind: 'env', name: 'MAIL_PASSWORD' } } as const;

function tell(
  port: number,
  channel: Partial<Mail> = {},
  more: Partial<SendingContext> & { body?: NoticeBody } = {},
) {
  const { body = BODY, ...rest } = more;
  return tellMail(
    {
      kind: 'mail',
      to: ['ops@example.net', 'boss@example.net'],
      from: 'ferryd@box.example.net',
      host: '127.0.0.1',
      port,
      security: 'plain',
      user: undefined,
      password: undefined,
      timeLimitMs: 5_000,
      on: ALL,
      ...channel,
    },
    body,
    context({ environment: { MAIL_PASSWORD: 'sesame', WRONG: 'T0P-SECRET' }, ...rest }),
  );
}

/** The text of a mail whose lines may be wrapped and encoded. */
function decoded(text: string): string {
  const [, body = ''] = text.split(/\r\n\r\n(.*)/s);
  if (/^Content-Transfer-Encoding: base64/im.test(text)) return Buffer.from(body, 'base64').toString();
  if (!/^Content-Transfer-Encoding: quoted-printable/im.test(text)) return body.replaceAll('\r\n', '\n');
  const bytes = body.replace(/=\r\n/g, '').replaceAll('\r\n', '\n');
  return Buffer.from(
    bytes.replace(/=([0-9A-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString();
}

describe('a mail', () => {
  it('goes to all recipients, as plain text, with an id that stays', async () => {
    await using smtp = await startSmtp({ disabledCommands: ['AUTH', 'STARTTLS'] });
    const sending = await tell(smtp.port);
    expect(sending).toEqual({ kind: 'taken', message: 'The mail server 127.0.0.1 took it.' });
    const [mail] = smtp.received;
    expect(mail).toMatchObject({
      from: 'ferryd@box.example.net',
      to: ['ops@example.net', 'boss@example.net'],
      secure: false,
    });
    const text = mail?.text ?? '';
    expect(text).toContain(`Message-ID: <${BODY.id}@box.example.net>`);
    expect(text).toContain('Subject: nightly failed (box)\r\n');
    expect(text).toContain('From: ferryd <ferryd@box.example.net>\r\n');
    expect(text).toContain('Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n');
    expect(text).toContain('Auto-Submitted: auto-generated\r\n');
    expect(text).toMatch(/^Content-Type: text\/plain; charset=utf-8/im);
    expect(decoded(text).trim()).toBe(textOf(BODY).trim());
  });

  it('has no header made of what others said', async () => {
    await using smtp = await startSmtp({ disabledCommands: ['AUTH', 'STARTTLS'] });
    const job = 'x\r\nBcc: thief@example.net\r\n\r\nInjected: yes';
    const body = { ...BODY, job, host: 'box\nX-Host: 1', message: 'a\r\n.\r\nRCPT TO:<thief@example.net>' };
    expect(await tell(smtp.port, {}, { body })).toMatchObject({ kind: 'taken' });
    const [mail] = smtp.received;
    expect(mail?.to).toEqual(['ops@example.net', 'boss@example.net']);
    const [headers = ''] = (mail?.text ?? '').split('\r\n\r\n');
    const names = headers.split(/\r\n(?!\s)/).map((line) => line.split(':')[0]?.toLowerCase());
    expect(new Set(names)).toEqual(
      new Set([
        'from',
        'to',
        'subject',
        'date',
        'message-id',
        'auto-submitted',
        'x-ferryd-notice',
        'content-type',
        'content-transfer-encoding',
        'mime-version',
      ]),
    );
  });

  it.each(['starttls', 'implicit'] as const)('goes over TLS, with a login (%s)', async (security) => {
    const { ca, good } = await certificates();
    await using smtp = await startSmtp({ ...good, secure: security === 'implicit' });
    const sending = await tell(smtp.port, { security, ...LOGIN }, { authorities: ca.cert });
    expect(sending).toMatchObject({ kind: 'taken' });
    expect(smtp.received).toMatchObject([{ secure: true, user: 'ferry' }]);
  });

  it('is not sent, and no password shown, to a server whose certificate is not trusted', async () => {
    const { ca, good, wrongHost, expired } = await certificates();
    for (const [certificate, authorities, words] of [
      [good, undefined, 'does not trust'],
      [wrongHost, ca.cert, 'for another name'],
      [expired, ca.cert, 'has expired'],
    ] as const) {
      for (const security of ['starttls', 'implicit'] as const) {
        await using smtp = await startSmtp({ ...certificate, secure: security === 'implicit' });
        const sending = await tell(smtp.port, { security, ...LOGIN }, { authorities });
        expect(sending).toMatchObject({ kind: 'not-now', message: expect.stringContaining(words) });
        expect([smtp.received, smtp.logins]).toEqual([[], []]);
      }
    }
  });

  it('does not go on without TLS where TLS is asked for, nor without the login', async () => {
    await using plain = await startSmtp({ disabledCommands: ['STARTTLS'] });
    expect(await tell(plain.port, { security: 'starttls', ...LOGIN })).toEqual({
      kind: 'not-now',
      message: 'The mail server 127.0.0.1 offers no TLS that could be used.',
    });
    await using open = await startSmtp({ disabledCommands: ['STARTTLS', 'AUTH'] });
    const sending = await tell(open.port, LOGIN);
    expect(sending).toMatchObject({ kind: 'not-now', message: expect.stringContaining('refused the login') });
    expect([plain.received, plain.logins, open.received]).toEqual([[], [], []]);
  });

  it('waits an hour after a login that was refused, and does not repeat what the server said', async () => {
    await using smtp = await startSmtp({ disabledCommands: ['STARTTLS'], allowInsecureAuth: true });
    const sending = await tell(smtp.port, { user: 'ferry', password: { kind: 'env', name: 'WRONG' } });
    expect(sending).toMatchObject({ kind: 'not-now', afterMs: 3_600_000 });
    expect(JSON.stringify(sending)).toContain('refused the login (535)');
    expect(JSON.stringify(sending)).not.toContain('T0P-SECRET');
    expect(smtp.logins).toEqual(['ferry:T0P-SECRET']);
  });

  it.each([
    [550, 'refused'],
    [450, 'not-now'],
  ] as const)('whose recipients are all answered %i: %s', async (code, kind) => {
    await using smtp = await startSmtp({
      disabledCommands: ['AUTH', 'STARTTLS'],
      onRcptTo: (_address, _session, done) => done(refusal(code, 'No such box')),
    });
    const sending = await tell(smtp.port);
    expect(sending).toMatchObject({ kind, message: expect.stringContaining(`${code} No such box`) });
    expect(smtp.received).toEqual([]);
  });

  it('that one of two recipients may not have is taken, and that is said', async () => {
    await using smtp = await startSmtp({
      disabledCommands: ['AUTH', 'STARTTLS'],
      onRcptTo: ({ address }, _session, done) =>
        done(address === 'boss@example.net' ? refusal(550, 'No such box') : null),
    });
    expect(await tell(smtp.port)).toEqual({
      kind: 'taken',
      message: 'The mail server 127.0.0.1 took it, but refused boss@example.net.',
    });
    expect(smtp.received).toMatchObject([{ to: ['ops@example.net'] }]);
  });

  it.each([
    [552, 'refused'],
    [451, 'not-now'],
  ] as const)('whose text is answered %i: %s', async (code, kind) => {
    await using smtp = await startSmtp({
      disabledCommands: ['AUTH', 'STARTTLS'],
      onData: (stream, _session, done) => {
        stream.resume();
        stream.on('end', () => done(refusal(code, 'Not this one')));
      },
    });
    expect(await tell(smtp.port)).toMatchObject({
      kind,
      message: expect.stringContaining(`${code} Not this one`),
    });
  });

  it('is tried again where nobody answers, or somebody who says nothing', async () => {
    expect(await tell(await deadPort())).toEqual({
      kind: 'not-now',
      message: 'The mail server 127.0.0.1 refuses connections (ECONNREFUSED).',
    });
    const sockets = new Set<net.Socket>();
    const silent = net.createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    try {
      const address = silent.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      expect(await tell(port, { timeLimitMs: 60 })).toMatchObject({
        kind: 'not-now',
        message: expect.stringContaining('did not take it within 0.06 s'),
      });
      const stop = new AbortController();
      silent.once('connection', () => stop.abort());
      expect(await tell(port, {}, { signal: stop.signal })).toEqual({ kind: 'stopped' });
      expect(await tell(port, {}, { signal: stop.signal })).toEqual({ kind: 'stopped' });
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
      await once(silent, 'close');
    }
  });

  it('has a subject of one line and bounded length', () => {
    expect(subjectOf({ ...BODY, notice: 'overdue' })).toBe('nightly is overdue (box)');
    expect(subjectOf({ ...BODY, job: null, notice: 'configuration' })).toBe(
      'ferryd cannot be configured (box)',
    );
    expect(subjectOf({ ...BODY, job: 'x'.repeat(300) })).toHaveLength(120);
  });

  it('tells of a recovery how long it was not well', () => {
    const was = {
      state: 'held',
      since: '2026-11-23T08:00:00.000Z',
      durationMs: 14_400_000,
      message: 'Held.',
    };
    expect(textOf({ ...BODY, notice: 'recovery', was })).toContain(
      'Was not well since: 2026-11-23T08:00:00.000Z, for 4 h\n',
    );
  });
});
