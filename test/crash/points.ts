/*
 * The points at which a process of ours can be killed: before and after every write of the ledger, every command sent,
 * every reply read, every piece of data sent, and every step on the disk that changes it. Counted by wrapping what all
 * of these go through (better-sqlite3, net or an SSH channel, fs), so that nothing in src/ knows of it. A reply of FTP
 * is counted one by one however many come in one packet. At the wanted point the process kills itself (SIGKILL): nothing runs after that.
 *
 * Two points of one state have nothing between them that outlives this process: no change of the ledger, of the disk or
 * of the server, but at most a question to it. Lives in a process of its own (victim.ts), where it patches for good.
 */
import fs from 'node:fs';
import net from 'node:net';
import { basename } from 'node:path';
import Database from 'better-sqlite3';
import { wrapChannels } from './channel-points.js';

export type Kind = 'ledger' | 'command' | 'reply' | 'data' | 'disk';

/** One point, in the order in which they were met. */
export interface Point {
  readonly when: 'before' | 'after';
  readonly kind: Kind;
  /** What is done there, for a person: `STOR .ferryd-0a.part`, `150 Ok to go.`, `commit`, `rename x y`. */
  readonly what: string;
  /** Counted from 0; the same for points between which nothing is changed that outlives the process. */
  readonly state: number;
}

export interface Watching {
  readonly protocol: 'ftp' | 'sftp';
  /** The server's port: connections to it are control connections, all others carry data. */
  readonly port: number;
  /** The place of the point in the order of all; undefined: nobody is killed. */
  readonly killAt: number | undefined;
}

const points: Point[] = [];
let watching: Watching | undefined;
let state = 0;

/** As it was before it was wrapped. */
const { writeSync } = fs;

function say(line: string): void {
  writeSync(1, line);
}

/** From now on points are counted. */
export function watch(how: Watching): void {
  watching = how;
}

/** What was met so far. */
export function met(): readonly Point[] {
  return points;
}

/** Wraps the modules; once in a process. */
export async function install(): Promise<void> {
  wrapLedger();
  wrapNet();
  wrapChannels({ meet, pass });
  await wrapDisk();
}

function meet(when: Point['when'], kind: Kind, what: string): void {
  if (watching === undefined) return;
  if (points.length === watching.killAt) {
    say(`${when} ${kind} ${what}\n`);
    process.kill(process.pid, 'SIGKILL');
  }
  points.push({ when, kind, what, state });
}

/** Something has changed that outlives this process. */
function pass(): void {
  state += 1;
}

function around<T>(kind: Kind, what: string, work: () => T): T {
  meet('before', kind, what);
  const result = work();
  pass();
  meet('after', kind, what);
  return result;
}

async function aroundAsync<T>(kind: Kind, what: string, work: () => Promise<T>): Promise<T> {
  meet('before', kind, what);
  const result = await work();
  pass();
  meet('after', kind, what);
  return result;
}

type Work = (...args: unknown[]) => unknown;

/** Puts another function in the place of one; it is given the old one, bound to whatever it is called on. */
function replace(
  owner: object,
  name: string,
  wrap: (old: Work, self: unknown, args: unknown[]) => unknown,
): void {
  const old: unknown = Reflect.get(owner, name);
  if (typeof old !== 'function') throw new Error(`there is no ${name} to wrap`);
  const replacement = function (this: unknown, ...args: unknown[]): unknown {
    return wrap((...given) => Reflect.apply(old, this, given), this, args);
  };
  Object.defineProperty(owner, name, { value: replacement, configurable: true, writable: true });
}

/** A transaction counts where it ends; whatever is written outside of one commits by itself. */
function wrapLedger(): void {
  const outside = (self: unknown): boolean =>
    self instanceof Database && !self.inTransaction && !self.readonly;
  for (const name of ['exec', 'pragma'] as const) {
    replace(Database.prototype, name, (old, self, args) => {
      const sql = String(args[0]);
      const writes = outside(self) && (name === 'exec' || WRITING_PRAGMAS.test(sql));
      return writes ? around('ledger', sql, () => old(...args)) : old(...args);
    });
  }
  const probe = new Database(':memory:');
  const statement = Object.getPrototypeOf(probe.prepare('SELECT 1')) as object;
  probe.close();
  const reading = new WeakSet<object>();
  // better-sqlite3 begins and ends its transactions by statements too.
  replace(statement, 'run', (old, self, args) => {
    const source = String(Reflect.get(Object(self), 'source'));
    const database = Object(Reflect.get(Object(self), 'database')) as object;
    if (source.startsWith('BEGIN')) {
      // By our own rule: who writes takes the lock first.
      if (source === 'BEGIN DEFERRED') reading.add(database);
      else reading.delete(database);
      return old(...args);
    }
    const writes = source === 'COMMIT' ? !reading.has(database) : outside(database);
    return writes ? around('ledger', source.slice(0, 40), () => old(...args)) : old(...args);
  });
}

const WRITING_PRAGMAS = /^(auto_vacuum|journal_mode) =|checkpoint|incremental_vacuum/;

function wrapNet(): void {
  replace(net, 'connect', (old, _, args) => {
    const socket = old(...args);
    if (!(socket instanceof net.Socket)) throw new Error('not a socket');
    // What goes over an SSH connection is told by its channels.
    if (watching?.protocol === 'sftp') return socket;
    const [options] = args;
    const isControl =
      typeof options === 'object' && options !== null && Reflect.get(options, 'port') === watching?.port;
    if (isControl) wrapControl(socket);
    else wrapData(socket);
    return socket;
  });
}

/** What changes nothing at the server but the session, which ends with the process. */
const QUESTIONS =
  /^(USER|PASS|ACCT|FEAT|CLNT|OPTS|TYPE|PWD|SYST|CWD|EPSV|PASV|MLSD|MLST|LIST|NLST|SIZE|REST|RETR|NOOP|QUIT|MDTM (?!\d{14} ))/;

function wrapControl(socket: net.Socket): void {
  /** Whether what was sent last only asks: then its replies bring nothing new either. */
  let asks = true;
  replace(socket, 'write', (old, _, args) => {
    const commands = String(args[0]).trimEnd().split('\r\n');
    asks = commands.every((command) => QUESTIONS.test(command));
    const what = commands.join(' + ');
    meet('before', 'command', what);
    const result = old(...args);
    if (!asks) pass();
    meet('after', 'command', what);
    return result;
  });
  /** The end of the last chunk, where that was no whole line. */
  let unended = '';
  replace(socket, 'emit', (old, _, args) => {
    const [event, chunk] = args;
    if (event !== 'data' || !Buffer.isBuffer(chunk)) return old(...args);
    if (!asks) pass();
    for (const piece of piecesOf(chunk, unended)) {
      if (piece.ends === 'reply') meet('before', 'reply', piece.bytes.toString().trimEnd());
      old(event, piece.bytes);
      if (piece.ends === 'reply') meet('after', 'reply', piece.bytes.toString().trimEnd());
    }
    unended = `${unended}${chunk.toString('latin1')}`.split('\n').at(-1) ?? '';
    return true;
  });
}

interface Piece {
  readonly bytes: Buffer;
  /** A reply counts where it ends, however many lines and chunks it has. */
  readonly ends: 'reply' | 'nothing';
}

function piecesOf(chunk: Buffer, unended: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  let line = 0;
  for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', line)) {
    const text = `${line === 0 ? unended : ''}${chunk.toString('latin1', line, end)}`;
    line = end + 1;
    if (!/^\d{3} /.test(text)) continue;
    pieces.push({ bytes: chunk.subarray(from, line), ends: 'reply' });
    from = line;
  }
  if (from < chunk.length) pieces.push({ bytes: chunk.subarray(from), ends: 'nothing' });
  return pieces;
}

function wrapData(socket: net.Socket): void {
  replace(socket, 'write', (old, _, args) =>
    around('data', `${Buffer.isBuffer(args[0]) ? args[0].length : 0} bytes`, () => old(...args)),
  );
}

/** A disk is asked at once or in the thread pool: both ways are wrapped. */
async function wrapDisk(): Promise<void> {
  wrapDirect();
  await wrapPooled();
}

/** Who holds a lock is told to people only; and the ledger's own directory is no step of a run. */
function isNote([path, how]: readonly unknown[]): boolean {
  return String(path).includes('.locks/') || Object(how).recursive === true;
}

function makes(flags: unknown): boolean {
  return typeof flags === 'number' && (flags & fs.constants.O_CREAT) !== 0;
}

function wrapDirect(): void {
  /** Under which name a descriptor was opened. */
  const names = new Map<unknown, string>();
  replace(fs, 'openSync', (old, _, args) => {
    const [path, flags] = args;
    if (isNote(args)) return old(...args);
    const open = (): unknown => old(...args);
    const fd = makes(flags) ? around('disk', `create ${nameOf(path)}`, open) : open();
    names.set(fd, nameOf(path));
    return fd;
  });
  replace(fs, 'closeSync', (old, _, args) => {
    names.delete(args[0]);
    return old(...args);
  });
  for (const name of ['renameSync', 'linkSync', 'unlinkSync', 'mkdirSync', 'rmdirSync']) {
    replace(fs, name, (old, _, args) =>
      isNote(args) ? old(...args) : around('disk', wordsOf(name.slice(0, -4), args), () => old(...args)),
    );
  }
  for (const [name, verb] of [
    ['writeSync', 'write'],
    ['fchmodSync', 'chmod'],
    ['futimesSync', 'utimes'],
  ] as const) {
    replace(fs, name, (old, _, args) => {
      const file = names.get(args[0]);
      return file === undefined ? old(...args) : around('disk', `${verb} ${file}`, () => old(...args));
    });
  }
  for (const [name, verb] of [
    ['write', 'write'],
    ['fsync', 'sync'],
  ] as const) {
    replace(fs, name, (old, _, args) => {
      const file = names.get(args[0]);
      const done = args.at(-1);
      if (file === undefined || typeof done !== 'function') return old(...args);
      meet('before', 'disk', `${verb} ${file}`);
      return old(...args.slice(0, -1), (...given: unknown[]) => {
        pass();
        meet('after', 'disk', `${verb} ${file}`);
        Reflect.apply(done, undefined, given);
      });
    });
  }
}

async function wrapPooled(): Promise<void> {
  /** Under which name a handle was opened. */
  const names = new WeakMap<object, string>();
  replace(fs.promises, 'open', async (old, _, args) => {
    const name = nameOf(args[0]);
    const open = async (): Promise<unknown> => old(...args);
    const handle = await (makes(args[1]) ? aroundAsync('disk', `create ${name}`, open) : open());
    names.set(Object(handle), name);
    return handle;
  });
  for (const name of ['rename', 'rm', 'mkdir', 'rmdir', 'unlink', 'link']) {
    replace(fs.promises, name, (old, _, args) =>
      aroundAsync('disk', wordsOf(name, args), async () => old(...args)),
    );
  }
  const handle = await fs.promises.open('/dev/null');
  const prototype = Object.getPrototypeOf(handle) as object;
  await handle.close();
  for (const name of ['write', 'chmod', 'utimes', 'sync']) {
    replace(prototype, name, (old, self, args) =>
      aroundAsync('disk', `${name} ${names.get(Object(self)) ?? ''}`, async () => old(...args)),
    );
  }
}

function wordsOf(verb: string, args: readonly unknown[]): string {
  return [verb, ...args.filter((arg) => typeof arg === 'string').map(nameOf)].join(' ');
}

function nameOf(path: unknown): string {
  return basename(String(path));
}
