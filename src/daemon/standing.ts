/*
 * How the daemon stands, for `ferryd status`, which is another process: one small JSON file beside the ledger's locks,
 * written anew shortly after each change, whole or not at all. It is believed only while the daemon that wrote it holds
 * its lock; nothing depends on it, so it is not fsynced, and a disk that is full only makes it old.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Coverage } from '../trigger/trigger.js';
import type { Doing } from './queue.js';

/** One job. */
export interface JobStanding {
  readonly doing: Doing | { readonly kind: 'queued'; readonly trigger: string; readonly sinceMs: number };
  /** When a trigger fires next, as it was when this was written; milliseconds since 1970. */
  readonly nextRunMs: number | undefined;
  /** How its tree is watched; undefined where it is not. */
  readonly coverage: Coverage | undefined;
  /** What is wrong with its file, while its last good version is in force; undefined where nothing is. */
  readonly stale: string | undefined;
}

export interface Standing {
  readonly pid: number;
  /** When it was written, milliseconds since 1970. */
  readonly atMs: number;
  /** Absolute path of the jobs directory. */
  readonly directory: string;
  /** What is wrong with the configuration now, in lines. */
  readonly problems: readonly string[];
  readonly jobs: Readonly<Record<string, JobStanding>>;
}

/** So many changes as there may be, the file is written no more often. */
const PAUSE_MS = 250;

const MAX_BYTES = 16 * 1024 * 1024;

function fileIn(locks: string): string {
  return join(locks, 'daemon.json');
}

/** Keeps the file up to date. */
export class StandingFile {
  readonly #file: string;
  readonly #read: () => Standing;
  #timer: NodeJS.Timeout | undefined;

  /** @param locks the directory of the ledger's locks; @param read how things stand when the file is written */
  constructor(locks: string, read: () => Standing) {
    this.#file = fileIn(locks);
    this.#read = read;
  }

  /** Something has changed. */
  touch(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, PAUSE_MS);
  }

  /** Takes the file away. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      rmSync(this.#file, { force: true });
    } catch {
      // Without its lock nobody believes it.
    }
  }

  #write(): void {
    const draft = `${this.#file}.new`;
    try {
      rmSync(draft, { force: true });
      writeFileSync(draft, JSON.stringify(this.#read()), { mode: 0o600, flag: 'wx' });
      renameSync(draft, this.#file);
    } catch (error) {
      // A mistake of ours must not hide behind a full disk.
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
}

/** What the daemon with this process number says of itself; undefined where it has said nothing yet. */
export function readStanding(locks: string, pid: number): Standing | undefined {
  try {
    const text = readFileSync(fileIn(locks), 'utf8');
    if (text.length > MAX_BYTES) return undefined;
    const read: unknown = JSON.parse(text);
    return isStanding(read) && read.pid === pid ? read : undefined;
  } catch {
    return undefined;
  }
}

/** It is ours, in a directory that only its owner can write; a look at its frame is enough. */
function isStanding(value: unknown): value is Standing {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value && 'jobs' in value && 'problems' in value && 'directory' in value)) return false;
  return (
    typeof value.pid === 'number' &&
    typeof value.jobs === 'object' &&
    value.jobs !== null &&
    Array.isArray(value.problems)
  );
}
