/*
 * The handshake by itself: what we show of ourselves, how far we go up in versions, and what a person is told where
 * either does not fit. Trust in the server's certificate is tested in connect.test.ts, through the client.
 */
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FtpError } from '../../src/ftp/errors.js';
import { handshake, refusedIdentity, type TlsTrust } from '../../src/ftp/tls.js';
import { type Certificate, type Certificates, certificates } from '../support/certificates.js';
import { failure, held, nothingLeft } from './stage.js';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;
const where = 'nas.example.net:21';

let before: ReadonlyMap<string, number>;
let all: Certificates;
let closing: (() => Promise<void>)[];
beforeEach(async () => {
  all = await certificates();
  before = held();
  closing = [];
});
afterEach(async () => {
  for (const close of closing) await close();
  await nothingLeft(before);
});

async function listening(connected: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    connected(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

interface Asked {
  /** The common name of the client certificate that was shown, once the handshake is over there. */
  readonly name: string | string[] | undefined;
  readonly protocol: string | null;
}

/** A TLS server that may want a client certificate. */
async function server(options: {
  readonly min?: 'TLSv1.2' | 'TLSv1.3';
  readonly max?: 'TLSv1.2' | 'TLSv1.3';
  readonly clientCa?: string;
  readonly ecdhCurve?: string;
}): Promise<{ port: number; asked: Promise<Asked> }> {
  const { min = 'TLSv1.2', max = 'TLSv1.3', clientCa, ecdhCurve } = options;
  const secureContext = tls.createSecureContext({
    cert: all.good.cert,
    key: all.good.key,
    minVersion: min,
    maxVersion: max,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    ...(ecdhCurve === undefined ? {} : { ecdhCurve }),
  });
  let tell: (asked: Asked) => void = () => {};
  const asked = new Promise<Asked>((resolve) => {
    tell = resolve;
  });
  const wanted = clientCa !== undefined;
  const port = await listening((socket) => {
    const secure = new tls.TLSSocket(socket, {
      isServer: true,
      secureContext,
      requestCert: wanted,
      rejectUnauthorized: wanted,
    });
    secure.on('error', () => {}).resume();
    secure.once('secure', () =>
      tell({ name: secure.getPeerCertificate().subject?.CN, protocol: secure.getProtocol() }),
    );
  });
  return { port, asked };
}

function trust(changes: Partial<TlsTrust> = {}): TlsTrust {
  return {
    ca: all.ca.cert,
    pin: undefined,
    verify: true,
    serverName: 'localhost',
    identity: undefined,
    maxVersion: 'TLSv1.3',
    ...changes,
  };
}

function identityOf({ cert, key }: Certificate): NonNullable<TlsTrust['identity']> {
  return { certificate: cert, key, passphrase: undefined };
}

/** The client's certificate with its key encrypted. */
function locked(passphrase: string | undefined): NonNullable<TlsTrust['identity']> {
  const key = createPrivateKey(all.client.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'correct horse',
  });
  return { certificate: all.client.cert, key: key.toString(), passphrase };
}

/** Shakes hands; the socket goes when the test does. */
const shake = (port: number, changes: Partial<TlsTrust> = {}): Promise<tls.TLSSocket> =>
  shakeWith(port, trust(changes));

async function shakeWith(port: number, trusted: TlsTrust): Promise<tls.TLSSocket> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  closing.unshift(async () => void socket.destroy());
  const secure = await handshake({
    socket,
    host: '127.0.0.1',
    trust: trusted,
    session: undefined,
    timeoutMs: 5_000,
    phase: 'tls',
    where,
    onSession: () => {},
  });
  closing.unshift(async () => void secure.destroy());
  return secure;
}

/** A certificate request is answered after the handshake under TLS 1.3, so the refusal comes at the first read. */
async function refusal(port: number, changes: Partial<TlsTrust>): Promise<FtpError> {
  const work = shake(port, changes).then(async (secure) => {
    const [error] = await once(secure.resume(), 'error');
    throw refusedIdentity(error, where, 'tls', trust(changes)) ?? error;
  });
  return failure(work);
}

describe('the client certificate', () => {
  test.each(versions)('%s: is shown where it is asked for', async (version) => {
    const { port, asked } = await server({ min: version, max: version, clientCa: all.ca.cert });
    await shake(port, { identity: identityOf(all.client) });
    expect(await asked).toEqual({ name: 'ferry', protocol: version });
  });

  test('is not shown where nobody asks', async () => {
    const { port, asked } = await server({});
    await shake(port, { identity: identityOf(all.client) });
    expect((await asked).name).toBeUndefined();
  });

  test('works with a key that a passphrase opens', async () => {
    const { port, asked } = await server({ clientCa: all.ca.cert });
    await shake(port, { identity: locked('correct horse') });
    expect((await asked).name).toBe('ferry');
  });

  test('under TLS 1.2: a server that gets none, and what a person can do', async () => {
    const { port } = await server({ max: 'TLSv1.2', clientCa: all.ca.cert });
    const error = await refusal(port, {});
    expect(error).toMatchObject({ kind: 'handshake', phase: 'tls' });
    expect(error.message).toContain('Does the server demand a client certificate?');
    expect(error.message).toContain('tls.certificate and tls.key');
  });

  test('under TLS 1.3: a server that gets none says so at the first read', async () => {
    const { port } = await server({ min: 'TLSv1.3', clientCa: all.ca.cert });
    const error = await refusal(port, {});
    expect(error).toMatchObject({
      kind: 'certificate',
      phase: 'tls',
      code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    });
    expect(error.message).toBe(
      `${where} demands a client certificate (it says "certificate required"): set tls.certificate and tls.key.`,
    );
  });

  /** Alerts by number (RFC 8446 section 6), as a server sends them in place of its part of the handshake. */
  test.each([
    [42, 'bad certificate', 'certificate'],
    [43, 'unsupported certificate', 'certificate'],
    [44, 'certificate revoked', 'certificate'],
    [45, 'certificate expired', 'certificate'],
    [46, 'certificate unknown', 'certificate'],
    [48, 'unknown ca', 'certificate'],
    [49, 'access denied', 'certificate'],
    [40, 'HANDSHAKE_FAILURE', 'handshake'],
    [70, 'PROTOCOL_VERSION', 'handshake'],
    [80, 'INTERNAL_ERROR', 'handshake'],
  ] as const)('alert %i (%s)', async (number, said, kind) => {
    const port = await listening((socket) => {
      socket.once('data', () => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, number])));
    });
    const error = await failure(shake(port, { identity: identityOf(all.client) }));
    expect(error).toMatchObject({ kind, phase: 'tls' });
    expect(error.message).toContain(said);
    if (kind === 'certificate') expect(error.message).toContain('check tls.certificate');
    else expect(error.message).not.toContain('demand a client certificate');
  });

  interface Flaw {
    readonly identity: () => NonNullable<TlsTrust['identity']>;
    readonly sentence: string;
  }
  const flaws: Readonly<Record<string, Flaw>> = {
    'the key of another certificate': {
      identity: () => ({ ...identityOf(all.client), key: all.good.key }),
      sentence: 'tls.key does not belong to the first certificate in tls.certificate.',
    },
    'a wrong passphrase': {
      identity: () => locked('incorrect horse'),
      sentence: 'tls.passphrase does not open tls.key.',
    },
    'an encrypted key without a passphrase': {
      identity: () => locked(undefined),
      sentence: 'tls.key is encrypted, and there is no tls.passphrase to open it.',
    },
    'a key that is none': {
      identity: () => ({ ...identityOf(all.client), key: 'hello' }),
      sentence: 'tls.key holds no private key in PEM form.',
    },
    'a certificate in the place of the key': {
      identity: () => ({ ...identityOf(all.client), key: all.client.cert }),
      sentence: 'tls.key holds no private key in PEM form.',
    },
    'a certificate that is none': {
      identity: () => ({ ...identityOf(all.client), certificate: 'hello' }),
      sentence: 'tls.certificate holds no certificate in PEM form.',
    },
  };

  test.each(Object.entries(flaws))('%s', async (_name, { identity, sentence }) => {
    const ended: Promise<unknown>[] = [];
    const port = await listening((socket) => {
      ended.push(new Promise((resolve) => socket.resume().once('close', resolve)));
    });
    const error = await failure(shake(port, { identity: identity() }));
    expect(error).toMatchObject({ kind: 'certificate', phase: 'tls' });
    expect(error.message).toBe(`TLS with ${where} cannot begin: ${sentence}`);
    for (const secret of ['PRIVATE', 'horse']) expect(error.message).not.toContain(secret);
    await Promise.all(ended);
  });
});

describe('versions', () => {
  test.each([
    ['TLSv1.3', {}, 'TLSv1.3'],
    ['TLSv1.2', {}, 'TLSv1.2'],
    ['TLSv1.3', { max: 'TLSv1.2' }, 'TLSv1.2'],
  ] as const)('up to %s against %o: %s', async (maxVersion, versionsThere, expected) => {
    const { port, asked } = await server(versionsThere);
    const secure = await shake(port, { maxVersion });
    expect(secure.getProtocol()).toBe(expected);
    expect((await asked).protocol).toBe(expected);
  });

  test('none in common', async () => {
    const { port } = await server({ min: 'TLSv1.3' });
    const error = await failure(shake(port, { maxVersion: 'TLSv1.2' }));
    expect(error).toMatchObject({ kind: 'handshake', phase: 'tls' });
    expect(error.message).toContain('no TLS version in common');
  });

  test.each(versions)(
    '%s: the pin is held against the key also with a client certificate',
    async (version) => {
      const { port } = await server({ min: version, max: version, clientCa: all.ca.cert });
      const error = await failure(
        shake(port, { identity: identityOf(all.client), pin: all.selfSigned.pin, maxVersion: version }),
      );
      expect(error).toMatchObject({ kind: 'certificate', code: 'PIN' });
      const again = await server({ min: version, max: version, clientCa: all.ca.cert });
      await shake(again.port, { identity: identityOf(all.client), pin: all.good.pin, maxVersion: version });
      expect((await again.asked).name).toBe('ferry');
    },
  );
});

describe('the group that the server agrees on a key in', () => {
  /** How often the client says hello to a server in one handshake: twice where its first key is in no group of theirs. */
  async function hellos(port: number, trusted: TlsTrust): Promise<number> {
    const said: Buffer[] = [];
    const between = await listening((socket) => {
      const behind = net.connect(port, '127.0.0.1').on('error', () => {});
      socket.on('data', (chunk: Buffer) => said.push(chunk)).once('close', () => behind.destroy());
      socket.pipe(behind).pipe(socket);
    });
    await shakeWith(between, trusted);
    const bytes = Buffer.concat(said);
    let count = 0;
    for (let at = 0; at + 5 < bytes.length; at += 5 + bytes.readUInt16BE(at + 3))
      // A handshake record, and in it a ClientHello.
      if (bytes[at] === 22 && bytes[at + 5] === 1) count += 1;
    return count;
  }

  test.each(['P-256', 'P-384', 'X448'])(
    '%s: is asked for once, and known from then on',
    async (ecdhCurve) => {
      const { port } = await server({ ecdhCurve });
      const trusted = trust();
      expect(await hellos(port, trusted)).toBe(2);
      expect(await hellos(port, trusted)).toBe(1);
      expect(await hellos(port, trusted)).toBe(1);
    },
  );

  test('a server that has another one by then is spoken with as well', async () => {
    const trusted = trust();
    await hellos((await server({ ecdhCurve: 'P-256' })).port, trusted);
    const { port } = await server({ ecdhCurve: 'X25519' });
    expect(await hellos(port, trusted)).toBe(2);
    expect(await hellos(port, trusted)).toBe(1);
  });
});

test('rubbish in one packet with the end of the handshake never ends the process', async () => {
  const inner = await server({ max: 'TLSv1.2' });
  const port = await listening((near) => {
    const far = net.connect(inner.port, '127.0.0.1').on('error', () => {});
    closing.push(async () => void far.destroy());
    near.pipe(far);
    far.on('data', (chunk) => {
      // ChangeCipherSpec: a TLS 1.2 server's last flight.
      const last = chunk.includes(Buffer.from([20, 3, 3, 0, 1, 1]));
      near.write(last ? Buffer.concat([chunk, Buffer.from('this is no TLS record')]) : chunk);
    });
  });
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  closing.unshift(async () => void socket.destroy());
  const outcome = await handshake({
    socket,
    host: '127.0.0.1',
    trust: trust(),
    session: undefined,
    timeoutMs: 5_000,
    phase: 'tls',
    where,
    onSession: () => {},
  }).then(
    // Whoever listens from here on must hear of it.
    async (secure) => (await once(secure.resume(), 'error'))[0],
    (error: unknown) => error,
  );
  expect(outcome).toMatchObject({ code: 'ERR_SSL_WRONG_VERSION_NUMBER' });
});
