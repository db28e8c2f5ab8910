/*
 * `ferryd trust SERVER`: shows the host keys of an SFTP server, and writes them into its first file of known hosts once
 * a person has compared them and said yes. The only place where a key comes to be trusted. Logs in to nothing but the
 * servers on the way, whose own keys must be trusted before.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, realpath, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Server, SftpServer } from '../job/job.js';
import { lookUpServer } from '../job/load.js';
import { placeOf } from '../remote/sftp/account.js';
import { printable } from '../report/printable.js';
import { sftpCredentials } from '../run/accounts.js';
import { RunEnded } from '../run/end.js';
import { SftpError, type SftpErrorKind } from '../sftp/errors.js';
import { type ShownHostKeys, SshConnection, type SshOptions } from '../sftp/ssh/connection.js';
import { keygenCommand, readKnownHosts } from '../sftp/ssh/host-key.js';
import {
  fingerprintOf,
  type HostKeyVerdict,
  judgeHostKey,
  type KnownHostsFile,
  keyLabel,
  keysOf,
  keyTypeOf,
  type PublicKey,
  readFingerprint,
  rewriteKnownHosts,
} from '../sftp/ssh/known-hosts.js';
import { checkCron } from '../trigger/cron.js';
import { CommandFailed, type ExitCode, exitCodeOfFailure } from './exit.js';
import { type GlobalOptions, jobsDirectory, load } from './surroundings.js';
import { columns } from './table.js';

export interface TrustOptions extends GlobalOptions {
  readonly fingerprint?: string | undefined;
}

/** Asks a person; undefined where nobody is there. */
export type Ask = (question: string) => Promise<string>;

/** No file of known hosts that somebody keeps is as large. */
const MOST_KNOWN_HOSTS_BYTES = 8 * 1024 * 1024;

/** What is known of a key that the server shows. */
interface Sighting {
  readonly key: PublicKey;
  readonly fingerprint: string;
  readonly state: 'trusted' | 'new' | 'changed' | 'revoked';
  readonly words: string;
}

/**
 * Shows the keys, asks, writes. 0 where what was asked for is trusted now, 5 where it is not.
 *
 * @throws {CommandFailed} code 2 where the server is unknown or nobody can be asked, 4 where it is out of reach, 5
 *   where a server on the way is not trusted or lets nobody in
 */
export async function trust(
  name: string,
  options: TrustOptions,
  ask: Ask | undefined = terminal(options),
): Promise<ExitCode> {
  const wanted = options.fingerprint === undefined ? undefined : fingerprintFrom(options.fingerprint);
  const server = await serverNamed(name, options);
  const shown = await hostKeysOf(server);
  if (server.hostKeys.length > 0) return pinned(server, shown, options);
  const { files, troubles } = await readKnownHosts(server.knownHosts);
  const sightings = sightingsOf(server, shown, files);
  const open = sightings.filter(({ state }) => state === 'new' || state === 'changed');
  const chosen = wanted === undefined ? open : open.filter(({ fingerprint }) => fingerprint === wanted);
  const say = (text: string): void => {
    if (options.json !== true) process.stdout.write(text);
  };
  say(listText(shown, sightings));
  for (const trouble of troubles) say(`${trouble}\n`);
  const told = (written: Written | undefined): void => {
    if (options.json === true) process.stdout.write(`${JSON.stringify(json(server, sightings, written))}\n`);
  };
  if (wanted !== undefined && !sightings.some(({ fingerprint }) => fingerprint === wanted)) {
    told(undefined);
    throw new CommandFailed(
      5,
      `${shown.where} shows no key with the fingerprint ${wanted}. Nothing was written. Either it is another server's, or somebody is in between.`,
    );
  }
  const revoked = sightings.find(
    ({ state, fingerprint }) => state === 'revoked' && (wanted === undefined || fingerprint === wanted),
  );
  if (chosen.length === 0) {
    told(undefined);
    if (revoked !== undefined)
      throw new CommandFailed(5, `A revoked key is never trusted. The server needs a new one.`);
    if (sightings.length === 0)
      throw new CommandFailed(5, `${shown.where} shows no key of a kind that ferryd uses.`);
    say('All of that is trusted already: there is nothing to do.\n');
    return 0;
  }
  if (wanted === undefined) {
    say(compareText(chosen));
    const answer = ask === undefined ? undefined : await ask('Trust these keys? Type yes: ');
    if (answer === undefined) {
      told(undefined);
      throw new CommandFailed(
        2,
        `Nobody is here to say yes. Compare a fingerprint with the server's own, and call "ferryd trust ${name} --fingerprint ${chosen[0]?.fingerprint ?? 'SHA256:...'}".`,
      );
    }
    if (answer.trim().toLowerCase() !== 'yes') throw new CommandFailed(5, 'Nothing was written.');
  }
  const written = await write(
    server,
    sightings,
    chosen.map(({ key }) => key),
  );
  told(written);
  say(writtenText(written));
  return 0;
}

function fingerprintFrom(text: string): string {
  const fingerprint = readFingerprint(text);
  if (fingerprint !== undefined) return fingerprint;
  const md5 = /^(MD5:)?([0-9a-f]{2}:){15}[0-9a-f]{2}$/i.test(text);
  const why = md5
    ? 'That is a fingerprint by MD5, which proves nothing any more. Ask for the other one: ssh-keygen -E sha256 -lf FILE'
    : 'That is no fingerprint: it is SHA256: and 43 letters, digits, + and /, as "ssh-keygen -lf FILE" shows it.';
  throw new CommandFailed(2, why);
}

/** The server of that name: of servers.yaml, or else one that a job describes. */
async function serverNamed(name: string, options: GlobalOptions): Promise<SftpServer> {
  const found = await lookUpServer(jobsDirectory(options), name, { cron: checkCron });
  if (found.kind === 'broken')
    throw new CommandFailed(2, `${sentence(found.message)} "ferryd check" shows each mistake and its place.`);
  let server: Server | undefined = found.kind === 'server' ? found.server : undefined;
  if (found.kind === 'unknown') {
    const { jobs } = await load(options);
    const known = jobs.flatMap(({ server }) => onTheWay(server));
    server = known.find((each) => each.name === name) ?? known.find((each) => each.host === name);
    if (server === undefined) {
      const hint = found.suggestion === undefined ? '' : ` Did you mean ${found.suggestion}?`;
      throw new CommandFailed(
        2,
        `${sentence(found.message)} No job describes one with that host either.${hint}`,
      );
    }
  }
  if (server?.protocol === 'sftp') return server;
  throw new CommandFailed(
    2,
    `${name} speaks FTP, and has no host keys. Whom to trust over FTPS is said with tls: in servers.yaml.`,
  );
}

/** The server, and those that it is reached through. */
function onTheWay(server: Server): Server[] {
  const way: Server[] = [server];
  let via = server.protocol === 'sftp' ? server.via : undefined;
  for (; via !== undefined; via = via.via) way.push(via);
  return way;
}

function sentence(words: string): string {
  const ended = /[.!?]$/.test(words) ? words : `${words}.`;
  return `${ended.charAt(0).toUpperCase()}${ended.slice(1)}`;
}

async function hostKeysOf(server: SftpServer): Promise<ShownHostKeys> {
  const { name, host, port, user, via, hostKeys, knownHosts, timeouts } = server;
  const times = { connectTimeoutMs: timeouts.connectMs, replyTimeoutMs: timeouts.replyMs };
  try {
    const gate: SshOptions | undefined =
      via === undefined ? undefined : { ...placeOf(via, await sftpCredentials(via)), ...times };
    return await SshConnection.hostKeys({
      name,
      host,
      port,
      user,
      // Nobody logs in there.
      login: { password: undefined, privateKey: undefined, passphrase: undefined, agentSocket: undefined },
      trust: { hostKeys, knownHosts },
      via: gate,
      ...times,
    });
  } catch (error) {
    if (error instanceof RunEnded)
      throw new CommandFailed(exitCodeOfFailure(error.failure.kind), error.message);
    if (error instanceof SftpError) throw new CommandFailed(codeOf(error.kind), error.message);
    throw error;
  }
}

function codeOf(kind: SftpErrorKind): ExitCode {
  if (kind === 'host-key' || kind === 'authentication') return 5;
  return kind === 'network' || kind === 'timeout' || kind === 'lost' || kind === 'handshake' ? 4 : 1;
}

/** Where hostKey: is written, known_hosts is not read: so nothing is written there either. */
function pinned(server: SftpServer, shown: ShownHostKeys, options: TrustOptions): ExitCode {
  const pins = new Set(server.hostKeys.map(readFingerprint));
  const sightings = shown.keys.map((key): Sighting => {
    const fingerprint = fingerprintOf(key);
    const trusted = pins.has(fingerprint);
    return {
      key,
      fingerprint,
      state: trusted ? 'trusted' : 'new',
      words: trusted ? 'trusted: hostKey names it' : 'not named by hostKey',
    };
  });
  const trusted = sightings.some(({ state }) => state === 'trusted');
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(json(server, sightings, undefined))}\n`);
  } else {
    process.stdout.write(listText(shown, sightings));
    const advice = trusted
      ? `The server ${server.name} has hostKey, and shows the key that it names: there is nothing to do.\n`
      : `The server ${server.name} has hostKey, so known_hosts is not asked. ${compareText(sightings)}Then write there in place of what stands there: hostKey: "${sightings[0]?.fingerprint ?? 'SHA256:...'}"\n`;
    process.stdout.write(advice);
  }
  return trusted ? 0 : 5;
}

function sightingsOf(
  { host, port }: SftpServer,
  shown: ShownHostKeys,
  files: readonly KnownHostsFile[],
): Sighting[] {
  const judged = shown.keys.map((key) => ({ key, verdict: judgeHostKey({ host, port, key }, files) }));
  const isKnown = judged.some(({ verdict }) => verdict.kind === 'trusted');
  return judged.map(({ key, verdict }): Sighting => {
    const fingerprint = fingerprintOf(key);
    return { key, fingerprint, ...stateOf(key, verdict, isKnown ? 'known' : 'unknown') };
  });
}

/** @param server whether another of its keys is trusted: then a key of a type that no file has is only one more */
function stateOf(
  key: PublicKey,
  verdict: HostKeyVerdict,
  server: 'known' | 'unknown',
): Pick<Sighting, 'state' | 'words'> {
  switch (verdict.kind) {
    case 'trusted':
      return { state: 'trusted', words: `trusted already: ${verdict.at.path}:${verdict.at.line}` };
    case 'revoked':
      return { state: 'revoked', words: `REVOKED: ${verdict.at.path}:${verdict.at.line}` };
    case 'unknown':
      return { state: 'new', words: 'not known yet' };
    case 'changed': {
      const same = verdict.known.find((known) => keyTypeOf(known.key) === keyTypeOf(key));
      if (same === undefined && server === 'known') return { state: 'new', words: 'not known yet' };
      const { path: file, line, key: old } = same ?? verdict.known[0];
      return {
        state: 'changed',
        words: `CHANGED: ${file}:${line} has ${keyLabel(old)} ${fingerprintOf(old)}`,
      };
    }
  }
}

function listText({ where, software, keys }: ShownHostKeys, sightings: readonly Sighting[]): string {
  const count = keys.length === 1 ? 'one host key' : `${keys.length} host keys`;
  const rows = sightings.map(({ key, fingerprint, words }) => [`  ${keyLabel(key)}`, fingerprint, words]);
  return `${where} (${printable(software)}) shows ${count}:\n${columns(rows)}`;
}

function compareText(sightings: readonly Sighting[]): string {
  const changed = sightings.some(({ state }) => state === 'changed')
    ? 'A key has changed: either the server was set up anew, or somebody is in between.\n'
    : '';
  const commands = sightings.map(({ key }) => `  ${keygenCommand(key)}\n`);
  return `${changed}Compare with what the server itself says, at its console or over a connection that you trust:\n${commands.join('')}`;
}

/** What became of the file. */
interface Written {
  readonly file: string;
  readonly keys: readonly PublicKey[];
  readonly changedLines: readonly number[];
}

/** Puts the keys into the server's first file, in place of those that it does not have any more. */
async function write(
  server: SftpServer,
  sightings: readonly Sighting[],
  added: readonly PublicKey[],
): Promise<Written> {
  const [file] = server.knownHosts;
  try {
    const target = await realpath(file).catch(() => file);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
    const old = await read(target);
    const address = { host: server.host, port: server.port };
    const isSame = sightings.some(({ state }) => state === 'trusted');
    const types = new Set(added.map(keyTypeOf));
    // Of a server that is known by another key only the types that are written are out of date.
    const stale = keysOf(address, { path: target, text: old.text })
      .map(({ key }) => key)
      .filter((key) => !sightings.some((sighting) => sighting.key.equals(key)))
      .filter((key) => !isSame || types.has(keyTypeOf(key)));
    const { text, changedLines } = rewriteKnownHosts(old.text, { address, stale, added });
    await replace(target, text, old);
    return { file, keys: added, changedLines };
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    const words = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new CommandFailed(1, `${file} could not be written (${words}). No key was trusted.`);
  }
}

/** A file as it is, byte for byte (each a character), and to whom it belongs. */
interface OldFile {
  readonly text: string;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

async function read(file: string): Promise<OldFile> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { text: '', mode: 0o644, owner: undefined };
    throw error;
  }
  try {
    const { size, mode, uid, gid } = await handle.stat();
    if (size > MOST_KNOWN_HOSTS_BYTES)
      throw new CommandFailed(1, `${file} is larger than 8 MiB: ferryd does not write into that.`);
    return { text: await handle.readFile('latin1'), mode: mode & 0o7777, owner: { uid, gid } };
  } finally {
    await handle.close();
  }
}

/** Whole or not at all: a new file takes the old one's place, with its mode and its owner. */
async function replace(file: string, text: string, { mode, owner }: OldFile): Promise<void> {
  const fresh = `${file}.${randomBytes(6).toString('hex')}.new`;
  const handle = await open(fresh, 'wx', mode);
  try {
    await handle.writeFile(text, 'latin1');
    // Only root may give a file away; anybody else's is its own already.
    if (owner !== undefined && process.getuid?.() === 0) await handle.chown(owner.uid, owner.gid);
    await handle.chmod(mode);
    await handle.sync();
    await handle.close();
    await rename(fresh, file);
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(fresh).catch(() => {});
    throw error;
  }
}

function writtenText({ file, keys, changedLines }: Written): string {
  const what = keys.map((key) => `${keyLabel(key)} ${fingerprintOf(key)}`).join(', ');
  const lines = changedLines.join(', ');
  const instead =
    changedLines.length === 0
      ? ''
      : ` in place of what stood in ${changedLines.length === 1 ? 'line' : 'lines'} ${lines}`;
  return `Written to ${file}${instead}: ${what}\n`;
}

function json(server: SftpServer, sightings: readonly Sighting[], written: Written | undefined): unknown {
  return {
    server: server.name,
    host: server.host,
    port: server.port,
    keys: sightings.map(({ key, fingerprint, state }) => ({ type: keyTypeOf(key), fingerprint, state })),
    written:
      written === undefined
        ? null
        : {
            file: written.file,
            fingerprints: written.keys.map(fingerprintOf),
            replacedLines: written.changedLines,
          },
  };
}

/** Whoever sits at the terminal; nobody where output is for machines. */
function terminal({ json: machine }: GlobalOptions): Ask | undefined {
  if (machine === true || process.stdin.isTTY !== true || process.stdout.isTTY !== true) return undefined;
  return (question) =>
    new Promise((resolve, reject) => {
      const lines = createInterface({ input: process.stdin, output: process.stdout });
      const unanswered = (then: () => void): void => {
        process.stdout.write('\n');
        then();
      };
      // The end of the input is no yes.
      const onClose = (): void => unanswered(() => resolve(''));
      lines.once('close', onClose);
      lines.on('SIGINT', () => {
        lines.off('close', onClose).close();
        unanswered(() => reject(new CommandFailed(130, 'Nothing was written.')));
      });
      lines.question(question, (answer) => {
        lines.off('close', onClose).close();
        resolve(answer);
      });
    });
}
