/*
 * Reads a secret at the moment a run needs it: from a systemd credential, an environment variable, a file, or the
 * output of a program. Keeps nothing. No message repeats a secret or what might be one: what a program writes on
 * its standard error is thrown away for that reason.
 */
import path from 'node:path';
import { endWords, type ProgramEnd, runProgram } from '../program/program.js';
import { readBoundedFile } from './bounded-file.js';
import type { SecretSource } from './job.js';
import { quoted } from './problem.js';

/** A secret cannot be had; the message says why and what to do, in sentences for a person. */
export class SecretError extends Error {
  override readonly name = 'SecretError';
}

/** What a secret is for, and where to look. */
export interface SecretOptions {
  /** Names the secret in messages: `the password of nas`. */
  readonly what: string;
  /** `many`: line breaks are part of it, as in a private key. `one`, the default: they are refused. */
  readonly lines?: 'one' | 'many';
  /** Defaults to the process's own. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Most time that a program gets; 10 seconds by default. */
  readonly commandTimeoutMs?: number;
}

const MAX_SECRET_BYTES = 64 * 1024;
const COMMAND_TIMEOUT_MS = 10_000;

/** What it has for tidying up, once it has taken too long. */
const COMMAND_GRACE_MS = 1_000;

/**
 * Reads the secret. One newline at the end of a file, a credential or an output is dropped.
 *
 * @throws {SecretError} where it is missing, empty, not UTF-8, not one line unless it may have many, longer than
 *   64 KiB, or open to all
 */
export async function readSecret(source: SecretSource, options: SecretOptions): Promise<string> {
  const environment = options.environment ?? process.env;
  switch (source.kind) {
    case 'credential':
      return checked(await readCredential(source.name, environment, options.what), options);
    case 'env': {
      const value = environment[source.name];
      if (value === undefined) {
        throw new SecretError(
          `Cannot read ${options.what}: the environment variable ${source.name} is not set. Set it where ferryd is started, for instance with EnvironmentFile= in the systemd unit.`,
        );
      }
      return checked(value, options);
    }
    case 'file':
      return checked(decode(await readFile(source.path, 'private', options.what), options.what), options);
    case 'command': {
      const output = await runCommand(
        source.argv,
        environment,
        options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
        options.what,
      );
      return checked(decode(output, options.what), options);
    }
  }
}

async function readCredential(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
  what: string,
): Promise<string> {
  const directory = environment.CREDENTIALS_DIRECTORY;
  if (directory === undefined || directory === '') {
    throw new SecretError(
      `Cannot read ${what}: the credential ${quoted(name)} comes from systemd, and $CREDENTIALS_DIRECTORY is not set. Start ferryd as a systemd service with LoadCredential=${name}:PATH, or write { env: NAME } or { file: PATH } in place of { credential: ${name} }.`,
    );
  }
  if (name.includes('/') || name === '.' || name === '..') {
    throw new SecretError(`Cannot read ${what}: ${quoted(name)} is no name of a credential.`);
  }
  // systemd answers for the directory's privacy; the files in it may be 0440.
  return decode(await readFile(path.join(directory, name), 'credential', what), what);
}

async function readFile(file: string, kind: 'private' | 'credential', what: string): Promise<Buffer> {
  const found = await readBoundedFile(file, MAX_SECRET_BYTES);
  switch (found.kind) {
    case 'irregular':
      throw new SecretError(`Cannot read ${what}: ${quoted(file)} is not a regular file.`);
    case 'too-long':
      throw tooLong(what);
    case 'failed':
      throw new SecretError(`Cannot read ${what}: ${explainFile(found.code, file, kind)}`);
    case 'content':
      if (kind === 'private' && (found.mode & 0o007) !== 0) {
        throw new SecretError(
          `Cannot read ${what}: ${quoted(file)} is open to every user of this machine. Close it with chmod 600, and change what is in it if others may have seen it.`,
        );
      }
      return found.bytes;
  }
}

function explainFile(code: string, file: string, kind: 'private' | 'credential'): string {
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const advice =
      kind === 'credential'
        ? `Add LoadCredential=${path.basename(file)}:PATH to the systemd unit.`
        : 'Write it, and close it with chmod 600.';
    return `there is no file ${quoted(file)}. ${advice}`;
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return `${quoted(file)} may not be read by the user that ferryd runs as. Give the file to that user (chown).`;
  }
  return `${quoted(file)} cannot be read (${code}).`;
}

/** What the program wrote, all of it. */
async function runCommand(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
  what: string,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const enough = new AbortController();
  const end = await runProgram({
    argv,
    environment,
    timeLimitMs: timeoutMs,
    graceMs: COMMAND_GRACE_MS,
    signal: enough.signal,
    onBytes: (bytes) => {
      length += bytes.length;
      if (length > MAX_SECRET_BYTES) enough.abort();
      else chunks.push(bytes);
    },
  });
  if (length > MAX_SECRET_BYTES) throw tooLong(what);
  if (end.kind === 'ended' && end.code === 0) return Buffer.concat(chunks);
  throw new SecretError(
    `Cannot read ${what}: the program ${quoted(argv[0] ?? '')} ${endWords(end, { timeLimitMs: timeoutMs })}. ${adviceOn(end)}`,
  );
}

function adviceOn(end: ProgramEnd): string {
  switch (end.kind) {
    case 'not-started':
      return 'Write its absolute path, and see that the user of ferryd may run it.';
    case 'timed-out':
      return 'Run it by hand to see what it waits for.';
    default:
      return 'Run it by hand, as the user of ferryd, to see why.';
  }
}

function decode(bytes: Buffer, what: string): string {
  if (bytes.length > MAX_SECRET_BYTES) throw tooLong(what);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch {
    throw new SecretError(`Cannot read ${what}: it is not UTF-8 text.`);
  }
}

function checked(secret: string, { what, lines = 'one' }: SecretOptions): string {
  if (secret === '') throw new SecretError(`Cannot read ${what}: what was found is empty.`);
  if (lines === 'many' && secret.includes('\0')) {
    throw new SecretError(`Cannot read ${what}: it holds a NUL, so it is no text.`);
  }
  if (lines === 'one' && /[\r\n\0]/.test(secret)) {
    throw new SecretError(
      `Cannot read ${what}: it holds a line break or a NUL, which no server accepts. Keep it on one line; only one newline at the end is dropped.`,
    );
  }
  if (Buffer.byteLength(secret) > MAX_SECRET_BYTES) throw tooLong(what);
  return secret;
}

function tooLong(what: string): SecretError {
  return new SecretError(`Cannot read ${what}: it is longer than 64 KiB.`);
}
