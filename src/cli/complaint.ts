/*
 * A sentence for a person on standard error. In systemd's journal each of its lines has the priority that it
 * deserves, so that `journalctl -p err` shows why a service ended. Whatever happens during a run is the log's.
 */
import type { Level } from '../report/event.js';
import { isJournal, priorityPrefix } from '../report/journal.js';

/** Writes the sentence, which may have several lines. */
export function complain(message: string, level: Level = 'error'): void {
  const prefix = isJournal(process.stderr.fd, process.env) ? priorityPrefix(level) : '';
  for (const line of message.split('\n')) process.stderr.write(`${prefix}${line}\n`);
}
