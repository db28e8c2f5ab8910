/*
 * The typed events of a run and of the daemon. Log, status and whatever comes later are listeners to these;
 * nothing in the house prints by itself. `event` names are stable: people filter their logs by them.
 */
import type { FailureKind, Outcome, Tally } from '../plan/outcome.js';

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** Fields that many events share; each is left out where it does not apply. */
interface Where {
  readonly job?: string;
  readonly run?: number;
  readonly path?: string;
}

export type FerrydEvent = Where &
  (
    | { readonly event: 'daemon.started'; readonly jobs: number; readonly ledger: string }
    | { readonly event: 'daemon.stopping'; readonly signal: string }
    | { readonly event: 'daemon.stopped' }
    /** The watchdog finds no progress, or finds it again. */
    | { readonly event: 'daemon.stuck' | 'daemon.loose'; readonly message: string }
    /** systemd cannot be told how the daemon is, or can be told again. */
    | { readonly event: 'daemon.unheard' | 'daemon.heard'; readonly message: string }
    /** A damaged ledger was put aside, and a new one begun. */
    | { readonly event: 'ledger.replaced'; readonly message: string }
    /** Old history went, or free space was given back. */
    | { readonly event: 'ledger.tended'; readonly message: string }
    /** That could not be done. */
    | { readonly event: 'ledger.problem'; readonly message: string }
    | { readonly event: 'job.loaded'; readonly job: string; readonly nextRun: string | undefined }
    | { readonly event: 'job.removed'; readonly job: string }
    | { readonly event: 'configuration.problem'; readonly level: 'error' | 'warn'; readonly message: string }
    | { readonly event: 'trigger.fired'; readonly job: string; readonly trigger: string }
    | { readonly event: 'trigger.problem'; readonly job: string; readonly message: string }
    | { readonly event: 'run.started'; readonly job: string; readonly run: number; readonly trigger: string }
    | { readonly event: 'run.waiting'; readonly job: string; readonly message: string }
    | {
        readonly event: 'run.ended';
        readonly job: string;
        readonly run: number;
        readonly outcome: Outcome;
        readonly tally: Tally;
        /** How many places of the tree it looked at; undefined where it was everything. */
        readonly places?: number | undefined;
        readonly durationMs: number;
        readonly failure: { kind: FailureKind; message: string; code: string } | undefined;
      }
    | {
        readonly event: 'hook.started';
        readonly job: string;
        readonly run: number;
        readonly hook: 'before' | 'after';
        readonly timeLimitMs: number;
      }
    /** A line that a hook wrote, as it wrote it. */
    | {
        readonly event: 'hook.output';
        readonly job: string;
        readonly run: number;
        readonly hook: 'before' | 'after';
        readonly stream: 'output' | 'error';
        readonly message: string;
      }
    | {
        readonly event: 'hook.ended';
        readonly job: string;
        readonly run: number;
        readonly hook: 'before' | 'after';
        readonly level: 'info' | 'warn' | 'error';
        /** `ok`, `exit-1`, `SIGKILL`, `timed-out`, `stopped`, `ENOENT`. */
        readonly code: string;
        readonly message: string;
        readonly durationMs: number;
      }
    | { readonly event: 'run.recovered'; readonly path: string; readonly message: string }
    | {
        readonly event: 'file.uploaded' | 'file.downloaded';
        readonly path: string;
        readonly bytes: number;
        /** What had come over before, in an attempt that was cut off; undefined where all of it came now. */
        readonly fromByte?: number | undefined;
        readonly durationMs: number;
        readonly attempt: number;
      }
    | {
        readonly event: 'file.retry';
        readonly path: string;
        readonly attempt: number;
        readonly delayMs: number;
        readonly code: string;
        readonly message: string;
      }
    | {
        readonly event: 'file.skipped';
        readonly path: string;
        readonly code: string;
        readonly message: string;
        /** True where the ledger remembers it, so that later runs do not ask again. */
        readonly remembered: boolean;
      }
    | {
        readonly event: 'file.deleted';
        readonly path: string;
        readonly side: 'local' | 'remote';
        /** Where it lies in the trash; undefined where it is gone for good, or went across in a move. */
        readonly to?: string | undefined;
        readonly why: 'gone' | 'extraneous' | 'moved';
      }
    /** Both sides have changed it: the one version is kept under another name. */
    | {
        readonly event: 'file.conflict';
        readonly path: string;
        readonly side: 'local' | 'remote';
        readonly to: string;
      }
    /** Links were sent that lead out of the source; `path` is the first of them. */
    | { readonly event: 'link.outside'; readonly path: string; readonly message: string }
    | { readonly event: 'trash.pruned'; readonly path: string; readonly message: string }
    | { readonly event: 'file.ignored'; readonly path: string; readonly message: string }
    /** It is sent once its ready marker stands beside it. */
    | { readonly event: 'file.waiting'; readonly path: string; readonly message: string }
    | {
        readonly event: 'scan.problem';
        readonly path: string;
        readonly code: string;
        readonly message: string;
      }
    | {
        readonly event: 'connection.opened';
        readonly server: string;
        /** `ftp://backup@nas.example.net:21`: the same for all jobs that use it. */
        readonly account: string;
        readonly message: string;
      }
    | {
        readonly event: 'connection.retry';
        readonly server: string;
        readonly attempt: number;
        readonly delayMs: number;
        readonly code: string;
        readonly message: string;
      }
    /** Somebody has been told how the job stands; `channel` says how, without its secrets. */
    | {
        readonly event: 'notice.sent';
        readonly notice: string;
        readonly channel: string;
        readonly attempt: number;
        readonly message: string;
      }
    /** Nobody could be told. */
    | {
        readonly event: 'notice.failed';
        readonly notice: string;
        readonly channel: string;
        readonly attempt: number;
        /** When it is tried again; undefined where it is given up. */
        readonly delayMs?: number | undefined;
        readonly message: string;
      }
    | { readonly event: 'server.learned'; readonly server: string; readonly message: string }
    | { readonly event: 'wire'; readonly server: string; readonly message: string }
  );

/** Hears what happens. Must not throw and must not block. */
export type Listener = (event: FerrydEvent) => void;
