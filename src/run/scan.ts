/*
 * The scan: both sides beside the ledger's rows, judged path by path. Yields verdicts and carries nothing out, so that
 * `plan` shows exactly what `run` would do. A side that the job has no need to look at is not looked at.
 */
import type { Job } from '../job/job.js';
import type { LedgerReader } from '../ledger/reader.js';
import { IGNORE_FILE_CODE, IgnoreMap, IgnoreRules, readIgnoreFile } from '../local/ignore.js';
import type { Twin } from '../local/sight.js';
import { Turns } from '../local/turns.js';
import type { Upload, Verdict } from '../plan/action.js';
import {
  isDirectory,
  isLink,
  type Known,
  type LocalEntry,
  type RelativePath,
  type RemoteEntry,
  type RemoteFile,
  type RemotePiece,
} from '../plan/entry.js';
import { judge, type Policy } from '../plan/judge.js';
import { LinksPassed } from '../plan/link.js';
import { type Meeting, march } from '../plan/march.js';
import { isTrash } from '../plan/trash.js';
import { judge as judgeFailure } from '../remote/failure.js';
import type { Difference, RemoteLinks } from '../remote/remote.js';
import type { Memory } from './context.js';
import { type Filter, type Fit, filterOf, type Measures } from './filter.js';
import { Lookup } from './lookup.js';
import type { Placement } from './placement.js';
import { isMarker, waitsFor } from './ready.js';
import type { Scope } from './scope.js';
import { type Lists, type LocalItem, localSights, type OnFinding, remoteSights } from './sights.js';

/** What a scan needs to know of the remote besides listings. */
export type Asks = Lists & {
  keepsApart(difference: Difference): Promise<boolean>;
  stat(path: RelativePath): Promise<RemoteFile | undefined>;
  readonly links?: Pick<RemoteLinks, 'read'> | undefined;
};

export interface Scan {
  /** With paths of this run. */
  readonly job: Job;
  /** Real path of the local root. */
  readonly root: string;
  readonly remote: () => Promise<Asks>;
  /** Undefined where there is no ledger yet. */
  readonly ledger:
    | Pick<LedgerReader, 'known' | 'knownBetween' | 'twinOf' | 'standsInTheWay' | 'linkAbove'>
    | undefined;
  /** Undefined where the ledger has never seen this job. */
  readonly binding: number | undefined;
  readonly policy: Policy;
  /** What the ledger knows of these two places. */
  readonly memory: Memory;
  readonly placement: Placement;
  /** What size and age say of a file. */
  readonly weigh: (file: Measures) => Fit;
  /** Hears what is left out, and why. */
  readonly onFinding: OnFinding;
  /** What of the local side and the ledger is looked at; left out: everything. Not where the remote is listed. */
  readonly scope?: Scope | undefined;
  /** How many files each side has shown so far, those included that are left out by their size or age. */
  readonly seen: { local: number; remote: number };
}

/** Which sides a job has to look at. */
export function looksAt({ mode, direction, compare, deletes }: Job): { local: boolean; remote: boolean } {
  const both = mode === 'two-way' || compare !== 'ledger';
  return {
    local: both || direction === 'push' || mode === 'mirror',
    remote: both || direction === 'pull' || deletes.extraneous,
  };
}

/** The verdicts of a run, in the order of the paths, as many at a time as can be had without waiting. */
export function scanJob(scan: Scan): AsyncGenerator<readonly Verdict[]> {
  return new Scanner(scan).verdicts();
}

type Met = Meeting<LocalItem, RemoteEntry>;

class Scanner {
  readonly #scan: Scan;
  readonly #ignored = new IgnoreMap();
  readonly #wants: Filter;
  readonly #lookup: Lookup;
  /** Of the remote. */
  readonly #links = new LinksPassed();

  constructor(scan: Scan) {
    this.#scan = scan;
    this.#lookup = new Lookup(scan.remote, scan.job);
    const { job } = scan;
    const wanted = filterOf(job);
    const { ready } = job;
    this.#wants = (path) =>
      wanted(path) && (ready === undefined || path.endsWith('/') || !isMarker(path, ready));
  }

  async *verdicts(): AsyncGenerator<readonly Verdict[]> {
    const { job, root, onFinding, placement } = this.#scan;
    const wants = this.#wants;
    const ignored = this.#ignored;
    const looks = looksAt(job);
    if (!looks.local && !(await this.#heedsRoot())) return;
    const { scope } = this.#scan;
    const local = looks.local ? localSights({ root, job, wants, ignored, onFinding, scope }) : undefined;
    const remote = looks.remote
      ? remoteSights({
          remote: await this.#scan.remote(),
          job,
          wants: looks.local ? wants : (path) => wants(path) && !ignored.ignores(path),
          pathOf: placement.pathOf,
          role: job.direction === 'pull' && job.mode !== 'two-way' ? 'source' : 'target',
          onFinding,
        })
      : undefined;
    const turns = new Turns();
    for await (const meetings of march<LocalItem, RemoteEntry>({ local, remote }, this.#rows())) {
      let verdicts: Verdict[] = [];
      for (const met of meetings) {
        const verdict = this.#verdictOn(met);
        if ('kind' in verdict) {
          verdicts.push(verdict);
          continue;
        }
        // Somebody has to be asked: what is known goes on before.
        if (verdicts.length > 0) yield verdicts;
        verdicts = [await verdict];
      }
      yield verdicts;
      await turns.take();
    }
  }

  #verdictOn(met: Met): Verdict | Promise<Verdict> {
    const { path, remote } = met;
    if (remote.kind === 'there' && isLink<RemoteEntry>(remote.item)) this.#links.note(path);
    if (this.#leftOut(met)) return { kind: 'left-out', path };
    return this.#mayBeHidden(met) ? this.#judgedAnew(met) : this.#judge(met);
  }

  #rows(): Iterator<Known> {
    const { ledger, binding, scope } = this.#scan;
    if (ledger === undefined || binding === undefined) return [].values();
    return scope === undefined ? ledger.known(binding) : scope.known(ledger, binding);
  }

  async #judgedAnew(met: Met): Promise<Verdict> {
    return this.#judge(await this.#lookedFor(met));
  }

  /**
   * A pull that does not look at its target heeds the rules at its root.
   *
   * @returns false where they cannot be known, and so nothing may be fetched
   */
  async #heedsRoot(): Promise<boolean> {
    const { root, onFinding } = this.#scan;
    try {
      this.#ignored.note('', IgnoreRules.NONE.with('', (await readIgnoreFile(root, '')) ?? []));
      return true;
    } catch (error) {
      const { message } = judgeFailure(error);
      onFinding({ kind: 'unreadable', path: '', code: IGNORE_FILE_CODE, message });
      return false;
    }
  }

  /** In two-way, something here that a listing does not show which may have been cut. */
  #mayBeHidden({ local, remote }: Met): boolean {
    if (this.#scan.job.mode !== 'two-way' || remote.kind !== 'unseen') return false;
    return remote.why === 'unproven' && local.kind === 'there' && !isDirectory<LocalEntry>(local.item);
  }

  /**
   * A listing that may have been cut does not show all. In two-way what is there may be a person's work, so before
   * anything is put in its place it is asked for by itself.
   */
  async #lookedFor(met: Met): Promise<Met> {
    const { policy, placement } = this.#scan;
    const { path, local, known } = met;
    const { kind } = judge(met, policy);
    if (kind !== 'upload' && kind !== 'examine') return met;
    const modifiedMs = local.kind === 'there' && 'mtimeMs' in local.item ? local.item.mtimeMs : undefined;
    const place = { baseline: known?.baseline, modifiedMs, there: undefined };
    const item = await this.#askedFor(placement.place(path, place).there);
    return item === undefined ? met : { ...met, remote: { kind: 'there', item } };
  }

  async #askedFor(there: RelativePath): Promise<RemotePiece | undefined> {
    const remote = await this.#scan.remote();
    const file = await remote.stat(there);
    if (file !== undefined || this.#scan.job.links !== 'preserve') return file;
    const leadsTo = await remote.links?.read(there);
    return leadsTo === undefined ? undefined : { path: there, leadsTo };
  }

  /** What the job does not want is left alone on both sides, be it there or gone. */
  #leftOut({ path, local, remote, known }: Met): boolean {
    const { seen } = this.#scan;
    if (local.kind === 'there') {
      seen.local += isDirectory<LocalEntry>(local.item) ? 0 : 1;
      if (!this.#fits(path, local.item)) return true;
    } else if (!wantsAll(path, this.#wants) || this.#ignored.ignores(path)) {
      return true;
    }
    if (remote.kind === 'there') {
      seen.remote += isDirectory<RemoteEntry>(remote.item) ? 0 : 1;
      if (!this.#fits(path, remote.item)) return true;
    }
    return local.kind !== 'there' && remote.kind !== 'there' && this.#wasLeftOut(known);
  }

  /** Gone, and of a size or an age by then that the job leaves alone: it stays where it was delivered. */
  #wasLeftOut(known: Known | undefined): boolean {
    const baseline = known?.baseline;
    if (baseline === undefined || baseline.path.endsWith('/') || baseline.leadsTo !== undefined) return false;
    const { sizeBytes, mtimeMs } = baseline.local;
    return this.#scan.weigh({ sizeBytes, modifiedMs: mtimeMs }) === 'left-out';
  }

  #fits(path: RelativePath, item: LocalEntry | RemoteEntry): boolean {
    // Size and age are those of content.
    if (isDirectory<LocalEntry | RemoteEntry>(item) || isLink<LocalEntry | RemoteEntry>(item)) return true;
    const { weigh, placement, onFinding } = this.#scan;
    const modifiedMs = 'modifiedMs' in item ? item.modifiedMs : item.mtimeMs;
    const fit = weigh({ sizeBytes: item.sizeBytes, modifiedMs });
    if (fit === 'unknown') {
      const message = `The server does not tell when ${path} was modified, so nobody knows whether it is of the age that the job wants: it is left alone.`;
      onFinding({ kind: 'unfit', path, code: 'age', message });
    } else if (placement.needsTimes && modifiedMs === undefined) {
      const message = `The server does not tell when ${path} was modified, so {mtime} has no place for it: it is not fetched.`;
      onFinding({ kind: 'unfit', path, code: 'mtime', message });
      return false;
    }
    return fit === 'fits';
  }

  #judge(met: Met): Verdict | Promise<Verdict> {
    const { path } = met;
    const verdict = judge(met, this.#scan.policy);
    switch (verdict.kind) {
      case 'upload':
        return this.#judgeUpload(verdict, met);
      case 'download':
        return this.#inTheWay(met) ? { ...verdict, after: 'deletions' } : verdict;
      case 'make-directory':
        if (this.#inTheWay(met)) return { ...verdict, after: 'deletions' };
        return verdict.side === 'remote' && this.#isBehindLink(met) ? { kind: 'left-out', path } : verdict;
      case 'blocked':
        this.#tellBlocked(verdict);
        return verdict;
      case 'spared':
        this.#tell(
          path,
          'changed-there',
          `${path} is gone at the source, and was changed ${verdict.side === 'local' ? 'here' : 'on the server'} since it was put there: it is not deleted. Delete it by hand, or set deletes.extraneous.`,
        );
        return verdict;
      default:
        return verdict;
    }
  }

  async #judgeUpload(verdict: Upload, met: Met): Promise<Verdict> {
    const { path } = met;
    if (await this.#waits(path)) return { kind: 'left-out', path };
    const unfit = this.#scan.placement.unfitName(verdict.there);
    if (unfit !== undefined) {
      this.#tell(
        path,
        'name',
        `${path} would have to be written as ${unfit} on the server, which is longer than the 255 bytes that a name can have. Give it a shorter name.`,
      );
      return { kind: 'left-out', path };
    }
    if (looksAt(this.#scan.job).remote && UNLISTABLE.test(verdict.there)) {
      this.#tell(
        path,
        'name',
        `${path} has a backslash or a control character in its name. A listing that shows such a name is not believed, and this job needs the server's listings: it is not sent. Rename it, or set names: encode.`,
      );
      return { kind: 'left-out', path };
    }
    if (verdict.baseline !== undefined) return this.#isBehindLink(met) ? { kind: 'left-out', path } : verdict;
    const found = await this.#lookedUp(verdict, met);
    if (found.kind !== 'upload') return found;
    if (this.#inTheWay(met)) return { ...found, after: 'deletions' };
    return this.#isBehindLink(met) ? { kind: 'left-out', path } : this.#apart(found, met);
  }

  /** What would be written where a link of the server leads, and not where it belongs, is told. */
  #isBehindLink({ path, remote }: Met): boolean {
    const { ledger, binding } = this.#scan;
    const link =
      remote.kind !== 'unasked'
        ? this.#links.above(path)
        : binding === undefined
          ? undefined
          : ledger?.linkAbove(binding, path);
    if (link === undefined) return false;
    const message = `${path} belongs into a directory, and on the server ${link} is a link: it would be written wherever that leads, so it is not sent. Take the link away there.`;
    this.#tell(path, 'link-in-the-way', message);
    return true;
  }

  /** The ledger may have forgotten these two places: a file that it does not know may have been delivered all the same. */
  async #lookedUp(verdict: Upload, met: Met): Promise<Verdict> {
    const { memory, policy } = this.#scan;
    if (memory === 'settled' || met.remote.kind !== 'unasked') return verdict;
    const item = await this.#lookup.at(verdict.there);
    return item === undefined ? verdict : judge({ ...met, remote: { kind: 'there', item } }, policy);
  }

  /** Two names that the server takes for one must not meet in one file, nor two directories in one. */
  async #apart(verdict: Upload, met: Met): Promise<Verdict> {
    const { ledger, binding, placement, job } = this.#scan;
    const { path } = met;
    const beside = met.local.kind === 'there' ? met.local.item.twin : undefined;
    const known = binding === undefined || beside !== undefined ? undefined : ledger?.twinOf(binding, path);
    const twin = beside ?? (known === undefined ? undefined : differenceOf(path, known));
    if (twin === undefined) return verdict;
    const remote = await this.#scan.remote();
    const apart =
      (twin === 'form' || (await remote.keepsApart('case'))) &&
      (twin === 'case' || (await remote.keepsApart('form')));
    if (apart) return verdict;
    if (job.names === 'encode') return { ...verdict, there: placement.apart(path) };
    if (known !== undefined && deletes(job)) return { ...verdict, after: 'deletions' };
    const other = known === undefined ? 'another name beside it or above it' : known;
    this.#tell(
      path,
      'twin',
      `${path} and ${other} differ only in ${TWINS[twin]}, and the server takes them for one name: it is not sent. Rename one of them, or set names: encode.`,
    );
    return { kind: 'left-out', path };
  }

  /** A file where a directory has to be, or the other way round: one has to go before the other can come. */
  #inTheWay({ path, known }: Met): boolean {
    const { ledger, binding, job } = this.#scan;
    if (ledger === undefined || binding === undefined || known?.baseline !== undefined) return false;
    return deletes(job) && ledger.standsInTheWay(binding, path);
  }

  async #waits(path: RelativePath): Promise<boolean> {
    const { root, job, onFinding } = this.#scan;
    try {
      const message = await waitsFor(root, path, job.ready);
      if (message === undefined) return false;
      onFinding({ kind: 'waiting', path, message });
    } catch (error) {
      const { code, message } = judgeFailure(error);
      onFinding({ kind: 'unreadable', path, code, message });
    }
    return true;
  }

  #tellBlocked({ path, why, side }: Extract<Verdict, { kind: 'blocked' }>): void {
    // What could not be read was told where that happened.
    if (why === 'unreadable') return;
    const where = side === 'local' ? 'here' : 'on the server';
    const message =
      why === 'differs'
        ? `${path} exists here and is not what was fetched last: it is not overwritten. Move it away, and the next run fetches it.`
        : `${path} is neither a file nor a directory ${where}: nothing is put in its place. Take it away, or exclude it.`;
    this.#tell(path, why === 'differs' ? 'local-differs' : 'special-file', message);
  }

  #tell(path: RelativePath, code: string, message: string): void {
    this.#scan.onFinding({ kind: 'unfit', path, code, message });
  }
}

/** What no name of a listing may have: who takes such a name for a path would be led elsewhere. */
const UNLISTABLE = /[\\\p{Cc}\ufffd]/u;

/** True where a run of the job may delete something. */
export function deletes({ mode }: Pick<Job, 'mode'>): boolean {
  return mode === 'mirror' || mode === 'two-way';
}

/** Wanted itself, and so is every directory above it; the trash never is. */
function wantsAll(path: RelativePath, wants: Filter): boolean {
  if (isTrash(path)) return false;
  for (
    let slash = path.indexOf('/');
    slash >= 0 && slash < path.length - 1;
    slash = path.indexOf('/', slash + 1)
  ) {
    if (!wants(path.slice(0, slash + 1))) return false;
  }
  return wants(path);
}

const TWINS: Readonly<Record<Twin, string>> = {
  case: 'case',
  form: 'the Unicode form of their letters',
  both: 'case and the Unicode form of their letters',
};

function differenceOf(path: RelativePath, other: RelativePath): Twin {
  if (path.normalize('NFC') === other.normalize('NFC')) return 'form';
  return path.toLowerCase() === other.toLowerCase() ? 'case' : 'both';
}
