/*
 * A run in a process of its own, to be killed. Node 20 cannot read TypeScript, so all of src/ is stripped of its types
 * into a temporary directory first; the process itself is started by the ledger's helper.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';
import { type Child, startChild } from '../../ledger/child.js';
import type { World } from './voyage.js';

/** Makes `directory` a place where a child can import `./src/**.js`. */
export function compileSource(directory: string): void {
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 };
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const { outputText } = ts.transpileModule(readFileSync(join('src', name), 'utf8'), { compilerOptions });
    const target = join(directory, 'src', name.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, outputText);
  }
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'), 'dir');
}

/** Prints a line for each file that arrived, and the report at the end. */
const RUNNER = `
  import { readFileSync } from 'node:fs';
  import { openLedger } from './src/ledger/ledger.js';
  import { Accounts } from './src/run/accounts.js';
  import { runJob } from './src/run/run.js';
  const { job, ledger: file } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
  const ledger = openLedger(file);
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: undefined });
  const listener = (event) => {
    if (event.event === 'file.uploaded') process.stdout.write('uploaded ' + event.path + '\\n');
  };
  const report = await runJob(job, { ledger, accounts, listener, trigger: 'by hand' });
  await accounts.close();
  ledger.close();
  process.stdout.write(JSON.stringify(report) + '\\n');`;

/**
 * Starts a run of the world's job in another process; the world lets go of the ledger for it.
 *
 * @param compiled where `compileSource` wrote to
 */
export function startRun(compiled: string, world: World): Child {
  world.closeLedger();
  const input = world.directory.join('run.json');
  writeFileSync(input, JSON.stringify({ job: world.job, ledger: world.ledgerFile }));
  return startChild(compiled, RUNNER, [input]);
}
