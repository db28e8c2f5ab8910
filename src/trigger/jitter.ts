/*
 * Jitter: each moment of a schedule is put off by a part of what the job allows, so that a hundred boxes with the same
 * job file do not stand at the server's door in the same second. The part is computed, not drawn: machine, job and
 * moment decide, so `status` can tell it beforehand and a restart changes nothing. A run that makes a missed moment
 * good is not put off: it is late enough.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { momentAfter, type Schedule } from './schedule.js';

const SECOND_MS = 1000;

/** Whose moments they are. Two machines, or two jobs, with the same schedule are put off differently. */
export interface Whose {
  /** What makes this machine another than the next one; see `machineSeed`. */
  readonly seed: string;
  /** Name of the job. */
  readonly job: string;
}

/**
 * When a moment's run starts, in milliseconds since 1970: at the moment or up to `jitterMs` later, on a whole second
 * from there, and always before the schedule's next moment.
 */
export function putOffMs(schedule: Schedule, momentMs: number, jitterMs: number, whose: Whose): number {
  if (jitterMs < SECOND_MS) return momentMs;
  const nextMs = momentAfter(schedule, momentMs, momentMs + jitterMs);
  const longestMs = nextMs === undefined ? jitterMs : nextMs - momentMs - SECOND_MS;
  const seconds = Math.floor(longestMs / SECOND_MS);
  return momentMs + Math.floor(part(momentMs, whose) * (seconds + 1)) * SECOND_MS;
}

/** A number in [0, 1), evenly spread. */
function part(momentMs: number, { seed, job }: Whose): number {
  const digest = createHash('sha256')
    .update(JSON.stringify([seed, job, momentMs]))
    .digest();
  return digest.readUIntBE(0, 6) / 2 ** 48;
}

/**
 * This machine's seed: its host name, and systemd's machine id where there is one, for a row of boxes is often set up
 * with one name.
 */
export function machineSeed(): string {
  let id = '';
  try {
    id = readFileSync('/etc/machine-id', 'utf8').trim();
  } catch {
    // Not a systemd machine, or a container: its name has to do.
  }
  return `${hostname()} ${id}`.trim();
}
