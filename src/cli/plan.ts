/*
 * `ferryd plan JOB`: what a run would do and why, one line a path, and nothing done.
 */
import type { SideName, Verdict } from '../plan/action.js';
import { judge } from '../remote/failure.js';
import { printable } from '../report/printable.js';
import { formatBytes } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { RunEnded } from '../run/end.js';
import type { Refusal } from '../run/guard.js';
import { planJob } from '../run/plan.js';
import type { Finding } from '../run/sights.js';
import { CommandFailed, type ExitCode, exitCodeOfFailure } from './exit.js';
import { type GlobalOptions, jobsNamed, load, openForReading, openLog, wireOf } from './surroundings.js';

interface Planned {
  readonly action: string;
  readonly path: string;
  readonly bytes?: number;
  readonly why: string;
}

/** One line a path that is not simply unchanged, then the sums. With `--json` one object a line. */
export async function plan(name: string, options: GlobalOptions): Promise<ExitCode> {
  const configuration = await load(options);
  const [job] = jobsNamed(configuration, [name]);
  if (job === undefined) throw new CommandFailed(2, `There is no job ${name}.`);
  const log = openLog(options, configuration.agent);
  const ledger = openForReading(options);
  const accounts = new Accounts(log.listener, {
    wire: wireOf(options, configuration.agent),
    profiles: ledger,
  });
  const show = (line: Planned): void => {
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ job: name, ...line })}\n`
        : `${line.action.padEnd(8)} ${printable(line.path)}  (${line.why})\n`,
    );
  };
  let moves = 0;
  let bytes = 0;
  let unchanged = 0;
  let refusal: Refusal | undefined;
  try {
    for await (const verdict of planJob(job, {
      ledger,
      accounts,
      onFinding: (finding) => show(ofFinding(finding)),
      onRefusal: (refused) => {
        refusal = refused;
      },
    })) {
      const line = ofVerdict(verdict);
      if (line === undefined) {
        unchanged += verdict.kind === 'unchanged' ? 1 : 0;
        continue;
      }
      if (line.bytes !== undefined) {
        moves += 1;
        bytes += line.bytes;
      }
      show(line);
    }
    if (refusal !== undefined) throw new CommandFailed(6, `${refusal.message} A run would be held.`);
    if (options.json !== true) {
      const verb = job.direction === 'push' ? 'upload' : 'download';
      process.stdout.write(
        `A run would ${verb} ${moves} ${moves === 1 ? 'file' : 'files'} (${formatBytes(bytes)}); ${unchanged} unchanged.\n`,
      );
    }
    return 0;
  } catch (error) {
    throw error instanceof CommandFailed ? error : planFailed(error);
  } finally {
    await accounts.close();
    ledger?.close();
    await log.close();
  }
}

function ofVerdict(verdict: Verdict): Planned | undefined {
  const { path } = verdict;
  switch (verdict.kind) {
    case 'upload':
    case 'download': {
      const bytes = verdict.file.sizeBytes;
      return { action: verdict.kind, path, bytes, why: `${REASONS[verdict.reason]}, ${formatBytes(bytes)}` };
    }
    case 'remove':
      return { action: 'delete', path, why: on(verdict.side) };
    case 'make-directory':
      return { action: 'mkdir', path, why: on(verdict.side) };
    case 'set-aside':
      return { action: 'keep-both', path, why: 'changed on both sides' };
    case 'finish':
      return { action: 'move', path, why: 'delivered before; the source goes' };
    case 'examine':
      return { action: 'examine', path, why: 'touched; its content decides' };
    case 'meet':
      return { action: 'compare', path, why: 'both sides have it' };
    case 'remembered':
      return {
        action: 'skip',
        path,
        why: `the server refused it with ${verdict.skip.code}, and neither it nor the settings have changed`,
      };
    case 'unchanged':
    case 'left-out':
    case 'kept':
    case 'forget':
    case 'spared':
    case 'blocked':
      return undefined;
  }
}

function on(side: SideName): string {
  return side === 'local' ? 'here' : 'on the server';
}

const REASONS = {
  new: 'new',
  changed: 'changed',
  differs: 'the other side holds something else',
  missing: 'missing on the other side',
  conflict: 'changed on both sides; this one wins',
  'tried-again': 'refused before, tried again',
} as const;

const FINDINGS = { ignored: 'ignore', waiting: 'wait', unreadable: 'unread', unfit: 'skip' } as const;

function ofFinding(finding: Finding): Planned {
  const { path, message } = finding;
  const action = FINDINGS[finding.kind];
  return { action, path: path === '' ? '.' : path, why: message };
}

function planFailed(error: unknown): CommandFailed {
  const { kind, message } = error instanceof RunEnded ? error.failure : judge(error);
  return new CommandFailed(exitCodeOfFailure(kind), message);
}
