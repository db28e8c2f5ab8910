/*
 * `npm run soak [-- LENGTH [SEED]]`: an hour of it, or as long as was said (`30m`, `20s`), from a seed that is printed
 * first. Ends with a table and a line of JSON, and with 1 where anything was wrong; then the directory with the logs,
 * the ledger and both sides is left for a person to look at.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDuration } from '../../src/job/units.js';
import { temporaryDirectory } from '../support/temporary.js';
import { type ServerResult, Soak, type SoakResult } from './soak.js';

const FERRYD = fileURLToPath(new URL('../../ferryd/bin/main.js', import.meta.url));
const UNPACKED_SERVERS = fileURLToPath(new URL('../../../.servers', import.meta.url));

const say = (text: string): void => void process.stdout.write(`${text}\n`);

function table(result: SoakResult): string {
  const mib = (kib: number): string => `${Math.round(kib / 1024)} MiB`;
  const { oneProcess, youngProcesses } = result.memory;
  const rows: (readonly [string, string])[] = [
    ...Object.entries(result.servers).map(([name, served]) => [name, did(served)] as const),
    ...Object.entries(result.figures).map(([what, count]) => [what, count.toLocaleString('en')] as const),
    ['outcomes', listed(result.outcomes)],
    ['failures', listed(result.failures)],
    ['memory of one process', `${mib(oneProcess.first)} -> ${mib(oneProcess.last)}, ${oneProcess.verdict}`],
    [
      'memory of young processes',
      `${mib(youngProcesses.first)} -> ${mib(youngProcesses.last)}, ${youngProcesses.verdict}`,
    ],
    [
      'descriptors',
      `${result.descriptors.first} -> ${result.descriptors.last}, ${result.descriptors.verdict}`,
    ],
  ];
  const width = Math.max(...rows.map(([what]) => what.length));
  return rows.map(([what, value]) => `  ${what.padEnd(width)}  ${value}`).join('\n');
}

function did({ kind, jobs, uploaded, downloaded, deleted, bytes }: ServerResult): string {
  const counts = [
    `${uploaded} up`,
    `${downloaded} down`,
    `${deleted} deleted`,
    `${Math.round(bytes / 1e6)} MB`,
  ];
  return `${kind}: ${jobs.join(', ')}; ${counts.join(', ')}`;
}

function listed(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([what, count]) => `${what} ${count}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

async function main(words: readonly string[]): Promise<number> {
  const [length = '1h', seedWord] = words;
  const lengthOf = parseDuration(length);
  const seed = seedWord === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(seedWord);
  if (!lengthOf.ok || !Number.isSafeInteger(seed) || words.length > 2) {
    process.stderr.write('Usage: npm run soak [-- LENGTH [SEED]], such as 30m, or 20s 4711\n');
    return 2;
  }
  process.env.FERRYD_SERVERS ??= UNPACKED_SERVERS;
  const directory = await temporaryDirectory('soak');
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  say(`Soak of ${length}, seed ${seed}, in ${directory.path}`);
  let result: SoakResult;
  try {
    result = await Soak.run({
      lengthMs: lengthOf.value,
      seed,
      directory: directory.path,
      program: [process.execPath, '--trace-warnings', FERRYD],
      signal: stop.signal,
      say,
    });
  } catch (error) {
    say(`The soak itself broke, seed ${seed}; what it left is in ${directory.path}.`);
    throw error;
  }
  say(table(result));
  say(JSON.stringify(result));
  if (result.problems.length === 0) {
    await directory.remove();
    say('Both sides agree, and nothing grew.');
    return 0;
  }
  for (const problem of result.problems) say(`WRONG  ${problem}`);
  say(`Seed ${seed}. Both sides, the ledger and ${join(directory.path, 'daemon.log')} are left to look at.`);
  return 1;
}

process.exitCode = await main(process.argv.slice(2));
