/*
 * A program that watches one directory and says all that its trigger says, a JSON line each on standard error. For
 * tests that need limits and mounts of a kernel's own: they start it in a namespace. SIGTERM ends it.
 */
import { watchTrigger } from '../../src/trigger/watch.js';

const [root = '', pollMs = '1000', rescanMs = '3600000'] = process.argv.slice(2);

function say(event: string, what: object): void {
  process.stderr.write(`${JSON.stringify({ event, ...what })}\n`);
}

const trigger = watchTrigger(
  { root, settleMs: 50, pollMs: Number(pollMs), rescanMs: Number(rescanMs) },
  (cause) => say('fire', cause),
  (message) => say('problem', { message }),
  (coverage) => say('coverage', coverage),
);

process.once('SIGTERM', () => void trigger.stop().then(() => say('stopped', {})));
await trigger.start();
