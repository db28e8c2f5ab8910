/*
 * Certificates for tests and for the demo, made once per process by `selfsigned`: a CA and, signed by it, a good one
 * and the bad ones a client must refuse. ECDSA P-256, because it takes milliseconds. Nothing is written to disk.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

/** PEM strings of one certificate. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** `sha256/<base64>` over the public key (SPKI), as a server's `pin` has it. */
  readonly pin: string;
}

export interface Certificates {
  readonly ca: Certificate;
  /** For localhost, 127.0.0.1 and ::1. */
  readonly good: Certificate;
  /** Names as `good`, but over since yesterday. */
  readonly expired: Certificate;
  /** Signed and in time, but for `elsewhere.test` only. */
  readonly wrongHost: Certificate;
  /** Names as `good`, but signed by itself. */
  readonly selfSigned: Certificate;
  /** For a client; common name `ferry`. */
  readonly client: Certificate;
}

const dayMs = 24 * 3600 * 1000;

type Extension = NonNullable<NonNullable<Parameters<typeof generate>[1]>['extensions']>[number];

const here: Extension = {
  name: 'subjectAltName',
  altNames: [
    { type: 2, value: 'localhost' },
    { type: 7, ip: '127.0.0.1' },
    { type: 7, ip: '::1' },
  ],
};

let made: Promise<Certificates> | undefined;

/** The certificates of this process. */
export function certificates(): Promise<Certificates> {
  made ??= make();
  return made;
}

/** `sha256/<base64>` over the public key of a PEM certificate. */
export function pinOf(cert: string): string {
  const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256/${createHash('sha256').update(spki).digest('base64')}`;
}

async function make(): Promise<Certificates> {
  const ca = await one('ferryd test CA', {
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const [good, expired, wrongHost, selfSigned, client] = await Promise.all([
    one('localhost', { ca, extensions: leaf('server', here) }),
    one('localhost', { ca, extensions: leaf('server', here), notAfterDate: new Date(Date.now() - dayMs) }),
    one('elsewhere.test', {
      ca,
      extensions: leaf('server', {
        name: 'subjectAltName',
        altNames: [{ type: 2, value: 'elsewhere.test' }],
      }),
    }),
    one('localhost', { extensions: leaf('server', here) }),
    one('ferry', { ca, extensions: leaf('client') }),
  ]);
  return { ca, good, expired, wrongHost, selfSigned, client };
}

function leaf(use: 'server' | 'client', ...more: Extension[]): Extension[] {
  return [
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, critical: true },
    { name: 'extKeyUsage', serverAuth: use === 'server', clientAuth: use === 'client' },
    ...more,
  ];
}

async function one(
  name: string,
  options: { readonly extensions: Extension[]; readonly ca?: Certificate; readonly notAfterDate?: Date },
): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    ...options,
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 2 * dayMs),
  });
  return { cert, key, pin: pinOf(cert) };
}
