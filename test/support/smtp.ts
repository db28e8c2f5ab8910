/*
 * A real SMTP server on loopback (the smtp-server package), which keeps what it is given. What it refuses is told by
 * its options; TLS has a certificate of ours.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** A mail as it came in. */
export interface Received {
  readonly from: string;
  readonly to: readonly string[];
  /** Whether it came over TLS. */
  readonly secure: boolean;
  readonly user: string | undefined;
  /** Headers and text, as they were sent. */
  readonly text: string;
}

export interface SmtpBox extends AsyncDisposable {
  readonly port: number;
  readonly received: readonly Received[];
  /** Users and passwords of all logins that were tried. */
  readonly logins: readonly string[];
}

/** Starts one. Log in with `ferry` and `sesame`, where logins are allowed. */
export async function startSmtp(options: SMTPServerOptions = {}): Promise<SmtpBox> {
  const received: Received[] = [];
  const logins: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    onAuth({ username, password }, _session, done) {
      logins.push(`${username}:${password}`);
      if (username === 'ferry' && password === 'sesame') done(null, { user: username });
      else done(new Error(`no such login as ${username} with ${password}`));
    },
    onData(stream, { envelope, secure, user }, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = envelope;
        received.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          secure,
          user: typeof user === 'string' ? user : undefined,
          text: Buffer.concat(chunks).toString(),
        });
        done();
      });
    },
    ...options,
  });
  // A client that finds the certificate wanting hangs up in the middle of the handshake.
  server.on('error', () => undefined);
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return {
    port: (listening.address() as AddressInfo).port,
    received,
    logins,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/** An error that the server answers with this code. */
export function refusal(code: number, words: string): Error {
  return Object.assign(new Error(words), { responseCode: code });
}
