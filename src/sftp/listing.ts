/*
 * Listings: OPENDIR, READDIR until the end, CLOSE (draft-ietf-secsh-filexfer-02 section 6.7). A listing is whole only
 * where the server says that it has ended; everything else is an error, never a shorter listing. The names are whatever
 * the server sends: what can be no name in a directory is marked, not judged.
 */
import { readAttributes } from './attributes.js';
import { type FieldReader, MalformedPacket, PACKET } from './packet.js';
import { type Answer, DONE } from './requests.js';
import { HANDLE, type Session, shownPath } from './session.js';
import type { Entry, Path, RequestOptions } from './types.js';

/** One directory; more are a server that lists for ever. */
const ENTRIES_LIMIT = 4_000_000;
/** An entry takes at least its lengths and flags. */
const LEAST_ENTRY_BYTES = 12;
const NAME_LIMIT_BYTES = 4_096;
/** Answers without an entry, one behind the other. */
const EMPTY_LIMIT = 64;
/** READDIR under way at once where the server does one thing after the other. */
const AHEAD = 4;

const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * Yields the entries of a directory as they come, without `.` and `..`.
 *
 * @throws {SftpError} `status` where it is refused at any point; `malformed` for a listing without an end; `stalled`,
 *   `aborted`; why the session ended
 */
export async function* list(
  session: Session,
  path: Path,
  { signal }: RequestOptions = {},
): AsyncGenerator<readonly Entry[], void, undefined> {
  const { requests } = session;
  const asked = 'list a directory';
  const fields = [session.path(path, 'OPENDIR')];
  const transfer = session.transfer('listing from', 'READDIR', signal);
  const close = (handle: Buffer): void => {
    // Nothing depends on it, and nobody waits for it.
    void requests.ask({
      type: PACKET.CLOSE,
      request: 'CLOSE',
      asked: 'close a directory',
      fields: [handle],
      answer: DONE,
    });
  };
  const ask = <T>(type: number, request: string, to: readonly Buffer[], answer: Answer<T>): Promise<T> => {
    transfer.asked();
    return requests.ask({
      type,
      request,
      asked,
      fields: to,
      answer,
      phase: 'transfer',
      transfer,
      settled: () => transfer.answered(),
      shown: () => (type === PACKET.OPENDIR ? shownPath(path) : ''),
    });
  };
  let handle: Buffer | undefined;
  let state: 'under way' | 'over' = 'under way';
  try {
    transfer.check();
    const opened = ask(PACKET.OPENDIR, 'OPENDIR', fields, HANDLE);
    opened.then(
      (late) => {
        // It came after all, for a listing that was given up.
        if (handle === undefined && state === 'over') close(late);
      },
      () => {},
    );
    handle = await transfer.until(opened);
    const directory = [handle];
    const next: Answer<readonly Entry[] | undefined> = {
      type: PACKET.NAME,
      read: (body) => readEntries(session, body),
      end: { value: undefined },
    };
    const ahead: Promise<readonly Entry[] | undefined>[] = [];
    let told = 0;
    let empty = 0;
    for (let ended: 'yes' | 'no' = 'no'; ended === 'no' || ahead.length > 0; ) {
      const depth = session.isSerial ? AHEAD : 1;
      // Filled up by halves: the end of a short directory has come by then, and is not asked for once more.
      if (ended === 'no' && ahead.length <= depth / 2)
        while (ahead.length < depth) ahead.push(ask(PACKET.READDIR, 'READDIR', directory, next));
      const batch = ahead.shift();
      if (batch === undefined) break;
      const entries = await transfer.until(batch);
      if (entries === undefined) {
        ended = 'yes';
        continue;
      }
      told += entries.length;
      empty = entries.length === 0 ? empty + 1 : 0;
      if (told > ENTRIES_LIMIT || empty > EMPTY_LIMIT) {
        const what = empty > EMPTY_LIMIT ? 'nothing, again and again,' : `more than ${ENTRIES_LIMIT} entries`;
        throw requests.outOfStep(`it tells ${what} of one directory, and no end`, 'READDIR');
      }
      const named = entries.filter(({ bytes }) => !isDots(bytes));
      if (named.length > 0) yield named;
    }
  } finally {
    state = 'over';
    transfer.end();
    if (handle !== undefined) close(handle);
  }
}

function isDots(bytes: Buffer): boolean {
  return bytes[0] === DOT && (bytes.length === 1 || (bytes.length === 2 && bytes[1] === DOT));
}

function readEntries(session: Session, body: FieldReader): readonly Entry[] {
  const count = body.uint32();
  if (count * LEAST_ENTRY_BYTES > body.leftBytes)
    throw new MalformedPacket(`${count} names in a packet without room`);
  const entries: Entry[] = [];
  for (let place = 0; place < count; place += 1) {
    const bytes = body.bytes();
    const line = body.bytes();
    const attributes = readAttributes(body, line);
    const possible = bytes.length > 0 && bytes.length <= NAME_LIMIT_BYTES && !bytes.includes(SLASH);
    const { name } = possible ? session.name(bytes) : { name: undefined };
    entries.push({ name, bytes, attributes });
  }
  return entries;
}
