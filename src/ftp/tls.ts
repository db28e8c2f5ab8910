/*
 * TLS for the control and the data connection (RFC 4217): who is trusted, who we are, and which session a data
 * connection resumes. Servers want the session of the very control connection, so sessions live with it
 * and in no cache by host. TLS 1.2 at the least. We are the TLS client also where the server made the connection
 * (section 7). Never falls back to plaintext.
 */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { FtpError, type Phase, systemCode } from './errors.js';
import { resetConnection } from './reset.js';

/** The client certificate, for servers that want one. PEM strings; a chain may follow the certificate. */
export interface TlsIdentity {
  readonly certificate: string;
  readonly key: string;
  /** Opens the key, where it is encrypted. */
  readonly passphrase: string | undefined;
}

/**
 * How the server's certificate is judged, and what we show of ourselves. Whoever opens many connections gives the same
 * object each time: what OpenSSL makes of it is then made once.
 */
export interface TlsTrust {
  /** PEM of the only authority to trust; undefined means the system's own list. */
  readonly ca: string | undefined;
  /** `sha256/<base64>` of the server's public key (SPKI). Where given, it alone decides. */
  readonly pin: string | undefined;
  /** False accepts any certificate. */
  readonly verify: boolean;
  /** Name to ask for and to expect in place of the host. */
  readonly serverName: string | undefined;
  readonly identity: TlsIdentity | undefined;
  /** `TLSv1.2` keeps TLS 1.3 out, for servers that resume no session with it. */
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
}

/** One handshake: on which socket, with whom, how long it may take. */
export interface HandshakeOptions {
  readonly socket: net.Socket;
  /** What carries the bytes to and from the socket; the socket itself where it is not given. */
  readonly through?: Duplex | undefined;
  readonly host: string;
  readonly trust: TlsTrust;
  readonly session: Buffer | undefined;
  readonly timeoutMs: number;
  readonly phase: Phase;
  /** Where, for messages: `nas.example.net:21`. */
  readonly where: string;
  readonly onSession: (session: Buffer) => void;
}

/**
 * Wraps a connected socket and resolves when the handshake is done and the peer is the trusted one.
 * On failure the socket is reset: after a FIN a server may take the data connection for an empty file.
 *
 * @throws {FtpError} kind `certificate`, `handshake`, `timeout`
 */
export async function handshake(options: HandshakeOptions): Promise<tls.TLSSocket> {
  const { trust, where, phase } = options;
  const secure = begin(options);
  secure.on('session', options.onSession);
  // Rubbish may lie behind the handshake in one packet, before anybody else can listen: it must not end the process.
  secure.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    const fail = (error: FtpError): void => {
      settle();
      resetConnection(options.socket, secure);
      reject(error);
    };
    const onSecure = (): void => {
      settle();
      resolve();
    };
    const onError = (error: Error): void => fail(tlsError(error, options));
    const onClose = (): void =>
      fail(new FtpError('handshake', `${where} closed the connection during the TLS handshake.`, { phase }));
    const timer = setTimeout(
      () =>
        fail(
          new FtpError('timeout', `${where} did not finish the TLS handshake in ${options.timeoutMs} ms.`, {
            phase,
          }),
        ),
      options.timeoutMs,
    );
    const settle = (): void => {
      clearTimeout(timer);
      secure.off('secureConnect', onSecure).off('error', onError).off('close', onClose);
    };
    secure.once('secureConnect', onSecure).once('error', onError).once('close', onClose);
  });
  if (secure.errored !== null || secure.destroyed) {
    resetConnection(options.socket, secure);
    throw tlsError(secure.errored ?? new Error('the connection was closed'), options);
  }
  // A resumed session proves by itself that the peer is the one whose key was checked before.
  if (trust.pin !== undefined && !secure.isSessionReused()) {
    const seen = pinOf(secure);
    if (seen !== trust.pin) {
      resetConnection(options.socket, secure);
      throw new FtpError(
        'certificate',
        `${where} shows the key ${seen}, and the pin is ${trust.pin}. If the server's key was changed on purpose, change the pin; else somebody may be in between.`,
        { phase, code: 'PIN' },
      );
    }
  }
  rememberGroup(trust, secure);
  return secure;
}

/** Everything that can be wrong with what we bring ourselves shows here, before a byte is sent. */
function begin(options: HandshakeOptions): tls.TLSSocket {
  const { trust, where, phase } = options;
  const name = trust.serverName ?? options.host;
  const { identity } = trust;
  try {
    return tls.connect({
      socket: options.through ?? options.socket,
      secureContext: contextOf(trust),
      host: name,
      ...(net.isIP(name) === 0 ? { servername: name } : {}),
      ...(options.session === undefined ? {} : { session: options.session }),
      rejectUnauthorized: trust.verify && trust.pin === undefined,
    });
  } catch (error) {
    resetConnection(options.socket, undefined);
    const code = systemCode(error);
    const flaw = identity === undefined ? undefined : identityFlaw(identity);
    if (flaw !== undefined) {
      const message = `TLS with ${where} cannot begin: ${flaw}`;
      throw new FtpError('certificate', message, { phase: 'tls', code: code ?? 'IDENTITY', cause: error });
    }
    const message = `TLS with ${where} cannot begin (${code ?? String(error)}). Check the tls settings of this server.`;
    throw new FtpError('handshake', message, { phase, code, cause: error });
  }
}

/** A context costs more than the handshake that resumes a session, so there is one for each trust. It keeps no session. */
const contexts = new WeakMap<TlsTrust, tls.SecureContext>();

/**
 * The groups to agree on a key in, as OpenSSL wants them: the one that the server took before comes first. TLS 1.3 sends
 * a key of the first one with its first word, and a server that wants another (vsftpd: P-256) asks for that, which
 * would cost each file a round trip.
 */
const groups = new WeakMap<TlsTrust, string>();

/** In the order in which OpenSSL prefers them. All are offered, whichever is first. */
const GROUPS = ['X25519', 'prime256v1', 'X448', 'secp521r1', 'secp384r1'];

function contextOf(trust: TlsTrust): tls.SecureContext {
  const known = contexts.get(trust);
  if (known !== undefined) return known;
  const { ca, identity, maxVersion } = trust;
  const context = tls.createSecureContext({
    ...(ca === undefined ? {} : { ca }),
    ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
    ...(identity?.passphrase === undefined ? {} : { passphrase: identity.passphrase }),
    ecdhCurve: groups.get(trust) ?? 'auto',
    minVersion: 'TLSv1.2',
    maxVersion,
  });
  contexts.set(trust, context);
  return context;
}

/** The next handshake begins with the group that this one has ended with. */
function rememberGroup(trust: TlsTrust, secure: tls.TLSSocket): void {
  if (secure.getProtocol() !== 'TLSv1.3') return;
  const key = secure.getEphemeralKeyInfo();
  const name = key !== null && 'name' in key ? key.name : undefined;
  const first = groups.get(trust)?.split(':')[0] ?? GROUPS[0];
  if (name === undefined || name === first || !GROUPS.includes(name)) return;
  const order = [name, ...GROUPS.filter((other) => other !== name)].join(':');
  try {
    tls.createSecureContext({ ecdhCurve: order });
  } catch {
    // An OpenSSL that is restricted to some of them (FIPS) goes on with its own order.
    return;
  }
  groups.set(trust, order);
  contexts.delete(trust);
}

/** What is wrong with a client certificate and its key, as a sentence. Undefined where they fit. */
function identityFlaw({ certificate, key, passphrase }: TlsIdentity): string | undefined {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    return 'tls.certificate holds no certificate in PEM form.';
  }
  let secret: KeyObject;
  try {
    secret = createPrivateKey({ key, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    if (!key.includes('ENCRYPTED')) return 'tls.key holds no private key in PEM form.';
    return passphrase === undefined
      ? 'tls.key is encrypted, and there is no tls.passphrase to open it.'
      : 'tls.passphrase does not open tls.key.';
  }
  if (!leaf.checkPrivateKey(secret))
    return 'tls.key does not belong to the first certificate in tls.certificate.';
  return undefined;
}

/** `sha256/<base64>` of the peer's public key. */
function pinOf(secure: tls.TLSSocket): string {
  const key = secure.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  return key === undefined
    ? 'of no certificate'
    : `sha256/${createHash('sha256').update(key).digest('base64')}`;
}

/** OpenSSL's and Node's words for a certificate that is not trusted; all other TLS errors may pass. */
const CERTIFICATE_CODE =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH|CRL_)/;

function tlsError(error: Error, { where, phase, trust }: HandshakeOptions): FtpError {
  const code = systemCode(error);
  if (code !== undefined && CERTIFICATE_CODE.test(code)) {
    return new FtpError('certificate', `${where}: ${certificateSentence(code, error)}`, {
      phase,
      code,
      cause: error,
    });
  }
  const refused = refusedIdentity(error, where, phase, trust);
  if (refused !== undefined) return refused;
  const failed = `The TLS handshake with ${where} failed (${code ?? error.message}).`;
  return new FtpError('handshake', `${failed} ${handshakeAdvice(code, trust)}`, {
    phase,
    code,
    cause: error,
  });
}

function handshakeAdvice(code: string | undefined, trust: TlsTrust): string {
  if (code?.includes('PROTOCOL_VERSION') === true) {
    return 'The server and this side have no TLS version in common; ferryd speaks TLS 1.2 and 1.3.';
  }
  // Under TLS 1.2 this is also all that a server says that wants a client certificate.
  if (code?.includes('ALERT_HANDSHAKE_FAILURE') === true && trust.identity === undefined) {
    return 'Does the server demand a client certificate? Set tls.certificate and tls.key then.';
  }
  return 'Does the server speak TLS on this port?';
}

/** The alerts (RFC 8446 section 6.2) that a server has for a client certificate only, since only we could show one. */
const IDENTITY_ALERT =
  /_ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA|ACCESS_DENIED|NO_CERTIFICATE)$/;

/**
 * Reads an error of a TLS stream as the server's refusal of the client certificate, or of there being none. Under
 * TLS 1.3 that comes after the handshake, at the first read, so whoever reads has to ask here.
 *
 * @returns undefined where the error is another one
 */
export function refusedIdentity(
  error: unknown,
  where: string,
  phase: Phase,
  trust: TlsTrust,
): FtpError | undefined {
  const code = systemCode(error);
  const alert = code === undefined ? undefined : IDENTITY_ALERT.exec(code)?.[1];
  if (alert === undefined) return undefined;
  const said = alert.toLowerCase().replaceAll('_', ' ');
  const message =
    trust.identity === undefined
      ? `${where} demands a client certificate (it says "${said}"): set tls.certificate and tls.key.`
      : `${where} refuses the client certificate (it says "${said}"): check tls.certificate, and which authority the server wants it from.`;
  return new FtpError('certificate', message, { phase, code, cause: error });
}

function certificateSentence(code: string, error: Error): string {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return "the server's certificate has expired. Renew it on the server.";
    case 'CERT_NOT_YET_VALID':
      return "the server's certificate is not valid yet. Is the clock of this machine right?";
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the server's certificate is for another name (${error.message.replace(/^[^.]*\.?\s*/, '')}). Connect by that name, or set tls.serverName.`;
    default:
      return `the server's certificate is not trusted (${code}). Give its authority as tls.ca, or its key as tls.pin.`;
  }
}
