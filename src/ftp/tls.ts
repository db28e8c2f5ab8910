/*
 * TLS for the control and the data connection (RFC 4217): who is trusted, and which session a data
 * connection resumes. Servers want the session of the very control connection, so sessions live with it
 * and in no cache by host. TLS 1.2 at the least. Never falls back to plaintext.
 */
import { createHash } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { FtpError, type Phase, systemCode } from './errors.js';
import { resetConnection } from './reset.js';

/** How the server's certificate is judged. */
export interface TlsTrust {
  /** PEM of the only authority to trust; undefined means the system's own list. */
  readonly ca: string | undefined;
  /** `sha256/<base64>` of the server's public key (SPKI). Where given, it alone decides. */
  readonly pin: string | undefined;
  /** False accepts any certificate. */
  readonly verify: boolean;
  /** Name to ask for and to expect in place of the host. */
  readonly serverName: string | undefined;
}

export interface HandshakeOptions {
  readonly socket: net.Socket;
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
  const judgedByNode = trust.verify && trust.pin === undefined;
  const name = trust.serverName ?? options.host;
  const secure = tls.connect({
    socket: options.socket,
    host: name,
    ...(net.isIP(name) === 0 ? { servername: name } : {}),
    ...(trust.ca === undefined ? {} : { ca: trust.ca }),
    ...(options.session === undefined ? {} : { session: options.session }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: judgedByNode,
  });
  secure.on('session', options.onSession);
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
    const onError = (error: Error): void => fail(tlsError(error, where, phase));
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
  return secure;
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

function tlsError(error: Error, where: string, phase: Phase): FtpError {
  const code = systemCode(error);
  if (code !== undefined && CERTIFICATE_CODE.test(code)) {
    return new FtpError('certificate', `${where}: ${certificateSentence(code, error)}`, {
      phase,
      code,
      cause: error,
    });
  }
  return new FtpError(
    'handshake',
    `The TLS handshake with ${where} failed (${code ?? error.message}). Does the server speak TLS on this port?`,
    { phase, code, cause: error },
  );
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
