/*
 * `npm run bench`: all benchmarks one after the other, each a program of its own. Peers that are missing are unpacked
 * first. What stands behind `--` goes to transfer.ts; with `--cases` only what these words choose is run.
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findPeers } from './peers.js';

const ROOT = resolve(import.meta.dirname, '../../..');

interface Program {
  readonly name: string;
  readonly words: readonly string[];
  readonly quickly: readonly string[];
}

/** Beside transfer. */
const OTHERS: readonly Program[] = [
  { name: 'plan-memory', words: [], quickly: ['50', '200'] },
  { name: 'ledger-writes', words: [], quickly: ['500'] },
];

function main(argv: readonly string[]): number {
  // Whatever else there is, transfer knows.
  const { values } = parseArgs({
    args: [...argv],
    options: {
      cases: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      table: { type: 'string' },
    },
    strict: false,
    allowPositionals: true,
  });
  if (values.table !== undefined) return play('transfer', argv);
  if (findPeers().missing.length > 0) run('bash', [join(ROOT, 'test/bench/unpack-peers')]);
  const asked = String(values.cases).split(',').filter(Boolean);
  const isOther = (word: string): boolean => OTHERS.some(({ name }) => name === word.trim());
  const words = asked.filter((word) => !isOther(word));
  const codes: number[] = [];
  if (asked.length === 0 || words.length > 0) {
    const cases = words.length > 0 ? ['--cases', words.join(',')] : [];
    const json = ['--json', join(ROOT, 'build/bench.json')];
    codes.push(play('transfer', [...json, ...argv, ...cases]));
  }
  for (const { name, words: full, quickly } of OTHERS) {
    if (asked.length > 0 && !asked.some((word) => word.trim() === name)) continue;
    process.stdout.write(`\n## ${name}\n\n`);
    codes.push(play(name, values.quick === true ? quickly : full));
  }
  return Math.max(0, ...codes);
}

function play(name: string, words: readonly string[]): number {
  return run(process.execPath, [join(import.meta.dirname, `${name}.js`), ...words]);
}

/** @returns its exit code; 1 where it was killed */
function run(program: string, words: readonly string[]): number {
  return spawnSync(program, words, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = main(process.argv.slice(2));
