/*
 * The control connection's bytes: writes that can be waited for, the step up to TLS, and every way to end: FIN, RST,
 * or after a number of bytes. It knows no FTP. The raw socket is kept, for only that can be reset.
 */
import type { Socket } from 'node:net';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import type { Ending } from './fault.js';

export interface WireEvents {
  /** Bytes of the other side, decrypted. */
  readonly received: (chunk: Buffer) => void;
  /** The other side sent FIN; writing still works. */
  readonly ended: () => void;
  /** Nothing can be read or written any more. */
  readonly closed: () => void;
  /** A `limit` was reached. */
  readonly limitReached: (how: Ending) => void;
}

interface Limit {
  sentBytes: number;
  receivedBytes: number;
  readonly how: Ending;
}

export class Wire {
  readonly #raw: Socket;
  readonly #events: WireEvents;
  #stream: Socket;
  #limit: Limit | undefined;
  #gone = false;

  constructor(raw: Socket, events: WireEvents) {
    this.#raw = raw;
    this.#stream = raw;
    this.#events = events;
    raw.setNoDelay(true);
    // An error is always followed by 'close', which is what counts here.
    raw.on('error', () => undefined);
    raw.once('close', () => {
      this.#gone = true;
      events.closed();
    });
  }

  get gone(): boolean {
    return this.#gone;
  }

  get remoteAddress(): string | undefined {
    return this.#raw.remoteAddress;
  }

  /** Starts to read. */
  listen(): void {
    this.#stream.on('data', this.#onData);
    this.#stream.once('end', this.#onEnd);
    this.#stream.resume();
  }

  /** Stops reading; what arrives is kept for the next reader. */
  hold(): void {
    this.#stream.off('data', this.#onData);
    this.#stream.off('end', this.#onEnd);
    this.#stream.pause();
  }

  /** Reads and forgets, and still hears the end; resolves with the first bytes, or with the end. */
  ignore(): Promise<void> {
    this.hold();
    this.#stream.once('end', this.#onEnd);
    return new Promise((resolve) => {
      this.#stream.on('data', () => resolve());
      this.#stream.once('close', () => resolve());
      this.#stream.once('end', () => resolve());
      this.#stream.resume();
    });
  }

  /** Steps up to TLS and goes on reading. Rejects where the handshake fails; the connection is gone then. */
  async secure(server: TlsServer): Promise<void> {
    this.hold();
    this.#stream = await handshake(server, this.#raw);
    this.listen();
  }

  /** Ends the connection when so many more bytes went through. */
  limit(limit: { sentBytes: number | undefined; receivedBytes: number | undefined; how: Ending }): void {
    this.#limit = {
      sentBytes: limit.sentBytes ?? Number.POSITIVE_INFINITY,
      receivedBytes: limit.receivedBytes ?? Number.POSITIVE_INFINITY,
      how: limit.how,
    };
    this.#checkLimit();
  }

  /** Writes; resolves when the kernel has the bytes, or the connection is gone. */
  async write(bytes: Uint8Array): Promise<void> {
    const limit = this.#limit;
    const part = limit === undefined ? bytes : bytes.subarray(0, limit.sentBytes);
    if (part.length > 0) await flush(this.#stream, part);
    if (limit !== undefined) {
      limit.sentBytes -= part.length;
      this.#checkLimit();
    }
  }

  /** Writes past TLS, on the bare socket. */
  writeRaw(bytes: Uint8Array): Promise<void> {
    return flush(this.#raw, bytes);
  }

  reset(): void {
    if (this.#gone) return;
    // In the middle of its FIN a socket cannot be reset: Node would lose the handle and never say 'close'.
    const ending = [this.#raw, this.#stream].some(
      (socket) => socket.writableEnded && !socket.writableFinished && socket.writableLength === 0,
    );
    if (ending) this.#raw.destroy();
    else this.#raw.resetAndDestroy();
  }

  /** FIN (with close_notify under TLS), then closed for good as soon as it is out. */
  close(): void {
    if (this.#gone) return;
    lastWords(this.#stream, this.#raw);
  }

  destroy(): void {
    this.#raw.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    const limit = this.#limit;
    if (limit === undefined) {
      this.#events.received(chunk);
      return;
    }
    const part = chunk.subarray(0, limit.receivedBytes);
    limit.receivedBytes -= part.length;
    if (part.length > 0) this.#events.received(part);
    this.#checkLimit();
  };

  readonly #onEnd = (): void => {
    // After a reset the socket goes by itself, and 'closed' says so.
    void wasReset(this.#raw).then((reset) => {
      if (!reset) this.#events.ended();
    });
  };

  #checkLimit(): void {
    const limit = this.#limit;
    if (limit === undefined || (limit.sentBytes > 0 && limit.receivedBytes > 0)) return;
    this.#limit = undefined;
    this.#events.limitReached(limit.how);
  }
}

/** The server's side of a TLS handshake on an accepted socket; the `TlsServer` never listens itself. */
export function handshake(server: TlsServer, raw: Socket): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    if (raw.destroyed) {
      reject(new Error('The connection closed before the TLS handshake'));
      return;
    }
    const settle = (): void => {
      server.off('secureConnection', onSecure);
      server.off('tlsClientError', onError);
      raw.off('close', onClose);
    };
    const onSecure = (socket: TLSSocket): void => {
      settle();
      socket.allowHalfOpen = halfOpen;
      socket.on('error', () => undefined);
      resolve(socket);
    };
    const onError = (error: Error): void => {
      settle();
      reject(error);
    };
    const onClose = (): void => onError(new Error('The connection closed during the TLS handshake'));
    server.on('secureConnection', onSecure);
    server.on('tlsClientError', onError);
    raw.once('close', onClose);
    // A FIN in the middle of the handshake must end it; the TLS socket takes this over from the raw one.
    const halfOpen = raw.allowHalfOpen;
    raw.allowHalfOpen = false;
    server.emit('connection', raw);
  });
}

/**
 * Tells after 'end' whether the other side really sent FIN. libuv reports a RST that arrives together with data as
 * a plain end; the error is still on the socket, and a write of nothing fetches it without sending anything.
 */
export function wasReset(raw: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    if (raw.destroyed) resolve(raw.errored !== null);
    else if (raw.writableEnded) resolve(false);
    else raw.write(new Uint8Array(0), (error) => resolve(error instanceof Error));
  });
}

/** Resolves when the kernel has the bytes, or never can have them. */
export function flush(stream: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableEnded) {
      resolve();
      return;
    }
    stream.write(bytes, () => resolve());
  });
}

/**
 * Ends in good order and leaves without a RST: what is out is out before the socket goes, and the other side has a
 * second to close first (a close() with unread bytes in the kernel would reset the connection).
 */
export function lastWords(stream: Socket, raw: Socket): void {
  if (stream.destroyed || raw.destroyed) return;
  const timer = setTimeout(() => raw.destroy(), 1000);
  const leave = (): void => {
    clearTimeout(timer);
    raw.destroy();
  };
  stream.once('close', leave);
  raw.once('close', leave);
  if (stream.readableEnded) {
    stream.destroySoon();
    return;
  }
  stream.once('end', () => stream.destroySoon());
  stream.resume();
  stream.end();
}
