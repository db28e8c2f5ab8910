/*
 * The scan: the source's tree beside the ledger's rows, judged path by path. Yields verdicts and carries
 * nothing out, so that `plan` shows exactly what `run` would do.
 */
import type { Job } from '../job/job.js';
import type { LedgerReader } from '../ledger/reader.js';
import { IGNORE_FILE_CODE, IgnoreRules, readIgnoreFile, Turns } from '../local/ignore.js';
import { type Sight, walk } from '../local/walk.js';
import type { Verdict } from '../plan/action.js';
import {
  comparePaths,
  type Known,
  type LocalFile,
  type RelativePath,
  type RemoteFile,
} from '../plan/entry.js';
import { judgePull, judgePush } from '../plan/judge.js';
import { march } from '../plan/march.js';
import { judge } from '../remote/failure.js';
import type { Remote } from '../remote/remote.js';
import { RunEnded } from './end.js';
import { type Fit, filterOf, type Measures } from './filter.js';
import { isMarker, waitsFor } from './ready.js';

/** Something in the source that is no file to send, or none yet: it waits for its marker. */
export type Finding =
  | Exclude<Sight, { kind: 'file' }>
  | { readonly kind: 'waiting'; readonly path: RelativePath; readonly message: string };

/** True where a source is not empty although nothing of it may be looked at. */
export function hidesFiles(finding: Finding): boolean {
  return finding.kind === 'unreadable' && finding.code === IGNORE_FILE_CODE;
}

export interface Scan {
  readonly job: Job;
  /** Undefined where there is no ledger yet. */
  readonly ledger: Pick<LedgerReader, 'known'> | undefined;
  /** Undefined where the ledger has never seen this job. */
  readonly binding: number | undefined;
  readonly settings: string;
  /** What size and age say of a file. */
  readonly weigh: (file: Measures) => Fit;
  /** Hears what is left out, and why. */
  readonly onFinding: (finding: Finding) => void;
}

/** Where a pull gets its listings from: the remote itself, or something more patient. */
export type Lists = Pick<Remote, 'list' | 'label'>;

/** The verdicts of a push, in the order of the paths. */
export async function* scanLocal(scan: Scan, root: string): AsyncGenerator<Verdict> {
  const { ready } = scan.job;
  const wanted = filterOf(scan.job);
  const wants = (path: string): boolean =>
    wanted(path) && (ready === undefined || path.endsWith('/') || !isMarker(path, ready));
  async function* files(): AsyncGenerator<LocalFile> {
    for await (const sight of walk(root, { wants, links: scan.job.links })) {
      if (sight.kind === 'file') yield sight.file;
      else scan.onFinding(sight);
    }
  }
  for await (const { path, item, known } of march(files(), remembered(scan))) {
    if (
      item !== undefined &&
      scan.weigh({ sizeBytes: item.sizeBytes, modifiedMs: item.mtimeMs }) !== 'fits'
    ) {
      yield { kind: 'left-out', path };
      continue;
    }
    const verdict = judgePush(path, item, known, scan.settings);
    // What would not be sent anyway needs no marker, and costs no look at the disk.
    const moves = verdict.kind === 'upload' || verdict.kind === 'examine';
    yield moves && (await waits(path, scan, root)) ? { kind: 'left-out', path } : verdict;
  }
}

async function waits(path: RelativePath, scan: Scan, root: string): Promise<boolean> {
  try {
    const message = await waitsFor(root, path, scan.job.ready);
    if (message === undefined) return false;
    scan.onFinding({ kind: 'waiting', path, message });
  } catch (error) {
    const { code, message } = judge(error);
    scan.onFinding({ kind: 'unreadable', path, code, message });
  }
  return true;
}

/**
 * The verdicts of a pull, in the order of the paths. Asks the server for its listings.
 *
 * @param root real path of the target directory: its `.ferryignore` counts, and none that lies on the server
 */
export async function* scanRemote(scan: Scan, remote: Lists, root: string): AsyncGenerator<Verdict> {
  const rules = await rulesOfTarget(scan, root);
  if (rules === undefined) return;
  const wanted = filterOf(scan.job);
  const wants = (path: string): boolean => wanted(path) && !rules.ignores(path);
  for await (const { path, item, known } of march(listed(remote, '', wants, scan), remembered(scan))) {
    if (item === undefined || fits(item, scan)) yield judgePull(path, item, known, scan.settings);
    else yield { kind: 'left-out', path };
  }
}

/** @returns undefined where they cannot be known, and so nothing may be fetched */
async function rulesOfTarget(scan: Scan, root: string): Promise<IgnoreRules | undefined> {
  try {
    return IgnoreRules.NONE.with('', (await readIgnoreFile(root, '')) ?? []);
  } catch (error) {
    const { message } = judge(error);
    scan.onFinding({ kind: 'unreadable', path: '', code: IGNORE_FILE_CODE, message });
    return undefined;
  }
}

function fits({ path, sizeBytes, modifiedMs }: RemoteFile, scan: Scan): boolean {
  const fit = scan.weigh({ sizeBytes, modifiedMs });
  if (fit === 'unknown') {
    const message = `The server does not tell when ${path} was modified, so nobody knows whether it is of the age that the job wants: it is not fetched.`;
    scan.onFinding({ kind: 'unfit', path, code: 'age', message });
  }
  return fit === 'fits';
}

function remembered(scan: Scan): Iterator<Known> {
  const { ledger, binding } = scan;
  return ledger === undefined || binding === undefined ? [].values() : ledger.known(binding);
}

async function* listed(
  remote: Lists,
  directory: string,
  wants: (path: string) => boolean,
  scan: Scan,
): AsyncGenerator<RemoteFile> {
  const { files, directories, others, complete } = await remote.list(directory);
  if (!complete) {
    scan.onFinding({
      kind: 'unreadable',
      path: directory,
      code: 'listing',
      message: `The server's listing of ${directory === '' ? remote.label : directory} is incomplete or has names that no file can have here; what it shows is fetched.`,
    });
  }
  for (const path of others) {
    if (wants(path))
      scan.onFinding({ kind: 'ignored', path, message: `${path} is no regular file on the server.` });
  }
  const listing = [
    ...files.map((file) => ({ key: file.path, file })),
    ...directories.map((path) => ({ key: `${path}/`, file: undefined })),
  ];
  const entries: typeof listing = [];
  const turns = new Turns();
  for (const entry of listing) {
    await turns.take();
    if (wants(entry.key)) entries.push(entry);
  }
  entries.sort((a, b) => comparePaths(a.key, b.key));
  for (const [place, { key, file }] of entries.entries()) {
    // A listing may name one thing twice; the march needs each path once.
    if (place > 0 && entries[place - 1]?.key === key) continue;
    if (file !== undefined) yield file;
    else yield* listedBelow(remote, key.slice(0, -1), wants, scan);
  }
}

/** A directory that the server does not list is told, and does not keep the others from being fetched. */
async function* listedBelow(
  remote: Lists,
  directory: string,
  wants: (path: string) => boolean,
  scan: Scan,
): AsyncGenerator<RemoteFile> {
  try {
    yield* listed(remote, directory, wants, scan);
  } catch (error) {
    const failure = judge(error);
    const ends = failure.beforeSession || failure.decision === 'abort' || failure.decision === 'hold';
    if (error instanceof RunEnded || ends) throw error;
    scan.onFinding({ kind: 'unreadable', path: directory, code: failure.code, message: failure.message });
  }
}
