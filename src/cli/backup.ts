/*
 * `ferryd backup FILE`: a checked copy of the ledger, also while the daemon works with it.
 */
import { BackupRefused, backupLedger } from '../ledger/backup.js';
import { LedgerError } from '../ledger/error.js';
import { formatBytes } from '../report/summary.js';
import { CommandFailed, type ExitCode, exitCodeOfLedger } from './exit.js';
import { type GlobalOptions, ledgerFile, openForReading } from './surroundings.js';

/** One sentence on standard output, or one object with `--json`. */
export async function backup(file: string, options: GlobalOptions): Promise<ExitCode> {
  if (file === '') throw new CommandFailed(2, 'backup wants the name of a file for the copy.');
  const ledger = openForReading(options);
  if (ledger === undefined) {
    throw new CommandFailed(
      2,
      `There is no ledger at ${ledgerFile(options)}, so there is nothing to copy. Where one exists, name it with --ledger.`,
    );
  }
  try {
    const made = await backupLedger(ledger, file);
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ ledger: ledger.file, backup: made.file, bytes: made.sizeBytes })}\n`
        : `The ledger ${ledger.file} is copied to ${made.file} (${formatBytes(made.sizeBytes)}), and the copy is whole.\n`,
    );
    return 0;
  } catch (error) {
    if (error instanceof BackupRefused) throw new CommandFailed(2, error.message);
    if (error instanceof LedgerError) throw new CommandFailed(exitCodeOfLedger(error), error.message);
    throw error;
  } finally {
    ledger.close();
  }
}
