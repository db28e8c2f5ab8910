/*
 * Replies on the control connection (RFC 959 section 4.2), read from a byte stream that may be cut anywhere.
 * A reply ends with the line that begins with the first line's code and a space; lines between may look like
 * anything, replies included. Lenient in form (LF alone, any text), strict in bounds: a server cannot make
 * this parser hold more than one reply of 64 KiB. Knows nothing of commands.
 */

import type { Charset } from './charset.js';

/** One complete reply. */
export interface Reply {
  /** 100 to 599. */
  readonly code: number;
  /** The lines as sent, without line ends; the first still has its code. Raw: not safe to print. */
  readonly lines: readonly string[];
}

/** Thrown when what arrives cannot be FTP. The message says what was wrong, without quoting raw bytes. */
export class MalformedReply extends Error {
  override readonly name = 'MalformedReply';
}

const LINE_LIMIT_BYTES = 8 * 1024;
const REPLY_LIMIT_BYTES = 64 * 1024;
const LF = 0x0a;

/** Collects bytes and hands out whole replies. */
export class ReplyParser {
  readonly #charset: Charset | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #lines: string[] = [];
  #code = '';
  #replyBytes = 0;

  /** @param charset how paths in replies are written; what it cannot read, and all without it, is read as UTF-8 */
  constructor(charset?: Charset) {
    this.#charset = charset;
  }

  /** True while bytes lie here that are not part of a complete reply. */
  get holdsBytes(): boolean {
    return this.#rest.length > 0 || this.#lines.length > 0;
  }

  /**
   * Takes what arrived and yields the replies it completes, in order.
   *
   * @throws {MalformedReply} on a NUL, a first line without a code, a code outside 100-599, or a broken limit
   */
  *push(chunk: Buffer): Generator<Reply> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    try {
      for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF)) {
        const line = bytes.subarray(0, end);
        bytes = bytes.subarray(end + 1);
        const reply = this.#line(line);
        if (reply !== undefined) yield reply;
      }
      if (bytes.length > LINE_LIMIT_BYTES)
        throw new MalformedReply(`a line of over ${LINE_LIMIT_BYTES} bytes`);
      if (bytes.includes(0)) throw new MalformedReply('a NUL byte in a reply');
    } finally {
      this.#rest = Buffer.from(bytes);
    }
  }

  #line(raw: Buffer): Reply | undefined {
    if (raw.length > LINE_LIMIT_BYTES) throw new MalformedReply(`a line of over ${LINE_LIMIT_BYTES} bytes`);
    if (raw.includes(0)) throw new MalformedReply('a NUL byte in a reply');
    this.#replyBytes += raw.length + 1;
    if (this.#replyBytes > REPLY_LIMIT_BYTES)
      throw new MalformedReply(`a reply of over ${REPLY_LIMIT_BYTES} bytes`);
    const line = (this.#charset?.decode(raw) ?? raw.toString('utf8')).replace(/\r$/, '');
    if (this.#lines.length === 0) {
      // RFC 959 has no empty replies, but some servers put a blank line before the next one.
      if (line === '') return undefined;
      const start = /^(\d{3})(?:$|[ -])/.exec(line);
      if (start?.[1] === undefined) throw new MalformedReply('a line without a reply code');
      if (start[1] < '100' || start[1] > '599') throw new MalformedReply(`the reply code ${start[1]}`);
      this.#code = start[1];
      this.#lines.push(line);
      return line[3] === '-' ? undefined : this.#finish();
    }
    this.#lines.push(line);
    const ends = line.startsWith(this.#code) && (line.length === 3 || line[3] === ' ');
    return ends ? this.#finish() : undefined;
  }

  #finish(): Reply {
    const reply = { code: Number(this.#code), lines: this.#lines };
    this.#lines = [];
    this.#replyBytes = 0;
    return reply;
  }
}

/** The hundreds of a reply's code: 1 preliminary, 2 done, 3 go on, 4 not now, 5 never. */
export function replyClass(reply: Reply): 1 | 2 | 3 | 4 | 5 {
  return Math.floor(reply.code / 100) as 1 | 2 | 3 | 4 | 5;
}

/** A reply's words in one line without its codes, safe to print and at most 300 characters long. */
export function replyText(reply: Reply): string {
  const own = new RegExp(`^${reply.code}[ -]?`);
  const words = reply.lines.map((line) => line.replace(own, '').trim()).filter((line) => line !== '');
  return printable(words.join(' / '));
}

/**
 * Makes text from the wire harmless: control characters (ANSI escapes with them), bidi marks and other
 * invisible format characters become `?`, and the length is bounded.
 */
export function printable(text: string): string {
  const harmless = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
  return harmless.length > 300 ? `${harmless.slice(0, 300)}...` : harmless;
}
