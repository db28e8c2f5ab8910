/*
 * How long the benchmark is going to take, for whoever has to decide when to begin: what was once measured on two
 * cores with everybody taking part, scaled by sizes. Good to a half.
 */
import { type Case, MANY, ON_LINK, type Sizes } from './cases.js';

const USUAL: Sizes = { files: 10_000, bytes: 2 * 1024 ** 3 };
/** However little there is to do, processes have to start. */
const LEAST_SCALE = 0.05;

/** Seconds at the usual sizes: of one round, and before the first. The longest that a name begins with counts. */
const TAKES: Readonly<Record<string, { readonly round: number; readonly before: number }>> = {
  'push-small-plain': { round: 15, before: 2 },
  'push-small-tls': { round: 45, before: 2 },
  'push-small-sftp': { round: 25, before: 2 },
  'push-one-plain': { round: 20, before: 4 },
  'push-one-tls': { round: 45, before: 1 },
  'push-one-sftp': { round: 45, before: 1 },
  'pull-one-plain': { round: 20, before: 2 },
  'pull-one-tls': { round: 45, before: 2 },
  'pull-one-sftp': { round: 45, before: 2 },
  unchanged: { round: 4, before: 8 },
  'unchanged-many': { round: 20, before: 20 },
  'link-small-plain-8': { round: 165, before: 1 },
  'link-small-plain-4': { round: 130, before: 0 },
  'link-small-plain-16': { round: 35, before: 0 },
  'link-small-tls-8': { round: 250, before: 1 },
  'link-small-tls-4': { round: 200, before: 0 },
  'link-small-tls-16': { round: 50, before: 0 },
  'link-small-sftp-8': { round: 120, before: 1 },
  'link-small-sftp-4': { round: 85, before: 0 },
  'link-small-sftp-16': { round: 25, before: 0 },
  'lossy-small-plain': { round: 100, before: 1 },
  'lossy-small-tls': { round: 150, before: 1 },
  'lossy-small-sftp': { round: 60, before: 1 },
  'watch-one': { round: 15, before: 15 },
  'memory-small': { round: 30, before: 2 },
  'memory-one': { round: 30, before: 2 },
  'memory-unchanged': { round: 5, before: 15 },
  'memory-million': { round: 30, before: 90 },
  'status-start': { round: 8, before: 0 },
};
/** Ten starts of a program, whatever the sizes are. */
const OF_NO_SIZE = 'status-start';

/** About how many seconds a case takes, with as many rounds. */
export function expectedS(name: string, { files, bytes, where }: Case, rounds: number): number {
  const [, takes] =
    Object.entries(TAKES)
      .filter(([beginning]) => name.startsWith(beginning))
      .sort(([one], [other]) => other.length - one.length)[0] ?? [];
  if (takes === undefined) return 0;
  const seconds = takes.before + takes.round * rounds;
  if (name === OF_NO_SIZE) return seconds;
  const many = name === 'memory-million' ? MANY * MANY : /-many|watch|memory-unch/.test(name) ? MANY : 1;
  const usual = USUAL.files * (where === 'loopback' ? many : ON_LINK);
  return seconds * Math.max(LEAST_SCALE, bytes > 0 ? bytes / USUAL.bytes : files / usual);
}
