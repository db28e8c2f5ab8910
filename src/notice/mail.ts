/*
 * Tells a notice by mail, over SMTP (RFC 5321): the only importer of nodemailer, which is loaded when there is a mail
 * to send and not before. Certificates are checked; where TLS was asked for there is no going on without it, and where
 * a user was named there is no sending without a login.
 * Plain text, one message for all recipients. What others said stands in the text, and harmless in the subject: no
 * header is made of it otherwise.
 */
import net from 'node:net';
import type { Channel } from '../job/job.js';
import { readSecret, SecretError } from '../job/secret.js';
import { printable } from '../report/printable.js';
import { formatDuration, runSentence } from '../report/summary.js';
import type { NoticeBody } from './body.js';
import { wordsOf } from './http.js';
import type { Sending, SendingContext } from './sending.js';

type Mail = Extract<Channel, { kind: 'mail' }>;

/** RFC 5322, section 2.1.1 wants lines of at most 78 characters; folding is nodemailer's, reading is a person's. */
const LONGEST_SUBJECT = 120;

/** A login that was refused is not repeated soon: a second try could lock the account. */
const AFTER_REFUSED_LOGIN_MS = 3_600_000;

export async function tellMail(
  channel: Mail,
  body: NoticeBody,
  { environment, signal, authorities }: SendingContext,
): Promise<Sending> {
  const login = await readLogin(channel, environment);
  if (typeof login === 'string') return { kind: 'not-now', message: login };
  const { createTransport } = await import('nodemailer');
  const { host, port, security, timeLimitMs } = channel;
  // Both ways of calling it off end the connection; which it was is told by `signal`.
  const cut = new AbortController();
  const onAbort = (): void => cut.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(onAbort, timeLimitMs);
  if (signal.aborted) cut.abort();
  const transport = createTransport({
    // Its own way asks name servers past the machine's resolver, and warns on the console.
    getSocket: (_options: unknown, done: Connected) => connect({ host, port, signal: cut.signal }, done),
    host,
    port,
    secure: security === 'implicit',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'plain',
    tls: {
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...(authorities === undefined ? {} : { ca: authorities }),
    },
    ...(login === undefined ? {} : { auth: login, forceAuth: true }),
    connectionTimeout: timeLimitMs,
    greetingTimeout: timeLimitMs,
    socketTimeout: timeLimitMs,
    socketCloseTimeout: 0,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    const { rejected } = await transport.sendMail({ ...messageOf(channel, body), signal: cut.signal });
    const but = rejected.length === 0 ? '' : `, but refused ${printable(rejected.join(', '))}`;
    return { kind: 'taken', message: `The mail server ${host} took it${but}.` };
  } catch (error) {
    if (signal.aborted) return { kind: 'stopped' };
    if (cut.signal.aborted) {
      const seconds = timeLimitMs / 1000;
      return { kind: 'not-now', message: `The mail server ${host} did not take it within ${seconds} s.` };
    }
    return judge(error, host);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    transport.close();
  }
}

type Connected = (error: Error | null, socket?: { readonly connection: net.Socket }) => void;

/** Opens the connection as everything else does: by the machine's resolver, over IPv6 or IPv4. */
function connect(
  { host, port, signal }: { readonly host: string; readonly port: number; readonly signal: AbortSignal },
  done: Connected,
): void {
  const socket = net.connect({ host, port, signal });
  // Stays: between two owners nobody else listens.
  socket.on('error', () => undefined);
  const onError = (error: Error): void => done(error);
  socket.once('error', onError);
  socket.once('connect', () => {
    socket.removeListener('error', onError);
    done(null, { connection: socket });
  });
}

/** The login; undefined where there is none, a sentence where it cannot be read. */
async function readLogin(
  { host, user, password }: Mail,
  environment: SendingContext['environment'],
): Promise<{ readonly user: string; readonly pass: string } | string | undefined> {
  if (user === undefined || password === undefined) return undefined;
  try {
    return { user, pass: await readSecret(password, { what: `the password of ${host}`, environment }) };
  } catch (error) {
    if (error instanceof SecretError) return error.message;
    throw error;
  }
}

function messageOf(channel: Mail, body: NoticeBody) {
  const domain = /@([A-Za-z0-9.-]+)$/.exec(channel.from)?.[1] ?? 'localhost';
  return {
    from: { name: 'ferryd', address: channel.from },
    to: channel.to.map((address) => ({ name: '', address })),
    subject: subjectOf(body),
    text: textOf(body),
    date: new Date(body.at),
    // The same at each attempt, so that a mail box can tell a double.
    messageId: `<${body.id}@${domain}>`,
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Ferryd-Notice': body.notice },
  };
}

/** `nightly-backup failed (box)`: one line whatever the names hold. */
export function subjectOf({ notice, job, host }: NoticeBody): string {
  const subject = printable(`${job ?? 'ferryd'} ${HEADLINES[notice]} (${host})`);
  return subject.length > LONGEST_SUBJECT ? `${subject.slice(0, LONGEST_SUBJECT - 3)}...` : subject;
}

const HEADLINES: Readonly<Record<NoticeBody['notice'], string>> = {
  failure: 'failed',
  recovery: 'is well again',
  overdue: 'is overdue',
  held: 'is held',
  partial: 'left files behind',
  configuration: 'cannot be configured',
};

/** The sentences, then what a person would ask next. */
export function textOf(body: NoticeBody): string {
  const { job, host, at, since, was, run, message } = body;
  const facts: Array<readonly [string, string]> = [
    ['Job', job ?? 'none: this is about ferryd itself'],
    ['Machine', host],
    ['Found at', at],
  ];
  if (was === null) facts.push(['Not well since', since]);
  else facts.push(['Was not well since', `${was.since}, for ${formatDuration(was.durationMs)}`]);
  if (run !== null) {
    const { number, outcome, durationMs, failure: _told, ...tally } = run;
    facts.push([`Run ${number}`, runSentence({ outcome, tally, durationMs, failure: undefined })]);
  }
  const lines = facts.map(([what, value]) => `${what}: ${value}`);
  const next = job === null ? 'ferryd check' : `ferryd status ${job}`;
  return `${message}\n\n${lines.join('\n')}\n\nMore on that machine: ${next}\n`;
}

interface SmtpError {
  readonly code: string;
  readonly originalCode: string | undefined;
  /** The reply, where there was one. */
  readonly status: number | undefined;
  readonly reply: string;
}

function judge(error: unknown, host: string): Sending {
  const { code, originalCode, status, reply } = smtpErrorOf(error);
  const server = `The mail server ${host}`;
  const final = status !== undefined && status >= 500;
  switch (code) {
    case 'EAUTH':
    case 'ENOAUTH':
      // The reply is not repeated: a server that has lost its place could quote the password.
      return {
        kind: 'not-now',
        message: `${server} refused the login${status === undefined ? '' : ` (${status})`}. Look at user and password.`,
        ...(final || status === undefined ? { afterMs: AFTER_REFUSED_LOGIN_MS } : {}),
      };
    case 'EENVELOPE':
    case 'EMESSAGE': {
      const message = `${server} did not take it: ${reply}`;
      return final
        ? { kind: 'refused', message: `${message}. Look at the addresses.` }
        : { kind: 'not-now', message };
    }
    case 'ETLS':
      return {
        kind: 'not-now',
        message:
          originalCode === undefined
            ? `${server} offers no TLS that could be used.`
            : `${server} ${wordsOf(Object.assign(new Error(), { code: originalCode }))}.`,
      };
    default: {
      if (status !== undefined) return { kind: 'not-now', message: `${server} answered: ${reply}` };
      return {
        kind: 'not-now',
        message: `${server} ${wordsOf(Object.assign(new Error(), { code: originalCode ?? code }))}.`,
      };
    }
  }
}

function smtpErrorOf(error: unknown): SmtpError {
  const fields = new Map<string, unknown>(error instanceof Error ? Object.entries(error) : []);
  const [code, originalCode, responseCode, response] = [
    'code',
    'originalCode',
    'responseCode',
    'response',
  ].map((key) => fields.get(key));
  return {
    code: typeof code === 'string' ? code : 'unknown',
    originalCode: typeof originalCode === 'string' ? originalCode : undefined,
    status: typeof responseCode === 'number' ? responseCode : undefined,
    reply: printable(typeof response === 'string' ? response : '').slice(0, 300),
  };
}
