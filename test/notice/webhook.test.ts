import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { Channel } from '../../src/job/job.js';
import type { SendingContext } from '../../src/notice/sending.js';
import { tellWebhook } from '../../src/notice/webhook.js';
import { certificates } from '../support/certificates.js';
import { temporaryDirectory } from '../support/temporary.js';
import { context, deadPort, NOON, Receiver, webhook } from './stage.js';

const JSON_TEXT = '{"version":1,"message":"Grüße"}';
const NOTICE = { id: '6a1d', json: JSON_TEXT };

function tell(channel: Channel, more: Partial<SendingContext> = {}) {
  if (channel.kind !== 'webhook') throw new Error('not a webhook');
  return tellWebhook(channel, NOTICE, context(more));
}

describe('a webhook', () => {
  it('gets the body as JSON, with the id and the time', async () => {
    await using receiver = await Receiver.open();
    const sending = await tell(webhook(receiver.url('/in?a=b')));
    expect(sending).toEqual({
      kind: 'taken',
      message: `The webhook at 127.0.0.1:${receiver.port} took it (200).`,
    });
    const [asked] = receiver.asked;
    expect(asked).toMatchObject({ method: 'POST', path: '/in?a=b', body: JSON_TEXT });
    expect(asked?.headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(JSON_TEXT)),
      'x-ferryd-id': '6a1d',
      'x-ferryd-timestamp': String(NOON / 1000),
    });
    expect(asked?.headers).not.toHaveProperty('x-ferryd-signature');
  });

  it('is signed: the HMAC covers time and body', async () => {
    await using directory = await temporaryDirectory('notice');
    await writeFile(directory.join('key'), 'sesame\n', { mode: 0o600 });
    await using receiver = await Receiver.open();
    const key = { kind: 'file', path: directory.join('key') } as const;
    expect(await tell(webhook(receiver.url(), { key }))).toMatchObject({ kind: 'taken' });
    const [asked] = receiver.asked;
    const expected = createHmac('sha256', 'sesame')
      .update(`${asked?.headers['x-ferryd-timestamp']}.${JSON_TEXT}`)
      .digest('hex');
    expect(asked?.headers['x-ferryd-signature']).toBe(`sha256=${expected}`);
  });

  it.each([
    [204, 'taken'],
    [301, 'not-now'],
    [307, 'not-now'],
    [400, 'refused'],
    [404, 'refused'],
    [408, 'not-now'],
    [410, 'refused'],
    [425, 'not-now'],
    [429, 'not-now'],
    [500, 'not-now'],
    [503, 'not-now'],
  ] as const)('that answers %i: %s', async (status, kind) => {
    await using receiver = await Receiver.open();
    receiver.answer = () => ({ status, headers: { location: receiver.url('/elsewhere') } });
    const sending = await tell(webhook(receiver.url()));
    expect(sending).toMatchObject({ kind, message: expect.stringContaining(String(status)) });
    expect(receiver.asked).toHaveLength(1);
  });

  it('is left alone for as long as it asks for, in seconds or until a date', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => ({ status: 429, headers: { 'retry-after': '120' } });
    expect(await tell(webhook(receiver.url()))).toMatchObject({ kind: 'not-now', afterMs: 120_000 });
    const date = new Date(NOON + 90_000).toUTCString();
    receiver.answer = () => ({ status: 503, headers: { 'retry-after': date } });
    expect(await tell(webhook(receiver.url()))).toMatchObject({ kind: 'not-now', afterMs: 90_000 });
    receiver.answer = () => ({ status: 503, headers: { 'retry-after': 'soon' } });
    expect(await tell(webhook(receiver.url()))).toMatchObject({ kind: 'not-now', afterMs: undefined });
  });

  it('may say more than anybody wants to read', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => ({ status: 200, text: 'x'.repeat(20_000_000) });
    expect(await tell(webhook(receiver.url()))).toMatchObject({ kind: 'taken' });
  });

  it('that does not answer, cuts the line or is not there, is asked again', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 'silence';
    const silent = await tell(webhook(receiver.url(), { timeLimitMs: 60 }));
    expect(silent).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('did not answer within 0.06 s'),
    });
    receiver.answer = () => 'cut';
    expect(await tell(webhook(receiver.url()))).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('cut the connection'),
    });
    expect(await tell(webhook(`http://127.0.0.1:${await deadPort()}/`))).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('refuses connections'),
    });
  });

  it('is called off at a stop', async () => {
    await using receiver = await Receiver.open();
    const stop = new AbortController();
    receiver.answer = () => {
      stop.abort();
      return 'silence';
    };
    expect(await tell(webhook(receiver.url()), { signal: stop.signal })).toEqual({ kind: 'stopped' });
    expect(await tell(webhook(receiver.url()), { signal: stop.signal })).toEqual({ kind: 'stopped' });
    expect(receiver.asked).toHaveLength(1);
  });

  it('shows a certificate that is trusted, or hears nothing', async () => {
    const { ca, good, wrongHost, expired } = await certificates();
    await using receiver = await Receiver.open(good);
    expect(await tell(webhook(receiver.url()), { authorities: ca.cert })).toMatchObject({ kind: 'taken' });
    expect(await tell(webhook(receiver.url()))).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('does not trust'),
    });
    expect(receiver.asked).toHaveLength(1);
    for (const [certificate, words] of [
      [wrongHost, 'for another name'],
      [expired, 'has expired'],
    ] as const) {
      await using other = await Receiver.open(certificate);
      expect(await tell(webhook(other.url()), { authorities: ca.cert })).toMatchObject({
        kind: 'not-now',
        message: expect.stringContaining(words),
      });
      expect(other.asked).toHaveLength(0);
    }
  });

  it('is never named by more than its host', async () => {
    await using receiver = await Receiver.open();
    const secret = 'T0P-SECRET';
    for (const status of [200, 302, 404, 500]) {
      receiver.answer = () => ({
        status,
        text: `Cannot POST /hook/${secret}`,
        headers: { location: `/${secret}` },
      });
      expect(JSON.stringify(await tell(webhook(receiver.url(`/hook/${secret}`))))).not.toContain(secret);
    }
    for (const value of [`ftp://example.net/${secret}`, `http://example.net/${secret}`, secret]) {
      const url = { kind: 'env', name: 'HOOK' } as const;
      const sending = await tell(webhook('', { url }), { environment: { HOOK: value } });
      expect(sending).toMatchObject({
        kind: 'not-now',
        message: expect.stringContaining('the URL of the webhook'),
      });
      expect(JSON.stringify(sending)).not.toContain(secret);
    }
  });

  it('whose URL or key cannot be read is told, and tried again', async () => {
    await using receiver = await Receiver.open();
    const missing = { kind: 'env', name: 'NOWHERE' } as const;
    expect(await tell(webhook('', { url: missing }))).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('NOWHERE is not set'),
    });
    expect(await tell(webhook(receiver.url(), { key: missing }))).toMatchObject({
      kind: 'not-now',
      message: expect.stringContaining('the key of the webhook'),
    });
    expect(receiver.asked).toEqual([]);
  });
});
