/*
 * A log file with rotation by size and age. Lines are appended in the background; whatever goes wrong with the disk is
 * told once to whoever asked, the lines that follow wait in a bounded backlog, and writing is tried again until it
 * goes. A file that was moved away (logrotate) or is shared with another process is noticed before each write.
 * It does not compress, and does not wait for the disk (fsync): a log is no ledger.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BACKLOG_BYTES, FLUSH_WITHIN_MS } from './outlet.js';

export interface LogFileSettings {
  /** Absolute. */
  readonly path: string;
  /** A new file is begun before this one would become longer; a single line may be. */
  readonly maxBytes: number;
  /** A new file is begun for the first line that comes when this one's first is so old. */
  readonly maxAgeMs: number;
  /** How many earlier files are kept. */
  readonly keep: number;
}

export interface LogFileOptions {
  /** Hears once, in a sentence, that the file cannot be written. Must not throw. */
  readonly onTrouble: (message: string) => void;
  /** Hears that it is written again, and how many lines are missing in it. */
  readonly onRecovery: (message: string) => void;
  /** Says within the file, without a line's end, how many lines are missing there. */
  readonly droppedLine: (lines: number) => string;
  /** Milliseconds since 1970; tests give their own. */
  readonly now?: (() => number) | undefined;
  /** What passes between two tries while the file cannot be written; 10 seconds by default. */
  readonly retryMs?: number | undefined;
}

const RETRY_MS = 10_000;

/** `.20261123T023000.123Z`: sorts by time, and the system's file names need no quoting for it. */
const STAMP = /^\.(\d{8}T\d{6}\.\d{3}Z)$/;

/** Each line of ours begins with its time; where a file begins with something else, the system's time counts. */
const FIRST_TIME = /^\{"time":"([^"]{1,40})"/;
const FIRST_TIME_BYTES = 64;

interface Opened {
  readonly handle: FileHandle;
  readonly device: number;
  readonly inode: number;
  /** When its first line was written, in milliseconds since 1970. */
  readonly beganMs: number;
  sizeBytes: number;
}

/*
 * writing  -> (the disk refuses) troubled -> (a try succeeds) writing
 * either   -> (close) closed
 */
type State =
  | { readonly kind: 'writing' }
  | { readonly kind: 'troubled'; retry: NodeJS.Timeout | undefined }
  | { readonly kind: 'closed' };

/** Never throws. Nothing is opened before the first line. */
export class LogFile {
  readonly #options: LogFileOptions;
  readonly #now: () => number;
  readonly #behind: Promise<void>;
  #settings: LogFileSettings;
  #state: State = { kind: 'writing' };
  #file: Opened | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #work: Promise<void> | undefined;

  /** @param behind what has to be over before the first line is written: a former use of the same path */
  constructor(settings: LogFileSettings, options: LogFileOptions, behind: Promise<void> = Promise.resolve()) {
    this.#behind = behind;
    this.#settings = settings;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Takes one line, with its end. What comes after `close` is not written. */
  write(line: string): void {
    if (this.#state.kind === 'closed') return;
    const bytes = Buffer.from(line);
    if (this.#waitingBytes + bytes.length > BACKLOG_BYTES) {
      this.#dropped += 1;
      this.#enterTrouble('lines come faster than its disk takes them, and some will be missing in it');
      return;
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#state.kind === 'writing') this.#begin();
  }

  /** Takes over other limits, for the same path. A file that could not be written is tried again at once. */
  configure(settings: LogFileSettings): void {
    this.#settings = settings;
    this.#retry();
  }

  /** Writes out what waits, for two seconds at most, and lets the file go. Never rejects. */
  async close(): Promise<void> {
    if (this.#state.kind === 'closed') return;
    this.#retry();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_WITHIN_MS);
    });
    await Promise.race([this.#work, late]);
    clearTimeout(timer);
    if (this.#state.kind === 'troubled') clearTimeout(this.#state.retry);
    this.#state = { kind: 'closed' };
    await Promise.race([
      this.#letGo(),
      new Promise((resolve) => setTimeout(resolve, FLUSH_WITHIN_MS).unref()),
    ]);
  }

  #begin(): void {
    this.#work ??= this.#empty().finally(() => {
      this.#work = undefined;
    });
  }

  /** Writes until nothing waits, or the disk refuses. */
  async #empty(): Promise<void> {
    try {
      // What was logged in one go comes in one go, too.
      await this.#behind;
      while (this.#waiting.length > 0 && this.#state.kind !== 'closed') {
        await this.#writeSome();
        this.#leaveTrouble();
      }
    } catch (error) {
      await this.#letGo();
      this.#enterTrouble(reasonOf(error));
    }
  }

  /** As many of the lines that wait as the file has room for. */
  async #writeSome(): Promise<void> {
    const file = await this.#ready(this.#waiting[0]?.length ?? 0);
    const { maxBytes } = this.#settings;
    let count = 0;
    let bytes = 0;
    for (const line of this.#waiting) {
      if (count > 0 && file.sizeBytes + bytes + line.length > maxBytes) break;
      count += 1;
      bytes += line.length;
    }
    await append(file, Buffer.concat(this.#waiting.slice(0, count)));
    this.#waiting = this.#waiting.slice(count);
    this.#waitingBytes -= bytes;
  }

  /** The file that the next line belongs into: the one at the path, or a new one where that is full or old. */
  async #ready(nextBytes: number): Promise<Opened> {
    const { path, maxBytes, maxAgeMs } = this.#settings;
    const there = await standing(path);
    if (this.#file !== undefined && !isSame(this.#file, there)) await this.#letGo();
    if (this.#file !== undefined) this.#file.sizeBytes = there?.size ?? 0;
    let file = this.#file ?? (await openFile(path, this.#now()));
    this.#file = file;
    const full = file.sizeBytes + nextBytes > maxBytes;
    if (file.sizeBytes > 0 && (full || this.#now() - file.beganMs >= maxAgeMs)) {
      await this.#letGo();
      await putAside(path, { keep: this.#settings.keep, nowMs: this.#now() });
      file = await openFile(path, this.#now());
      this.#file = file;
    }
    return file;
  }

  async #letGo(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close().catch(() => undefined);
  }

  #retry(): void {
    if (this.#state.kind === 'closed' || this.#waiting.length === 0) return;
    if (this.#state.kind === 'troubled') {
      clearTimeout(this.#state.retry);
      this.#state.retry = undefined;
    }
    this.#begin();
  }

  #enterTrouble(reason: string): void {
    if (this.#state.kind === 'closed') return;
    if (this.#state.kind === 'writing') {
      this.#state = { kind: 'troubled', retry: undefined };
      this.#options.onTrouble(
        `The log file ${this.#settings.path} cannot be written: ${reason}. The log goes on on standard error; the file is tried again every ${(this.#options.retryMs ?? RETRY_MS) / 1000} s.`,
      );
    }
    // It must not keep a process that is done.
    this.#state.retry ??= setTimeout(() => this.#retry(), this.#options.retryMs ?? RETRY_MS).unref();
  }

  #leaveTrouble(): void {
    if (this.#state.kind !== 'troubled') return;
    clearTimeout(this.#state.retry);
    this.#state = { kind: 'writing' };
    const lines = this.#dropped;
    this.#dropped = 0;
    const missing = lines === 0 ? 'No line is missing in it' : `${lines} lines are missing in it`;
    this.#options.onRecovery(`The log file ${this.#settings.path} is written again. ${missing}.`);
    if (lines > 0) {
      const line = Buffer.from(`${this.#options.droppedLine(lines)}\n`);
      this.#waiting.push(line);
      this.#waitingBytes += line.length;
    }
  }
}

/** Opens the file for appending and makes it, with its directory, where it is missing. */
async function openFile(path: string, nowMs: number): Promise<Opened> {
  // O_NONBLOCK: a FIFO that took the file's place would hold a thread for ever.
  const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  let handle: FileHandle;
  try {
    handle = await open(path, flags, 0o600);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    handle = await open(path, flags, 0o600);
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw irregular();
    const beganMs = found.size === 0 ? nowMs : await beginningOf(handle, found);
    const file = { handle, device: found.dev, inode: found.ino, beganMs, sizeBytes: found.size };
    // A line that a power cut broke off does not spoil the next one.
    if (found.size > 0 && (await lastByte(handle, found.size)) !== '\n')
      await append(file, Buffer.from('\n'));
    return file;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Writes all of it, or takes back what was written of it. */
async function append(file: Opened, bytes: Buffer): Promise<void> {
  let written = 0;
  try {
    // A disk with little room takes a part of it, and says so in no other way.
    while (written < bytes.length) {
      const { bytesWritten } = await file.handle.write(bytes, written);
      if (bytesWritten === 0) throw new Error('it takes no byte');
      written += bytesWritten;
    }
  } catch (error) {
    if (written > 0) await takeBack(file, written);
    throw error;
  }
  file.sizeBytes += bytes.length;
}

/** Where somebody else has appended meanwhile, the broken line is left; the next opening ends it. */
async function takeBack({ handle, sizeBytes }: Opened, written: number): Promise<void> {
  try {
    const { size } = await handle.stat();
    if (size === sizeBytes + written) await handle.truncate(sizeBytes);
  } catch {
    // The disk that refused the line refuses this as well.
  }
}

async function beginningOf(handle: FileHandle, found: Stats): Promise<number> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(FIRST_TIME_BYTES), 0, FIRST_TIME_BYTES, 0);
  const time = Date.parse(FIRST_TIME.exec(buffer.toString('latin1', 0, bytesRead))?.[1] ?? '');
  return Number.isNaN(time) ? found.birthtimeMs : time;
}

async function lastByte(handle: FileHandle, sizeBytes: number): Promise<string> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, sizeBytes - 1);
  return buffer.toString('latin1', 0, bytesRead);
}

/** Renames the file after its time, and removes the oldest of those that were put aside before. */
async function putAside(
  path: string,
  { keep, nowMs }: { readonly keep: number; readonly nowMs: number },
): Promise<void> {
  const earlier = await asideOf(path);
  const newest = earlier.at(-1);
  // A clock that went back does not make the newest file the oldest.
  const afterMs = newest === undefined ? 0 : timeOf(newest) + 1;
  const name = `${path}.${stampOf(Math.max(nowMs, afterMs))}`;
  try {
    await rename(path, name);
  } catch (error) {
    // Another process has just put it aside.
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const surplus = [...earlier, basename(name)].slice(0, -Math.max(1, keep));
  for (const old of surplus) {
    await unlink(join(dirname(path), old)).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
    });
  }
}

/** Names of the files that were put aside, oldest first. Whatever else stands beside them is not ours. */
async function asideOf(path: string): Promise<string[]> {
  const base = basename(path);
  const names = await readdir(dirname(path));
  return names.filter((name) => name.startsWith(base) && STAMP.test(name.slice(base.length))).sort();
}

/** `20261123T023000.123Z` */
function stampOf(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]/g, '');
}

function timeOf(name: string): number {
  const stamp = name.slice(-'20261123T023000.123Z'.length);
  const [, year, month, day, hour, minute, rest] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(.*)$/.exec(stamp) ?? [];
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${rest}`);
  return Number.isNaN(ms) ? 0 : ms;
}

/** What stands at the path, where that is a file. @throws where it is something else */
async function standing(path: string): Promise<Stats | undefined> {
  let found: Stats;
  try {
    found = await stat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (!found.isFile()) throw irregular();
  return found;
}

function irregular(): Error {
  return new Error('what stands there is not a regular file');
}

function isSame(file: Opened, there: Stats | undefined): boolean {
  return there !== undefined && there.ino === file.inode && there.dev === file.device;
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'its disk is full'],
  ['EDQUOT', 'its disk quota is used up'],
  ['EFBIG', 'its file system takes no longer file'],
  ['EROFS', 'its disk is mounted read-only'],
  ['EACCES', 'the user that ferryd runs as may not write there'],
  ['EPERM', 'the user that ferryd runs as may not write there'],
  ['EISDIR', 'what stands there is a directory'],
  ['ENOTDIR', 'a part of its path is not a directory'],
  ['ENAMETOOLONG', 'its path is too long'],
  ['EIO', 'its disk reports an error'],
]);

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const known = REASONS.get(code);
  if (known !== undefined) return `${known} (${code})`;
  if (code !== '') return code;
  return error instanceof Error ? error.message : String(error);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
