/*
 * `.ferryignore`: what stays behind of the directory that it lies in and of all below, with the meaning of
 * gitignore(5): a later line is stronger than an earlier one, a file further down than one further up, and what lies
 * in a directory that is left out cannot be taken in again. Case counts. A file that cannot be understood is an
 * error and never an empty list, for then something would be sent that should not be. Follows no links.
 */
import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import type { Ignore } from 'ignore';
import type { OpenFile } from './disk.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { diskOf } from './mounts.js';

export const IGNORE_FILE = '.ferryignore';

/** The code of every LocalError that says that such a file cannot be used. */
export const IGNORE_FILE_CODE = 'ignore-file';

const MAX_BYTES = 64 * 1024;
const MAX_LINES = 10_000;

/** Non-blocking, so that a pipe of that name does not hang the open. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const fromPackage = createRequire(import.meta.url);

/** The library is loaded with the first file of rules; most trees have none. */
function noRules(): Ignore {
  const ignore = fromPackage('ignore') as typeof import('ignore');
  return ignore({ ignorecase: false });
}

/** Rules of one such file and of those above it; never changed once made. */
export class IgnoreRules {
  static readonly NONE = new IgnoreRules(undefined);
  readonly #all: Ignore | undefined;
  /** It keeps its answers, so each directory gets one of its own. */
  #matcher: { readonly directory: string; readonly rules: Ignore } | undefined;

  private constructor(all: Ignore | undefined) {
    this.#all = all;
  }

  /**
   * These rules, and stronger ones of a file in a directory further down.
   *
   * @param directory path below the root, ending with `/`; `''` is the root
   */
  with(directory: string, lines: readonly string[]): IgnoreRules {
    const patterns = lines.map((line) => patternOf(directory, line)).filter((line) => line !== undefined);
    if (patterns.length === 0) return this;
    return new IgnoreRules(noRules().add([...above(this.#all), ...patterns]));
  }

  /** @param path below the root; a directory's ends with `/` */
  ignores(path: string): boolean {
    if (this.#all === undefined) return false;
    const directory = path.slice(0, path.lastIndexOf('/', path.length - 2) + 1);
    if (this.#matcher?.directory !== directory) {
      this.#matcher = { directory, rules: noRules().add(this.#all) };
    }
    return this.#matcher.rules.ignores(path);
  }

  /** The same rules without the answers that they keep. */
  afresh(): IgnoreRules {
    return new IgnoreRules(this.#all);
  }
}

/**
 * What the `.ferryignore` files of a tree leave out of it, be it there or not: asked about paths that only a ledger or
 * the other side knows. Holds the rules of each directory that has such a file, so it is as large as these are.
 */
export class IgnoreMap {
  readonly #noted = new Map<string, IgnoreRules>();

  /**
   * @param directory path below the root, ending with `/`; `''` is the root
   * @param rules of its file and of those above it
   */
  note(directory: string, rules: IgnoreRules): void {
    this.#noted.set(directory, rules.afresh());
  }

  /**
   * Whether a path, or a directory that it lies in, is left out by the rules of the nearest noted directory above.
   * Before the walk has noted a directory nothing is known of its rules.
   *
   * @param path below the root; a directory's ends with `/`
   */
  ignores(path: string): boolean {
    let rules = this.#noted.get('');
    for (
      let slash = path.indexOf('/');
      slash >= 0 && slash < path.length - 1;
      slash = path.indexOf('/', slash + 1)
    ) {
      rules = this.#noted.get(path.slice(0, slash + 1)) ?? rules;
    }
    // They know what is left out further up, and that nothing in it can be taken in again.
    return rules?.ignores(path) ?? false;
  }
}

function above(rules: Ignore | undefined): Ignore[] {
  return rules === undefined ? [] : [rules];
}

/** A line as it would stand in the root's file; undefined where it says nothing. */
function patternOf(directory: string, line: string): string | undefined {
  const text = withoutTrailingSpaces(line);
  if (text === '' || text.startsWith('#')) return undefined;
  const not = text.startsWith('!') ? '!' : '';
  const body = text.slice(not.length);
  if (body === '' || body === '/') return undefined;
  if (directory === '') return text;
  // Without a slash before its end it is about names at any depth, with one about paths from this directory on.
  const anchored = body.slice(0, -1).includes('/');
  const place = directory.replace(/[\\*?[\]]/g, '\\$&');
  return `${not}/${place}${anchored ? body.replace(/^\//, '') : `**/${body}`}`;
}

/** Spaces at the end count only behind a backslash. */
function withoutTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && line[end - 1] === ' ') end -= 1;
  const backslashes = /\\*$/.exec(line.slice(0, end))?.[0].length ?? 0;
  return line.slice(0, backslashes % 2 === 1 ? end + 1 : end);
}

/**
 * The lines of a directory's file.
 *
 * @param directory real path of the directory
 * @param shown how messages name the directory: its path below the root, `''` for the root itself
 * @returns undefined where there is none
 * @throws {LocalError} IGNORE_FILE_CODE where it cannot be read or is not what it should be
 */
export async function readIgnoreFile(
  directory: string,
  shown: string,
): Promise<readonly string[] | undefined> {
  const name = shown === '' ? IGNORE_FILE : `${shown}/${IGNORE_FILE}`;
  const refuse = (what: string, cause?: unknown): LocalError => {
    const consequence = `So long nothing ${shown === '' ? 'at all' : `in ${shown}`} is looked at, because what it leaves out must not go across.`;
    return new LocalError(IGNORE_FILE_CODE, `${what} ${consequence}`, cause);
  };
  let open: OpenFile;
  try {
    open = await diskOf(directory).open(`${directory}/${IGNORE_FILE}`, OPEN_FLAGS);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP')
      throw refuse(`${name} is a link, which is not followed: put the file itself there.`, error);
    throw refuse(code === 'ENXIO' ? notAFile(name) : localSentence(code, name), error);
  }
  try {
    if (!(await open.stat()).isFile()) throw refuse(notAFile(name));
    const bytes = await firstBytes(open);
    if (bytes.length > MAX_BYTES) throw refuse(`${name} is larger than 64 KiB: make it shorter.`);
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw refuse(`${name} is not written in UTF-8: save it as UTF-8.`);
    }
    const lines = text.split(/\r?\n/);
    if (lines.length > MAX_LINES) throw refuse(`${name} has more than 10,000 lines: make it shorter.`);
    const odd = lines.findIndex((line) => !understood(line));
    if (odd >= 0) throw refuse(`Line ${odd + 1} of ${name} cannot be understood: correct it.`);
    return lines;
  } catch (error) {
    if (error instanceof LocalError) throw error;
    throw refuse(localSentence(codeOf(error), name), error);
  } finally {
    await open.close();
  }
}

function notAFile(name: string): string {
  return `${name} is not a regular file: take it away, or write a file of that name.`;
}

/** All of the file, or one byte more than it may have. */
async function firstBytes(open: OpenFile): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(MAX_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    const bytesRead = await open.read(buffer.subarray(length), length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

/** Patterns become regular expressions when they are first asked: one that cannot be made must not end a scan. */
function understood(line: string): boolean {
  try {
    noRules().add([line]).ignores('a');
    return true;
  } catch {
    return false;
  }
}
