/*
 * Whether a stream goes to systemd's journal, and what the journal wants of a line: sd-daemon(3) for the priority
 * prefixes, systemd.exec(5) for $JOURNAL_STREAM. The journal's own protocol, with fields, is not spoken.
 */
import { fstatSync } from 'node:fs';
import type { Level } from './event.js';

/** Priorities of syslog(3). What is below info is debug there too. */
const PRIORITIES: Readonly<Record<Level, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/** `<4>`: what a line begins with that the journal is to keep at this level. */
export function priorityPrefix(level: Level): string {
  return `<${PRIORITIES[level]}>`;
}

/**
 * True where the descriptor is the very stream that systemd has made for this service. The variable alone says
 * little: whatever the service starts inherits it, with its output gone somewhere else.
 *
 * @param fd a file descriptor; 2 is standard error
 */
export function isJournal(fd: number, environment: Readonly<Record<string, string | undefined>>): boolean {
  const named = environment.JOURNAL_STREAM;
  if (named === undefined || named === '') return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return named === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
