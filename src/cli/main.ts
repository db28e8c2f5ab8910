#!/usr/bin/env node
/*
 * The command line: commands, options, help, and the one place where an error becomes a sentence and an exit code.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { complain } from './complaint.js';
import { CommandFailed, type ExitCode } from './exit.js';
import type { GlobalOptions } from './surroundings.js';

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return version;
}

/** Commands are loaded when they are called, so that `status` does not wait for the engine. */
function program(finish: (code: ExitCode) => void): Command {
  const ferryd = new Command('ferryd')
    .description(
      'Ferries files to and from SFTP, FTPS and FTP servers on a schedule, and tells the truth about it.',
    )
    .version(version())
    .option('--jobs <directory>', 'the jobs directory ($FERRYD_JOBS, ./jobs, /etc/ferryd/jobs)')
    .option(
      '--ledger <file>',
      'the ledger ($FERRYD_LEDGER, $STATE_DIRECTORY/ledger.db, the XDG state directory)',
    )
    .option('--json', 'machine-readable output')
    .addOption(
      new Option('--log-level <level>', 'how much is logged').choices(['error', 'warn', 'info', 'debug']),
    )
    .exitOverride()
    .showHelpAfterError('(ferryd --help shows the commands)');

  const globals = (): GlobalOptions => ferryd.opts<GlobalOptions>();
  ferryd
    .command('check')
    .description('say what is wrong with the job files')
    .action(async () => finish(await (await import('./check.js')).check(globals())));
  ferryd
    .command('plan')
    .argument('<job>')
    .option('-o, --output <file>', 'write the plan to a file, for ferryd apply')
    .description('show what a run would do, and do nothing')
    .action(async (job: string, options: { output?: string }) =>
      finish(await (await import('./plan.js')).plan(job, { ...globals(), ...options })),
    );
  ferryd
    .command('apply')
    .argument('<file>')
    .description('do exactly what a plan in a file says, or nothing where the world has moved')
    .action(async (file: string) => finish(await (await import('./apply.js')).apply(file, globals())));
  ferryd
    .command('approve')
    .argument('<job>')
    .description('release the deletions of a run that was held')
    .action(async (job: string) => finish(await (await import('./approve.js')).approve(job, globals())));
  ferryd
    .command('trust')
    .argument('<server>')
    .option('--fingerprint <SHA256:...>', 'trust the key with this fingerprint, and ask nothing')
    .description('show the host keys of an SFTP server, and trust them once you have said yes')
    .action(async (server: string, options: { fingerprint?: string }) =>
      finish(await (await import('./trust.js')).trust(server, { ...globals(), ...options })),
    );
  ferryd
    .command('run')
    .argument('<job...>')
    .option('--retry-skipped', 'ask once more for files that the server refused before')
    .description('run jobs now, one after the other')
    .action(async (jobs: string[], options: { retrySkipped?: boolean }) =>
      finish(await (await import('./run.js')).run(jobs, { ...globals(), ...options })),
    );
  ferryd
    .command('daemon')
    .description('run all jobs by their triggers until stopped')
    .action(async () => finish(await (await import('./daemon.js')).daemon(globals())));
  ferryd
    .command('status')
    .argument('[job]')
    .description('last run, next run and skipped files of each job')
    .action(async (job: string | undefined) =>
      finish(await (await import('./status.js')).status(job, globals())),
    );
  ferryd
    .command('history')
    .argument('[job]')
    .option('--limit <number>', 'how many runs', '20')
    .option('--run <number>', 'the files of one run')
    .description('the runs that were')
    .action(async (job: string | undefined, options: { limit: string; run?: string }) =>
      finish(await (await import('./history.js')).history(job, { ...globals(), ...options })),
    );
  ferryd
    .command('backup')
    .argument('<file>')
    .description('copy the ledger to a file, also while the daemon works with it')
    .action(async (file: string) => finish(await (await import('./backup.js')).backup(file, globals())));
  ferryd
    .command('restore')
    .argument('<job>')
    .argument('[path]')
    .option('--at <time>', 'what was current then: 2026-11-20, 2026-11-20T14:30 or 2d (ago)')
    .option('--to <directory>', 'copy into a local directory, and leave the trash as it is')
    .description('take files back out of the trash')
    .action(async (job: string, path: string | undefined, options: { at?: string; to?: string }) =>
      finish(await (await import('./restore.js')).restore(job, path, { ...globals(), ...options })),
    );
  return ferryd;
}

async function main(): Promise<void> {
  // A reader that goes away (`ferryd history | head`) is no error.
  process.stdout.on('error', () => {});
  let code: ExitCode = 0;
  try {
    await program((finished) => {
      code = finished;
    }).parseAsync();
  } catch (error) {
    code = explain(error);
  }
  process.exitCode = code;
}

function explain(error: unknown): ExitCode {
  // Commander has printed its own sentence; help and version end with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const message = error instanceof Error ? error.message : String(error);
  complain(message);
  return error instanceof CommandFailed ? error.exitCode : 1;
}

await main();
