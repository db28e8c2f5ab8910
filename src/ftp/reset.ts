/*
 * The end of a connection by TCP reset (RFC 9293 section 3.10.7), which is how a transfer is given up: after a
 * FIN a server may keep the part as the whole file. Only the raw socket can be reset, also below TLS, and Node
 * must not be asked for it while it is inside one of its TLS callbacks (it frees what it still uses, and the
 * process dies): so below TLS the reset waits for the event loop's next turn.
 */
import type net from 'node:net';
import type tls from 'node:tls';

/**
 * Ends a connection at once; nothing is thrown or emitted for it. Safe to call from anywhere, also twice.
 *
 * @param secure the TLS socket over `raw`, where there is one or may be one
 */
export function resetConnection(raw: net.Socket, secure: tls.TLSSocket | 'unknown' | undefined): void {
  raw.on('error', () => {});
  if (raw.connecting) {
    // Node would put the reset off until it is connected, which may be never.
    raw.destroy();
  } else if (secure === undefined) {
    reset(raw, raw);
  } else {
    if (secure !== 'unknown') secure.on('error', () => {});
    setImmediate(() => {
      reset(raw, secure === 'unknown' ? raw : secure);
      if (secure !== 'unknown') secure.destroy();
    });
  }
}

function reset(raw: net.Socket, stream: net.Socket): void {
  // All is sent and the FIN is under way: the system refuses a reset then, and Node would lose the socket for good.
  if (endsNow(raw) || endsNow(stream)) raw.destroy();
  else raw.resetAndDestroy();
}

function endsNow(socket: net.Socket): boolean {
  return socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
}
