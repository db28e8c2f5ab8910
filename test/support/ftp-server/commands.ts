/*
 * What each command does: RFC 959, 2228, 2389, 2428, 3659, 4217, 7151, and the drafts and habits that real clients
 * meet (MFMT, HASH, XCRC and its kin, SITE UTIME in two forms, MDTM that sets a time). STOU, SMNT, REIN, STRU R/P
 * and MODE B/C are left out on purpose: nobody sends them.
 */
import { createHash } from 'node:crypto';
import { promises as fs } from 'node:fs';
import { posix } from 'node:path';
import { crc32 } from 'node:zlib';
import { type ByteString, type DiskEntry, DiskRefusal, errorCode, fromBytes, toBytes } from './disk.js';
import { allFacts, factsLine, listLine, parseTime, timeValue } from './listing.js';
import type { Exchange, Session } from './session.js';
import type { Feature } from './settings.js';
import { retrieve, sendListing, store } from './transfer.js';

export interface Handler {
  readonly run: (session: Session, exchange: Exchange, argument: ByteString) => Promise<unknown>;
  /** Allowed before the login. */
  readonly open?: boolean;
  /** Uses the data connection up, also where a fault answers in its place. */
  readonly usesData?: boolean;
  /** The path in its argument, for rules that are narrowed by path. */
  readonly path?: (argument: ByteString) => ByteString;
}

type Run = Handler['run'];

const whole = (argument: ByteString): ByteString => argument;
const behindFlags = (argument: ByteString): ByteString => argument.replace(/^(?:-[A-Za-z0-9]+ ?)+/, '');
const behindWord = (argument: ByteString): ByteString => argument.slice(argument.indexOf(' ') + 1);
const behindTime = (argument: ByteString): ByteString =>
  /^\d{14} ./.test(argument) ? behindWord(argument) : argument;

/** Runs only where the feature is on; as an unknown command otherwise. */
function feature(name: Feature, run: Run): Run {
  return (session, exchange, argument) =>
    session.shared.settings.features[name]
      ? run(session, exchange, argument)
      : exchange.final(session.shared.settings.replies.unknownCommand);
}

const says =
  (text: string): Run =>
  (_session, exchange) =>
    exchange.final(text);

/** Every verb the server knows. */
export const handlers: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['USER', { run: user, open: true }],
  ['PASS', { run: pass, open: true }],
  ['ACCT', { run: account, open: true }],
  ['AUTH', { run: auth, open: true }],
  ['PBSZ', { run: bufferSize, open: true }],
  ['PROT', { run: protection, open: true }],
  ['FEAT', { run: feature('FEAT', features), open: true }],
  ['OPTS', { run: options, open: true }],
  ['CLNT', { run: feature('CLNT', says('200 Noted.')), open: true }],
  ['HOST', { run: feature('HOST', says('220 Host accepted.')), open: true }],
  [
    'SYST',
    { run: (session, exchange) => exchange.final(session.shared.settings.replies.system), open: true },
  ],
  ['NOOP', { run: says('200 NOOP ok.'), open: true }],
  ['QUIT', { run: quit, open: true }],
  ['PWD', { run: printDirectory }],
  ['XPWD', { run: printDirectory }],
  ['CWD', { run: changeDirectory, path: whole }],
  ['XCWD', { run: changeDirectory, path: whole }],
  ['CDUP', { run: (session, exchange) => changeDirectory(session, exchange, '..') }],
  ['TYPE', { run: type }],
  ['MODE', { run: fixed('S', 'Mode') }],
  ['STRU', { run: fixed('F', 'Structure') }],
  ['ALLO', { run: feature('ALLO', says('202 No storage allocation necessary.')) }],
  ['REST', { run: feature('REST', restart) }],
  ['STOR', { run: stor, usesData: true, path: whole }],
  ['APPE', { run: feature('APPE', append), usesData: true, path: whole }],
  ['RETR', { run: retr, usesData: true, path: whole }],
  ['LIST', { run: list, usesData: true, path: behindFlags }],
  ['NLST', { run: nameList, usesData: true, path: behindFlags }],
  ['MLSD', { run: feature('MLSD', machineList), usesData: true, path: whole }],
  ['MLST', { run: feature('MLST', machineEntry), path: whole }],
  ['STAT', { run: status, path: behindFlags }],
  ['SIZE', { run: feature('SIZE', size), path: whole }],
  ['MDTM', { run: feature('MDTM', modificationTime), path: behindTime }],
  ['MFMT', { run: feature('MFMT', setModificationTime), path: behindWord }],
  ['RNFR', { run: renameFrom, path: whole }],
  ['RNTO', { run: renameTo, path: whole }],
  ['DELE', { run: remove, path: whole }],
  ['MKD', { run: makeDirectory, path: whole }],
  ['XMKD', { run: makeDirectory, path: whole }],
  ['RMD', { run: removeDirectory, path: whole }],
  ['XRMD', { run: removeDirectory, path: whole }],
  ['SITE', { run: site, path: sitePath }],
  ['HASH', { run: feature('HASH', hash), path: whole }],
  ['XCRC', { run: feature('XCRC', digest('CRC32')), path: withoutRange }],
  ['XMD5', { run: feature('XMD5', digest('MD5')), path: withoutRange }],
  ['XSHA1', { run: feature('XSHA1', digest('SHA-1')), path: withoutRange }],
  ['XSHA256', { run: feature('XSHA256', digest('SHA-256')), path: withoutRange }],
  ['EPSV', { run: feature('EPSV', extendedPassive) }],
  ['PASV', { run: feature('PASV', passive) }],
  ['EPRT', { run: feature('EPRT', extendedPort) }],
  ['PORT', { run: feature('PORT', port) }],
  ['ABOR', { run: (session, exchange) => abort(session, exchange) }],
]);

// Login and TLS

async function user(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { settings } = session.shared;
  if (settings.requireTls && !session.secured)
    return exchange.final('530 Non-TLS sessions are refused; use AUTH TLS.');
  session.loggedIn = false;
  session.user = fromBytes(argument);
  return exchange.final(settings.replies.needPassword);
}

async function pass(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { settings } = session.shared;
  const name = session.user;
  if (name === undefined) return exchange.final('503 Login with USER first.');
  const guest = settings.anonymous && /^(?:anonymous|ftp)$/i.test(name);
  const known = Object.hasOwn(settings.users, name) && settings.users[name] === fromBytes(argument);
  if (!guest && !known) {
    session.user = undefined;
    session.failedLogins += 1;
    await exchange.final(settings.replies.loginWrong);
    if (session.failedLogins >= 3) session.finish('close');
    return undefined;
  }
  if (settings.account !== undefined) return exchange.final('332 Need account for login.');
  return welcome(session, exchange);
}

async function account(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const wanted = session.shared.settings.account;
  if (session.user === undefined || wanted === undefined) return exchange.final('202 No account needed.');
  if (fromBytes(argument) !== wanted) return exchange.final(session.shared.settings.replies.loginWrong);
  return welcome(session, exchange);
}

async function welcome(session: Session, exchange: Exchange): Promise<void> {
  const { settings, journal } = session.shared;
  if (settings.tooManyAt === 'login' && session.shared.open() > settings.maxConnections) {
    await exchange.final(settings.replies.tooMany.replace(/^421/, '530'));
    session.finish('close');
    return;
  }
  session.loggedIn = true;
  session.directory = toBytes(settings.home);
  journal.count('logins');
  await exchange.final(settings.replies.loggedIn);
}

async function quit(session: Session, exchange: Exchange): Promise<void> {
  await exchange.final(session.shared.settings.replies.goodbye);
  session.finish('close');
}

async function auth(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { settings } = session.shared;
  if (settings.security !== 'explicit') return exchange.final(settings.replies.unknownCommand);
  if (session.secured) return exchange.final('503 Already secured.');
  if (!/^(?:TLS(?:-C)?|SSL)$/i.test(argument)) return exchange.final('504 Unknown AUTH type.');
  session.holdReading();
  const said = await exchange.final('234 Proceed with negotiation.');
  if (said === 'said') return session.secureControl();
  if (said === 'replaced') session.resumeReading();
  return undefined;
}

async function bufferSize(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (!session.secured) return exchange.final('503 PBSZ needs a secured control connection.');
  if (!/^\d{1,10}$/.test(argument)) return exchange.final('501 PBSZ takes a number.');
  session.bufferSizeGiven = true;
  return exchange.final('200 PBSZ=0');
}

async function protection(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (!session.secured) return exchange.final('503 PROT needs a secured control connection.');
  if (!session.bufferSizeGiven) return exchange.final('503 PBSZ first.');
  const level = argument.toUpperCase();
  if (level === 'S' || level === 'E') return exchange.final('536 Level not supported.');
  if (level === 'C' && session.shared.settings.requireTls)
    return exchange.final('534 Data must be protected.');
  if (level !== 'C' && level !== 'P') return exchange.final('504 Unknown PROT level.');
  session.protectedData = level === 'P';
  return exchange.final(`200 PROT now ${level === 'P' ? 'Private' : 'Clear'}.`);
}

// What the server is and can

async function features(session: Session, exchange: Exchange): Promise<unknown> {
  const { settings } = session.shared;
  const on = settings.features;
  const lines: string[] = [];
  if (settings.security === 'explicit') lines.push('AUTH TLS');
  if (settings.security !== 'plain') lines.push('PBSZ', 'PROT');
  for (const name of [
    'CLNT',
    'EPRT',
    'EPSV',
    'HOST',
    'MDTM',
    'MFMT',
    'PASV',
    'SIZE',
    'TVFS',
    'UTF8',
  ] as const) {
    if (on[name]) lines.push(name);
  }
  if (on.REST) lines.push('REST STREAM');
  if (on.MLST || on.MLSD) {
    lines.push(
      `MLST ${allFacts.map((fact) => `${fact}${session.facts.includes(fact) ? '*' : ''};`).join('')}`,
    );
  }
  if (on.HASH) {
    lines.push(
      `HASH ${[...algorithms.keys()].map((name) => `${name}${name === session.hash ? '*' : ''}`).join(';')}`,
    );
  }
  for (const name of ['XCRC', 'XMD5', 'XSHA1', 'XSHA256'] as const) if (on[name]) lines.push(name);
  return exchange.final(settings.replies.features(lines));
}

async function options(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { features: on } = session.shared.settings;
  const [name = '', ...words] = argument.split(' ');
  const value = words.join(' ');
  switch (name.toUpperCase()) {
    case 'UTF8':
    case 'UTF-8':
      return exchange.final(on.UTF8 ? '200 Always in UTF8 mode.' : '501 Option not understood.');
    case 'MLST':
      if (!on.MLST && !on.MLSD) break;
      session.facts = allFacts.filter((fact) => value.toLowerCase().split(';').includes(fact.toLowerCase()));
      return exchange.final(`200 MLST OPTS ${session.facts.map((fact) => `${fact};`).join('')}`.trimEnd());
    case 'HASH':
      if (!on.HASH) break;
      if (!algorithms.has(value.toUpperCase())) return exchange.final('501 Unknown algorithm.');
      session.hash = value.toUpperCase();
      return exchange.final(`200 ${session.hash}`);
  }
  return exchange.final('501 Option not understood.');
}

function fixed(only: string, what: string): Run {
  return (_session, exchange, argument) =>
    exchange.final(
      argument.toUpperCase() === only ? `200 ${what} set to ${only}.` : `504 ${what} not supported.`,
    );
}

async function type(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const wanted = argument.toUpperCase();
  if (!/^(?:A(?: N)?|I|L 8)$/.test(wanted)) return exchange.final('504 Unknown TYPE.');
  session.ascii = wanted.startsWith('A');
  return exchange.final(`200 Switching to ${session.ascii ? 'ASCII' : 'Binary'} mode.`);
}

async function restart(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (!/^\d{1,15}$/.test(argument)) return exchange.final('501 REST takes a number.');
  session.offset = Number(argument);
  return exchange.final(`350 Restart position accepted (${session.offset}).`);
}

// Directories

async function printDirectory(session: Session, exchange: Exchange): Promise<unknown> {
  const quoted = fromBytes(session.directory).replaceAll('"', '""');
  return exchange.final(session.shared.settings.replies.pwd(quoted));
}

async function changeDirectory(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const path = session.shared.disk.resolve(session.directory, argument);
  try {
    const entry = await session.shared.disk.entry(path);
    if (entry.kind !== 'directory') return exchange.final('550 Not a directory.');
  } catch (error) {
    return refuse(exchange, '550 Failed to change directory.', error);
  }
  session.directory = path;
  return exchange.final('250 Directory successfully changed.');
}

async function makeDirectory(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk } = session.shared;
  const path = disk.resolve(session.directory, argument);
  try {
    await fs.mkdir(await disk.real(path, { lastLink: 'itself' }));
  } catch (error) {
    return refuse(exchange, '550 Create directory operation failed.', error);
  }
  return exchange.finalBytes(`257 "${path.replaceAll('"', '""')}" created`);
}

async function removeDirectory(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk } = session.shared;
  const path = disk.resolve(session.directory, argument);
  if (path === '/') return exchange.final('550 The root stays.');
  return attempt(
    exchange,
    '250 Remove directory operation successful.',
    '550 Remove directory operation failed.',
    async () => fs.rmdir(await disk.real(path, { lastLink: 'itself' })),
  );
}

// Files

async function stor(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (argument === '') return exchange.final('501 STOR takes a path.');
  if (session.offset > 0 && !session.shared.settings.features['REST-STOR']) {
    session.data.discard();
    return exchange.final('451 Restarted uploads are not allowed.');
  }
  const path = session.shared.disk.resolve(session.directory, argument);
  return store(session, exchange, path, { append: false, offset: session.offset });
}

async function append(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (argument === '') return exchange.final('501 APPE takes a path.');
  const path = session.shared.disk.resolve(session.directory, argument);
  return store(session, exchange, path, { append: true, offset: 0 });
}

function retr(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  return retrieve(
    session,
    exchange,
    session.shared.disk.resolve(session.directory, argument),
    session.offset,
  );
}

async function remove(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk } = session.shared;
  const path = disk.resolve(session.directory, argument);
  return attempt(exchange, '250 Delete operation successful.', '550 Delete operation failed.', async () =>
    fs.unlink(await disk.real(path, { lastLink: 'itself' })),
  );
}

async function renameFrom(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk } = session.shared;
  const path = disk.resolve(session.directory, argument);
  try {
    await fs.lstat(await disk.real(path, { lastLink: 'itself' }));
  } catch (error) {
    session.renameFrom = undefined;
    return refuse(exchange, '550 RNFR command failed.', error);
  }
  session.renameFrom = path;
  return exchange.final('350 Ready for RNTO.');
}

async function renameTo(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk, settings } = session.shared;
  const from = session.renameFrom;
  if (from === undefined) return exchange.final('503 RNFR required first.');
  const to = disk.resolve(session.directory, argument);
  try {
    const target = await disk.real(to, { lastLink: 'itself' });
    const taken = await fs.lstat(target).then(
      () => true,
      () => false,
    );
    if (taken && !settings.renameOverwrites) return exchange.final(settings.replies.renameRefused);
    await fs.rename(await disk.real(from, { lastLink: 'itself' }), target);
  } catch (error) {
    return refuse(exchange, settings.replies.renameRefused, error);
  }
  return exchange.final('250 Rename successful.');
}

async function size(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (session.ascii) return exchange.final('550 SIZE not allowed in ASCII mode.');
  const entry = await fileEntry(session, exchange, argument);
  return entry === undefined ? undefined : exchange.final(`213 ${entry.sizeBytes}`);
}

async function modificationTime(
  session: Session,
  exchange: Exchange,
  argument: ByteString,
): Promise<unknown> {
  const { settings } = session.shared;
  const set = /^(\d{14}) (.+)$/s.exec(argument);
  if (set !== null && settings.features['MDTM-SET']) {
    return setTime(session, exchange, set[1] ?? '', set[2] ?? '', '213 File modification time set.');
  }
  const entry = await fileEntry(session, exchange, argument);
  return entry === undefined ? undefined : exchange.final(`213 ${timeValue(entry.modifiedMs, settings)}`);
}

async function setModificationTime(
  session: Session,
  exchange: Exchange,
  argument: ByteString,
): Promise<unknown> {
  const match = /^(\d{14}(?:\.\d+)?) (.+)$/s.exec(argument);
  if (match === null) return exchange.final('501 MFMT takes a time and a path.');
  const [, time = '', path = ''] = match;
  return setTime(session, exchange, time, path, `213 Modify=${time}; ${fromBytes(path)}`);
}

async function setTime(
  session: Session,
  exchange: Exchange,
  time: string,
  argument: ByteString,
  done: string,
): Promise<unknown> {
  const { disk } = session.shared;
  const ms = parseTime(time);
  if (ms === undefined) return exchange.final('501 That is no time.');
  return attempt(exchange, done, '550 Could not set file modification time.', async () => {
    const real = await disk.real(disk.resolve(session.directory, argument), { lastLink: 'followed' });
    await fs.utimes(real, ms / 1000, ms / 1000);
  });
}

function sitePath(argument: ByteString): ByteString {
  const chmod = /^CHMOD [0-7]+ (.+)$/is.exec(argument);
  if (chmod !== null) return chmod[1] ?? '';
  return parseUtime(argument)?.path ?? '';
}

/** Both forms: `UTIME time path`, and `UTIME path access modification creation UTC`. */
function parseUtime(argument: ByteString): { readonly time: string; readonly path: ByteString } | undefined {
  const short = /^UTIME (\d{12}(?:\d\d)?) (.+)$/is.exec(argument);
  if (short !== null) return { time: short[1] ?? '', path: short[2] ?? '' };
  const long = /^UTIME (.+) \d{14} (\d{14}) \d{14} UTC$/is.exec(argument);
  return long === null ? undefined : { time: long[2] ?? '', path: long[1] ?? '' };
}

async function site(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk, settings } = session.shared;
  const chmod = /^CHMOD ([0-7]{3,4}) (.+)$/is.exec(argument);
  if (chmod !== null && settings.features['SITE-CHMOD']) {
    return attempt(exchange, '200 SITE CHMOD command ok.', '550 SITE CHMOD command failed.', async () => {
      const real = await disk.real(disk.resolve(session.directory, chmod[2] ?? ''), { lastLink: 'followed' });
      await fs.chmod(real, Number.parseInt(chmod[1] ?? '', 8));
    });
  }
  const utime = parseUtime(argument);
  if (utime !== undefined && settings.features['SITE-UTIME']) {
    return setTime(session, exchange, utime.time, utime.path, '200 SITE UTIME command ok.');
  }
  return exchange.final('500 Unknown SITE command.');
}

// Hashes

const algorithms: ReadonlyMap<string, string> = new Map([
  ['SHA-256', 'sha256'],
  ['SHA-512', 'sha512'],
  ['SHA-1', 'sha1'],
  ['MD5', 'md5'],
  ['CRC32', 'crc32'],
]);

async function hash(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk } = session.shared;
  try {
    const bytes = await fs.readFile(
      await disk.real(disk.resolve(session.directory, argument), { lastLink: 'followed' }),
    );
    const value = digestOf(session.hash, bytes);
    return exchange.finalBytes(`213 ${session.hash} 0-${bytes.length} ${value} ${argument}`);
  } catch (error) {
    return refuse(exchange, '550 HASH failed.', error);
  }
}

/** `XCRC path`, or `XCRC "path" start end` with the range left out. */
function withoutRange(argument: ByteString): ByteString {
  return /^"(.+)"(?: \d+ \d+)?$/s.exec(argument)?.[1] ?? argument;
}

function digest(algorithm: string): Run {
  return async (session, exchange, argument) => {
    const { disk } = session.shared;
    const [, start, end] = / (\d+) (\d+)$/.exec(argument.startsWith('"') ? argument : '') ?? [];
    try {
      const path = disk.resolve(session.directory, withoutRange(argument));
      const bytes = await fs.readFile(await disk.real(path, { lastLink: 'followed' }));
      const part =
        start === undefined || end === undefined ? bytes : bytes.subarray(Number(start), Number(end));
      return exchange.final(`250 ${digestOf(algorithm, part).toUpperCase()}`);
    } catch (error) {
      return refuse(exchange, '550 Hash failed.', error);
    }
  };
}

function digestOf(algorithm: string, bytes: Buffer): string {
  if (algorithm === 'CRC32') return crc32(bytes).toString(16).padStart(8, '0');
  return createHash(algorithms.get(algorithm) ?? 'sha256')
    .update(bytes)
    .digest('hex');
}

// Listings

interface Listed {
  readonly entries: readonly DiskEntry[];
  /** The path is a directory, not a file that lists itself. */
  readonly directory: boolean;
  readonly truncated: boolean;
}

async function entriesOf(
  session: Session,
  exchange: Exchange,
  argument: ByteString,
): Promise<Listed | undefined> {
  const { disk, settings } = session.shared;
  const path = disk.resolve(session.directory, argument);
  try {
    const entry = await disk.entry(path);
    const all = entry.kind === 'directory' ? await disk.list(path) : [entry];
    const add = exchange.faults.find('wrongSize')?.addBytes ?? 0;
    const entries = all
      .slice(0, settings.listingLimit)
      .map((each) => (each.kind === 'file' ? { ...each, sizeBytes: each.sizeBytes + add } : each));
    return { entries, directory: entry.kind === 'directory', truncated: entries.length < all.length };
  } catch (error) {
    if (settings.missingListing === 'empty') return { entries: [], directory: true, truncated: false };
    session.data.discard();
    await refuse(exchange, `${settings.missingListing} No such file or directory.`, error);
    return undefined;
  }
}

async function sendLines(
  session: Session,
  exchange: Exchange,
  listed: Listed,
  lines: readonly ByteString[],
): Promise<void> {
  const { settings, journal } = session.shared;
  journal.count('listings');
  const bytes = Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
  const count = listed.entries.length;
  const final = listed.truncated
    ? `226-Options: -l\n226 Output truncated to ${count} matches`
    : settings.replies.listed;
  await sendListing(session, exchange, bytes, final);
}

function lineOf(session: Session): (entry: DiskEntry) => ByteString {
  const { listing, listingOffsetMinutes: offsetMinutes } = session.shared.settings;
  const nowMs = Date.now();
  return (entry) => listLine(entry, listing, { nowMs, offsetMinutes });
}

async function list(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const listed = await entriesOf(session, exchange, behindFlags(argument));
  if (listed === undefined) return undefined;
  return sendLines(session, exchange, listed, listed.entries.map(lineOf(session)));
}

async function nameList(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const listed = await entriesOf(session, exchange, behindFlags(argument));
  if (listed === undefined) return undefined;
  return sendLines(
    session,
    exchange,
    listed,
    listed.entries.map((entry) => entry.name),
  );
}

async function machineList(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const listed = await entriesOf(session, exchange, argument);
  if (listed === undefined) return undefined;
  if (!listed.directory) {
    session.data.discard();
    return exchange.final('501 Not a directory.');
  }
  const { disk, settings } = session.shared;
  const path = disk.resolve(session.directory, argument);
  const here = await disk.entry(path).catch(() => undefined);
  const parent = await disk.entry(posix.dirname(path)).catch(() => undefined);
  const special = [
    ...(here === undefined ? [] : [{ ...here, name: '.', kind: 'cdir' as const }]),
    ...(parent === undefined ? [] : [{ ...parent, name: '..', kind: 'pdir' as const }]),
  ];
  const lines = [...special, ...listed.entries].map((entry) => factsLine(entry, session.facts, settings));
  return sendLines(session, exchange, listed, lines);
}

async function machineEntry(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { disk, settings } = session.shared;
  const path = disk.resolve(session.directory, argument);
  try {
    const entry = await disk.entry(path);
    const add = entry.kind === 'file' ? (exchange.faults.find('wrongSize')?.addBytes ?? 0) : 0;
    const line = factsLine(
      { ...entry, name: path, sizeBytes: entry.sizeBytes + add },
      session.facts,
      settings,
    );
    return exchange.finalBytes(`250-Listing\r\n ${line}\r\n250 End`);
  } catch (error) {
    return refuse(exchange, '550 No such file or directory.', error);
  }
}

async function status(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  if (argument === '') return exchange.final('211-Status\n The scripted server is well.\n211 End');
  const listed = await entriesOf(session, exchange, behindFlags(argument));
  if (listed === undefined) return undefined;
  session.shared.journal.count('listings');
  const lines = listed.entries.map(lineOf(session)).map((line) => `${line}\r\n`);
  return exchange.finalBytes(`213-Status follows:\r\n${lines.join('')}213 End of status`);
}

// Data connections

async function extendedPassive(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const { settings } = session.shared;
  if (/^ALL$/i.test(argument)) {
    session.onlyExtendedPassive = true;
    return exchange.final('200 EPSV ALL ok.');
  }
  const family = settings.host === '::1' ? '2' : '1';
  if (argument !== '' && argument !== family)
    return exchange.final(`522 Network protocol not supported, use (${family})`);
  return exchange.final(settings.replies.epsv(await openPort(session, exchange)));
}

async function passive(session: Session, exchange: Exchange): Promise<unknown> {
  const { settings } = session.shared;
  if (session.onlyExtendedPassive) return exchange.final('503 EPSV ALL bars PASV.');
  if (settings.host === '::1') return exchange.final('522 PASV is for IPv4; use EPSV.');
  const number = await openPort(session, exchange);
  return exchange.final(
    settings.replies.pasv(settings.host.replaceAll('.', ','), number >> 8, number & 0xff),
  );
}

function openPort(session: Session, exchange: Exchange): Promise<number> {
  killTransfer(session);
  return exchange.faults.find('refuseData') === undefined ? session.data.passive() : session.data.deadPort();
}

/** Only where a transfer runs beside the commands: a new data set-up ends it without a word, as in pyftpdlib. */
function killTransfer(session: Session): void {
  if (session.transfer?.flowing === true) session.transfer.stop('unanswered');
}

async function extendedPort(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const match = /^(.)([12])\1([0-9A-Fa-f.:]+)\1(\d{1,5})\1$/.exec(argument);
  if (match === null) return exchange.final('501 Bad EPRT command.');
  const family = session.shared.settings.host === '::1' ? '2' : '1';
  if (match[2] !== family) return exchange.final(`522 Network protocol not supported, use (${family})`);
  return activeTo(session, exchange, match[3] ?? '', Number(match[4]), 'EPRT');
}

async function port(session: Session, exchange: Exchange, argument: ByteString): Promise<unknown> {
  const numbers = argument.split(',').map(Number);
  if (
    numbers.length !== 6 ||
    !numbers.every((number) => Number.isInteger(number) && number >= 0 && number <= 255)
  ) {
    return exchange.final('501 Bad PORT command.');
  }
  const [high = 0, low = 0] = numbers.slice(4);
  return activeTo(session, exchange, numbers.slice(0, 4).join('.'), high * 256 + low, 'PORT');
}

async function activeTo(
  session: Session,
  exchange: Exchange,
  host: string,
  number: number,
  verb: 'EPRT' | 'PORT',
): Promise<unknown> {
  if (session.onlyExtendedPassive) return exchange.final(`503 EPSV ALL bars ${verb}.`);
  // RFC 2577 section 3: never to a third party, never to a reserved port.
  if (host !== session.remoteAddress || number < 1024 || number > 65_535) {
    return exchange.final(`500 Illegal ${verb} command.`);
  }
  killTransfer(session);
  session.data.active(host, number);
  return exchange.final(
    `200 ${verb} command successful. Consider using ${verb === 'PORT' ? 'PASV' : 'EPSV'}.`,
  );
}

async function abort(session: Session, exchange: Exchange): Promise<unknown> {
  session.data.discard();
  return exchange.final('226 ABOR successful.');
}

// Shared by the above

async function fileEntry(
  session: Session,
  exchange: Exchange,
  argument: ByteString,
): Promise<DiskEntry | undefined> {
  const { disk } = session.shared;
  try {
    const entry = await disk.entry(disk.resolve(session.directory, argument));
    if (entry.kind === 'file') {
      return { ...entry, sizeBytes: entry.sizeBytes + (exchange.faults.find('wrongSize')?.addBytes ?? 0) };
    }
    await exchange.final('550 Not a plain file.');
  } catch (error) {
    await refuse(exchange, '550 Could not get file information.', error);
  }
  return undefined;
}

async function attempt(
  exchange: Exchange,
  done: string,
  refused: string,
  work: () => Promise<unknown>,
): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return refuse(exchange, refused, error);
  }
  return exchange.final(done);
}

/** A refusal for what the disk said; anything else is a fault of this server and goes up. */
function refuse(exchange: Exchange, text: string, error: unknown): Promise<unknown> {
  if (error instanceof DiskRefusal) return exchange.final(`${text} ${error.message}`);
  const code = errorCode(error);
  if (code === undefined) throw error;
  if (code === 'ENOSPC') return exchange.final('452 No space left on device.');
  return exchange.final(`${text} (${code})`);
}
