/*
 * The planner's judgement on one path: what each side shows against what the ledger remembers, what the table says
 * about that, and what this means here and there. Pure and total. Where the target is not looked at, the ledger is
 * believed; what is to be deleted there is looked at before (run/removal.ts).
 */
import type { Content, Decide, Places, Reason, Removal, SideName, Verdict } from './action.js';
import {
  type Baseline,
  type DirectoryEntry,
  type Fingerprint,
  isDirectory,
  isLink,
  type LinkEntry,
  type LocalEntry,
  type LocalFile,
  type LocalPiece,
  NO_CONTENT,
  type RelativePath,
  type RememberedSkip,
  type RemoteEntry,
  type RemoteFile,
  type RemotePiece,
  sameFingerprint,
  sameTime,
} from './entry.js';
import type { Meeting, Sight } from './march.js';
import { type Again, type Asked, type First, type Mode, type Verb, verbAgain, verbAtFirst } from './table.js';

/** What a job wants, as far as the planner has to know. */
export interface Policy {
  readonly mode: Mode;
  readonly direction: 'push' | 'pull';
  readonly conflicts: 'newer' | 'from' | 'to' | 'keep-both';
  readonly extraneous: 'deleted' | 'kept';
  /** `content`: what is the same by size and time is compared by content all the same. */
  readonly proof: 'times' | 'content';
  /**
   * What becomes of two files of one size and different times on which the sides never agreed. `compared`: the ledger
   * may have been lost, and the server may not keep times; so their content decides before one replaces the other.
   */
  readonly unproven: 'compared' | 'replaced';
  /** Identity of the server's settings now; a remembered skip holds only under its own. */
  readonly settings: string;
  /** Where a path stands on both sides. */
  readonly place: (path: RelativePath, source: PlaceOf) => Places;
}

/** What the place of a file may hang on. */
export interface PlaceOf {
  readonly baseline: Baseline | undefined;
  /** Modification time of the source's file. */
  readonly modifiedMs: number | undefined;
  /** Its path on the remote, where a listing showed it. */
  readonly there: RelativePath | undefined;
}

export type Met = Meeting<LocalEntry, RemoteEntry>;

/**
 * Judges one path.
 *
 * @param content what reading has shown; without it the verdict may be to read
 */
export function judge(met: Met, policy: Policy, content?: Content): Verdict {
  return new Judgement(met, policy, content && { content, against: 'all' }).verdict();
}

/** What reading has shown. `baseline`: how each side stands to what both agreed on, and not how they stand to another. */
interface Read {
  readonly content: Content;
  readonly against: 'baseline' | 'all';
}

/** One path in front of the judge: the sights are looked at once, and the verdict's words put together from them. */
class Judgement {
  readonly #met: Met;
  readonly #policy: Policy;
  readonly #read: Read | undefined;
  readonly #baseline: Baseline | undefined;
  readonly #here: LocalPiece | undefined;
  readonly #there: RemotePiece | undefined;

  constructor(met: Met, policy: Policy, read: Read | undefined) {
    this.#met = met;
    this.#policy = policy;
    this.#read = read;
    this.#baseline = met.known?.baseline;
    this.#here = pieceOf(met.local);
    this.#there = pieceOf(met.remote);
  }

  verdict(): Verdict {
    const verb = this.#verb();
    const here = this.#here;
    const baseline = this.#baseline;
    const isFile = here !== undefined && !isLink(here);
    const unread = isFile && baseline !== undefined && this.#localChange() === 'touched';
    if (unread && this.#hangsOnContent(verb)) return this.#examine(here, baseline);
    switch (verb) {
      case 'leave':
        return { kind: this.#isThere('source') ? 'left-out' : 'kept', path: this.#met.path };
      case 'rest':
        return this.#rest();
      case 'send':
        return this.#deliver(this.#side('target'), this.#sendReason());
      case 'back':
        return this.#deliver(this.#side('source'), baseline === undefined ? 'new' : 'changed');
      case 'replace':
        return this.#replace();
      case 'meet':
        return this.#meet();
      case 'clash':
        return this.#clash();
      case 'drop':
        return this.#remove(this.#side('target'), 'ours');
      case 'drop-back':
        return this.#remove(this.#side('source'), 'ours');
      case 'drop-foreign':
        return this.#dropForeign();
      case 'finish':
        return this.#finish();
      case 'forget':
        return { kind: 'forget', path: this.#met.path };
      case 'blocked':
        return this.#blocked();
    }
  }

  /** What a touched file holds decides where it could mean two things: a new version, or one not to be lost. */
  #hangsOnContent(verb: Verb): boolean {
    const { remote } = this.#met;
    switch (verb) {
      case 'rest':
      case 'finish':
      case 'drop':
        return true;
      case 'send':
        return this.#policy.mode === 'two-way' || this.#sparesTarget();
      case 'leave':
        // Else a new version could not be sent either, and would be read again in every run.
        return this.#policy.mode === 'two-way' && remote.kind === 'unseen' && remote.why === 'unproven';
      default:
        return this.#policy.mode === 'two-way' && verb !== 'forget';
    }
  }

  /** What a person has put into the target of a pull is not overwritten by a copy. */
  #sparesTarget(): boolean {
    return this.#policy.mode === 'copy' && this.#policy.direction === 'pull';
  }

  #verb(): Verb {
    const { mode, direction } = this.#policy;
    const { local, remote } = this.#met;
    const [localRole, remoteRole] = [this.#role('local'), this.#role('remote')];
    if (this.#baseline === undefined) {
      const here = firstOf(local, localRole);
      const there = firstOf(remote, remoteRole);
      const [source, target] = direction === 'push' ? [here, there] : [there, here];
      return verbAtFirst(mode, orUnseen(source), target);
    }
    const localChange = this.#localChange() === 'changed' ? 'changed' : 'same';
    const remoteChange = this.#remoteChange();
    const here = againOf(local, localChange, localRole, againOf(remote, remoteChange, remoteRole, 'same'));
    const there = againOf(remote, remoteChange, remoteRole, here);
    const [source, target] = direction === 'push' ? [here, there] : [there, here];
    return verbAgain(mode, orUnseen(source), target);
  }

  /** In two-way both sides are both. */
  #role(side: SideName): 'receives' | 'tells' {
    return this.#policy.mode === 'two-way' || side === this.#side('target') ? 'receives' : 'tells';
  }

  #localChange(): 'same' | 'touched' | 'changed' {
    const file = this.#here;
    const baseline = this.#baseline;
    if (file === undefined || baseline === undefined) return 'same';
    if (isLink(file) || baseline.leadsTo !== undefined) return changeOfLink(file, baseline);
    if (file.sizeBytes !== baseline.local.sizeBytes) return 'changed';
    if (this.#read !== undefined) return this.#read.content.local;
    if (file.mtimeMs !== baseline.local.mtimeMs) return 'changed';
    return sameFingerprint(file, baseline.local) ? 'same' : 'touched';
  }

  #remoteChange(): 'same' | 'changed' {
    const file = this.#there;
    const baseline = this.#baseline;
    if (file === undefined || baseline === undefined) return 'same';
    if (isLink(file) || baseline.leadsTo !== undefined) return changeOfLink(file, baseline);
    if (file.sizeBytes !== baseline.local.sizeBytes) return 'changed';
    if (this.#read !== undefined) return this.#read.content.remote;
    const { mode, direction } = this.#policy;
    // Where a server stops telling times, or begins to, only a source's new times are taken for changes.
    const strict = mode !== 'two-way' && direction === 'pull';
    return sameTime(file.modifiedMs, baseline.remoteModifiedMs, strict ? 'strict' : 'lenient')
      ? 'same'
      : 'changed';
  }

  #side(role: 'source' | 'target'): SideName {
    return (this.#policy.direction === 'push') === (role === 'source') ? 'local' : 'remote';
  }

  #isThere(role: 'source' | 'target'): boolean {
    const { local, remote } = this.#met;
    return (this.#side(role) === 'local' ? local : remote).kind === 'there';
  }

  #at() {
    const { path } = this.#met;
    const baseline = this.#baseline;
    const source =
      this.#side('source') === 'local' ? fileOf(this.#here)?.mtimeMs : fileOf(this.#there)?.modifiedMs;
    const { remote } = this.#met;
    const there = remote.kind === 'there' ? remote.item.path : undefined;
    return { path, baseline, ...this.#policy.place(path, { baseline, modifiedMs: source, there }) };
  }

  readonly #decide: Decide = (content) => judge(this.#met, this.#policy, content);

  #examine(file: LocalFile, baseline: Baseline): Verdict {
    const remote = this.#policy.proof === 'content' ? fileOf(this.#there) : undefined;
    const byTime = this.#remoteChange();
    const decide: Decide = ({ local, remote: told }) => {
      // Once it is another one here, nobody reads what is there: a new version is not to be taken for the old one.
      const unread = remote === undefined || (local === 'changed' && byTime === 'changed');
      const content = { local, remote: unread ? byTime : told };
      return new Judgement(this.#met, this.#policy, { content, against: 'baseline' }).verdict();
    };
    return { kind: 'examine', ...this.#at(), file, baseline, remote, decide };
  }

  #rest(): Verdict {
    const { path } = this.#met;
    const baseline = this.#baseline;
    if (isDirectoryPath(path) || baseline === undefined) return { kind: 'unchanged', path };
    const byContent = this.#policy.proof === 'content' && this.#read === undefined;
    const here = fileOf(this.#here);
    const there = fileOf(this.#there);
    if (byContent && here !== undefined && there !== undefined) return this.#examine(here, baseline);
    const told = there?.modifiedMs;
    const learnt =
      told !== undefined && baseline.remoteModifiedMs === undefined
        ? { ...baseline, remoteModifiedMs: told }
        : undefined;
    return { kind: 'unchanged', path, learnt };
  }

  #sendReason(): Reason {
    if (this.#baseline === undefined) return 'new';
    const source = this.#side('source') === 'local' ? this.#localChange() : this.#remoteChange();
    return source === 'changed' ? 'changed' : 'missing';
  }

  #deliver(side: SideName, reason: Reason): Verdict {
    const { path, known, local } = this.#met;
    const at = this.#at();
    if (isDirectoryPath(path)) return { kind: 'make-directory', path, side, here: at.here, there: at.there };
    const sent = side === 'remote' ? this.#here : undefined;
    const fetched = side === 'local' ? this.#there : undefined;
    const piece = sent ?? fetched;
    const skip = known?.skip;
    if (skip !== undefined && piece !== undefined && holds(skip, piece, this.#policy.settings)) {
      return { kind: 'remembered', path, skip };
    }
    const why = skip === undefined ? reason : 'tried-again';
    if (sent !== undefined) return { kind: 'upload', ...at, file: sent, reason: why };
    if (fetched === undefined) return { kind: 'kept', path };
    const over = local.kind === 'unasked' ? 'ours' : 'seen';
    return { kind: 'download', ...at, file: fetched, reason: why, over, seen: this.#here };
  }

  #replace(): Verdict {
    const alike = this.#sameLink();
    if (alike !== undefined) return alike;
    if (!this.#sparesTarget()) return this.#deliver(this.#side('target'), 'differs');
    const blocked = { kind: 'blocked', path: this.#met.path, why: 'differs', side: 'local' } as const;
    const local = fileOf(this.#here);
    const remote = fileOf(this.#there);
    const sourceChanged = this.#baseline === undefined || this.#remoteChange() === 'changed';
    if (local === undefined || remote === undefined || !sourceChanged) return blocked;
    // It may be here already: so it is where a run ended between a delivery and the ledger's commit.
    const maybeHere = remote.modifiedMs === undefined || sameTime(local.mtimeMs, remote.modifiedMs, 'strict');
    return (maybeHere ? this.#comparison() : undefined) ?? blocked;
  }

  /** Two links are the same where their text is. @returns undefined where they are not two such links */
  #sameLink(): Verdict | undefined {
    const local = this.#here;
    const remote = this.#there;
    if (local === undefined || remote === undefined || !isLink(local) || !isLink(remote)) return undefined;
    if (local.leadsTo !== remote.leadsTo) return undefined;
    return { kind: 'meet', ...this.#at(), local, remote, proof: 'trusted', decide: this.#decide };
  }

  /** @returns undefined where they cannot be the same, or were compared */
  #comparison(): Verdict | undefined {
    const local = fileOf(this.#here);
    const remote = fileOf(this.#there);
    if (local === undefined || remote === undefined || local.sizeBytes !== remote.sizeBytes) return undefined;
    if (this.#read?.against === 'all') return undefined;
    return { kind: 'meet', ...this.#at(), local, remote, proof: 'compared', decide: this.#decide };
  }

  #meet(): Verdict {
    const { path } = this.#met;
    const local = this.#here;
    const remote = this.#there;
    if (isDirectoryPath(path)) {
      const { here, there } = this.#at();
      return { kind: 'make-directory', path, side: this.#side('target'), here, there };
    }
    if (local === undefined || remote === undefined) return { kind: 'kept', path };
    const { mode, proof, unproven } = this.#policy;
    if (isLink(local) || isLink(remote)) return mode === 'two-way' ? this.#clash() : this.#replace();
    const content = this.#read?.content;
    const differ =
      local.sizeBytes !== remote.sizeBytes || content?.local === 'changed' || content?.remote === 'changed';
    if (!differ && content !== undefined) return { kind: 'unchanged', path };
    const alike = !differ && sameTime(local.mtimeMs, remote.modifiedMs, 'strict');
    if (alike && proof === 'times' && mode !== 'move') {
      return { kind: 'meet', ...this.#at(), local, remote, proof: 'trusted', decide: this.#decide };
    }
    const byContent = alike || proof === 'content' || unproven === 'compared';
    const compared = byContent ? this.#comparison() : undefined;
    if (compared !== undefined) return compared;
    return mode === 'two-way' ? this.#clash() : this.#replace();
  }

  #clash(): Verdict {
    const { path } = this.#met;
    const local = this.#here;
    const remote = this.#there;
    if (local === undefined || remote === undefined) return { kind: 'kept', path };
    const compared = this.#sameLink() ?? this.#comparison();
    if (compared !== undefined) return compared;
    const conflicts = this.#conflicts(local, remote);
    const winner =
      conflicts === 'from'
        ? this.#side('source')
        : conflicts === 'to'
          ? this.#side('target')
          : newerOf(local, remote, this.#side('source'));
    if (conflicts !== 'keep-both') return this.#deliver(otherSide(winner), 'conflict');
    const { here, there } = this.#at();
    return { kind: 'set-aside', path, here, there, side: otherSide(winner), local, remote };
  }

  /** Nobody knows since when a link leads where it leads: where it might be the newer one, both stay. */
  #conflicts(local: LocalPiece, remote: RemotePiece): Policy['conflicts'] {
    const { conflicts } = this.#policy;
    return conflicts === 'newer' && (isLink(local) || isLink(remote)) ? 'keep-both' : conflicts;
  }

  #dropForeign(): Verdict {
    const { path } = this.#met;
    const side = this.#side('target');
    if (this.#policy.extraneous === 'deleted') return this.#remove(side, 'extraneous');
    return this.#baseline === undefined ? { kind: 'kept', path } : { kind: 'spared', path, side };
  }

  #remove(side: SideName, known: 'ours' | 'extraneous'): Verdict {
    const { path } = this.#met;
    const baseline = this.#baseline;
    const { here, there } = this.#at();
    const at = side === 'local' ? here : there;
    return { kind: 'remove', path, side, at, known, ...this.#shown(side), baseline };
  }

  /** As what it stands on that side; where it is not looked at, as both agreed on it. */
  #shown(side: SideName): Pick<Removal, 'sizeBytes' | 'modifiedMs' | 'leadsTo'> {
    const baseline = this.#baseline;
    const piece = side === 'local' ? this.#here : this.#there;
    const leadsTo = piece === undefined ? baseline?.leadsTo : isLink(piece) ? piece.leadsTo : undefined;
    if (leadsTo !== undefined) return { sizeBytes: 0, modifiedMs: undefined, leadsTo };
    const sizeBytes = fileOf(piece)?.sizeBytes ?? baseline?.local.sizeBytes ?? 0;
    const there = fileOf(this.#there);
    const modifiedMs =
      side === 'local'
        ? (fileOf(this.#here)?.mtimeMs ?? baseline?.local.mtimeMs)
        : there === undefined
          ? baseline?.remoteModifiedMs
          : there.modifiedMs;
    return { sizeBytes, modifiedMs };
  }

  #finish(): Verdict {
    const { path } = this.#met;
    const baseline = this.#baseline;
    // A move takes files along; the directories that it empties stay.
    if (isDirectoryPath(path) || baseline === undefined) return { kind: 'unchanged', path };
    const local = this.#here;
    const remote = this.#there;
    return { kind: 'finish', ...this.#at(), side: this.#side('source'), baseline, local, remote };
  }

  #blocked(): Verdict {
    const { path, local, remote } = this.#met;
    for (const [side, sight] of [['local', local] as const, ['remote', remote] as const]) {
      if (sight.kind !== 'unseen') continue;
      const { why } = sight;
      if (why === 'left-out') break;
      return { kind: 'blocked', path, why: why === 'unproven' ? 'unreadable' : why, side };
    }
    return { kind: 'left-out', path };
  }
}

/** What can be compared of a remote file, in the form in which skips are remembered. */
export function remoteFingerprint(file: RemoteFile): Fingerprint {
  return { sizeBytes: file.sizeBytes, mtimeMs: file.modifiedMs ?? 0, ctimeMs: 0, inode: 0 };
}

/** As above, of whatever goes across; a link is told apart by its text. */
export function fingerprintOf(piece: LocalPiece | RemotePiece): Fingerprint {
  if (isLink<LocalFile | RemoteFile>(piece)) return NO_CONTENT;
  return 'modifiedMs' in piece ? remoteFingerprint(piece) : piece;
}

/** The text of a link; undefined of a file. */
export function leadsToOf(piece: LocalPiece | RemotePiece): string | undefined {
  return isLink<LocalFile | RemoteFile>(piece) ? piece.leadsTo : undefined;
}

function changeOfLink(piece: LocalPiece | RemotePiece, baseline: Baseline): 'same' | 'changed' {
  return leadsToOf(piece) === baseline.leadsTo ? 'same' : 'changed';
}

function pieceOf<Piece extends { readonly path: RelativePath }>(
  sight: Sight<Piece | DirectoryEntry>,
): Piece | undefined {
  return sight.kind === 'there' && !isDirectory(sight.item) ? sight.item : undefined;
}

/** Undefined also for a link. */
function fileOf<File extends LocalFile | RemoteFile>(piece: File | LinkEntry | undefined): File | undefined {
  return piece === undefined || isLink(piece) ? undefined : piece;
}

function isDirectoryPath(path: RelativePath): boolean {
  return path.endsWith('/');
}

function otherSide(side: SideName): SideName {
  return side === 'local' ? 'remote' : 'local';
}

/** A listing that may have been cut is good enough to send to; what it does not show is not gone. */
function firstOf(sight: Sight<unknown>, role: 'receives' | 'tells'): Asked<First> {
  if (sight.kind === 'unseen' && sight.why === 'unproven' && role === 'receives') return 'none';
  return sight.kind === 'absent' ? 'none' : sight.kind;
}

/** As above: it is good enough to send a change to, and never to delete by. */
function againOf(
  sight: Sight<unknown>,
  change: 'same' | 'changed',
  role: 'receives' | 'tells',
  other: Asked<Again>,
): Asked<Again> {
  if (sight.kind === 'there') return change;
  const isCut = sight.kind === 'unseen' && sight.why === 'unproven';
  if (isCut && role === 'receives' && other === 'changed') return 'gone';
  return sight.kind === 'absent' ? 'gone' : sight.kind;
}

/** A source that is not looked at says nothing. */
function orUnseen<Seen extends First | Again>(seen: Asked<Seen>): Seen | 'unseen' {
  return seen === 'unasked' ? 'unseen' : seen;
}

/** The side with the later time, to the second; else the larger file; else the source. A link has no time. */
function newerOf(local: LocalPiece, remote: RemotePiece, source: SideName): SideName {
  if (isLink(local) || isLink(remote)) return source;
  const localSeconds = Math.floor(local.mtimeMs / 1000);
  const remoteSeconds = Math.floor((remote.modifiedMs ?? 0) / 1000);
  if (localSeconds !== remoteSeconds) return localSeconds > remoteSeconds ? 'local' : 'remote';
  if (local.sizeBytes !== remote.sizeBytes) return local.sizeBytes > remote.sizeBytes ? 'local' : 'remote';
  return source;
}

function holds(skip: RememberedSkip, piece: LocalPiece | RemotePiece, settings: string): boolean {
  const same = skip.leadsTo === leadsToOf(piece) && sameFingerprint(skip.local, fingerprintOf(piece));
  return skip.settings === settings && same;
}
