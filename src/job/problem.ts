/*
 * A mistake in a file that a person wrote, and how it is shown: one line that begins like a compiler's, so that
 * editors can jump to it. Names and texts from the file are made harmless here before they reach a terminal.
 */
import path from 'node:path';

/** One mistake (`error`: what it stands in is not loaded) or one danger (`warning`: it is loaded all the same). */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Absolute path of the file, or of the jobs directory. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
  /** JSON pointer of the key (`/triggers/0/cron`); `''` for the whole document. */
  readonly key: string;
  /** What is wrong and what to write instead; begins in lower case, no final full stop, no secret. */
  readonly message: string;
  /** The job that the file describes; undefined for servers.yaml, agent.yaml and the directory. */
  readonly job: string | undefined;
}

/** `path/file.yaml:line:column: error: /key: what is wrong`; the path is relative to the working directory where that is shorter. */
export function formatProblem(problem: Problem): string {
  const relative = path.relative(process.cwd(), problem.file) || '.';
  // In /, where services work, a path without its slash would look like one below somebody's home.
  const isShorter = relative.length < problem.file.length && process.cwd() !== path.parse(process.cwd()).root;
  const file = isShorter ? relative : problem.file;
  const key = problem.key === '' ? '' : `${printable(problem.key)}: `;
  const { line, column, severity } = problem;
  return `${printable(file)}:${line}:${column}: ${severity}: ${key}${printable(problem.message)}`;
}

/** Text in which control characters, line separators and marks of writing direction stand as `\u{...}`. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** A name from a file in quotes, printable and cut to a bearable length. */
export function quoted(name: string): string {
  const shown = name.length > 60 ? `${name.slice(0, 60)}...` : name;
  return `"${printable(shown)}"`;
}
