/*
 * Symbolic links on their way, in either direction: intent, temporary name, rename, commit, as files go, but without
 * content. To the server a link goes as it is, wherever it leads; from the server it comes only where its text keeps it
 * below the root, or a server could choose where programs on this machine are led. None is ever followed.
 */
import { discardLink, placeLink } from '../local/link.js';
import { liesAt } from '../local/walk.js';
import type { Download, LinkTransfer, SideName, Upload } from '../plan/action.js';
import { contentless, isLink, type LinkEntry, NO_CONTENT } from '../plan/entry.js';
import { type Lead, leadOf } from '../plan/link.js';
import { LinkImpossible } from '../remote/remote.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import type { Finisher } from './finish.js';
import { linksOf } from './link-there.js';
import { waitsFor } from './ready.js';
import { isExpected, leaveStanding } from './standing.js';
import type { LinkTask, RecoverTask, Task } from './task.js';

const LONGEST_SHOWN = 200;

export class LinkCarrier {
  readonly #desk: Desk;
  readonly #finisher: Finisher;
  /** What was sent and leads out of the source. */
  #outside: { count: number; first: LinkEntry | undefined } = { count: 0, first: undefined };

  constructor(desk: Desk, finisher: Finisher) {
    this.#desk = desk;
    this.#finisher = finisher;
  }

  taskOf(action: LinkTransfer): LinkTask {
    const [at, side] =
      action.kind === 'upload' ? ([action.there, 'remote'] as const) : ([action.here, 'local'] as const);
    return {
      kind: 'link',
      path: action.path,
      action,
      attempt: 1,
      temporary: this.#desk.temporaryFor(at, side),
    };
  }

  carry(task: LinkTask, beganMs: number): Promise<Result<Task>> {
    const { action } = task;
    return action.kind === 'upload' ? this.#send(task, action, beganMs) : this.#fetch(task, action, beganMs);
  }

  /** What an earlier run left open. In which direction it went is not told, so each side that may be is looked at. */
  async recover({ path, intent }: RecoverTask): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { root, remote, job, run, context, binding, placement } = voyage;
    const { temporary, leadsTo } = intent;
    const places = placement.place(path, { baseline: undefined, modifiedMs: undefined, there: undefined });
    hands.goOn();
    const links = linksOf(remote);
    const isBeside = temporary !== places.there && mayWriteTo('remote', job);
    if (isBeside && (await links.read(temporary)) !== undefined) await remote.remove(temporary);
    if (mayWriteTo('local', job)) await discardLink(root, temporary);
    const here = await liesAt(root, places.here);
    const isHere = typeof here !== 'string' && isLink(here) && here.leadsTo === leadsTo;
    const agreed = isHere && (await links.read(places.there)) === leadsTo;
    hands.fared();
    const target = placement.targetOf(path, places);
    if (agreed) {
      const baseline = contentless(path, { target, leadsTo });
      this.#desk.record({ kind: 'adopted', bindingId: binding, baseline, temporary });
    } else {
      this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
    }
    const message = agreed ? 'had arrived whole: it is not sent again' : 'was cut off: nothing of it is left';
    context.listener({ event: 'run.recovered', job: job.name, run, path, message });
    return 'done';
  }

  /**
   * Takes the temporary name away.
   *
   * @param end `unheard`: the server may have the command before it that makes the link
   * @returns false where nobody knows whether it is gone
   */
  async clear({ action, temporary }: LinkTask, end: 'heard' | 'unheard'): Promise<boolean> {
    const { root, remote } = this.#desk.voyage;
    if (action.kind === 'download') {
      await discardLink(root, temporary);
      return true;
    }
    // Where the server cannot rename, it is the final name: what stands there may be the version before.
    if (temporary === action.there) return true;
    if (end === 'unheard' && (await linksOf(remote).read(temporary)) === undefined) return false;
    await remote.remove(temporary);
    return true;
  }

  /** All were seen: links that lead out of the source were sent as they are, and a person is told once. */
  tellOutside(): void {
    const { count, first } = this.#outside;
    this.#outside = { count: 0, first: undefined };
    if (first === undefined) return;
    const { context, job, run } = this.#desk.voyage;
    const others = count === 1 ? '' : `, and ${count - 1} more,`;
    const leads = count === 1 ? 'leads' : 'lead';
    const message = `${first.path} (to ${shown(first.leadsTo)})${others} ${leads} out of the source. On the server the same text may lead nowhere, or to something else there.`;
    context.listener({ event: 'link.outside', job: job.name, run, path: first.path, message });
  }

  async #send(task: LinkTask, action: Upload<LinkEntry>, beganMs: number): Promise<Result<Task>> {
    const { voyage, hands, endings } = this.#desk;
    const { root, remote, context, job, run } = voyage;
    const { path, attempt, temporary } = task;
    const { here, there } = action;
    const waits = await waitsFor(root, here, job.ready);
    const link = await liesAt(root, here);
    if (waits !== undefined || typeof link === 'string' || !isLink(link) || link.leadsTo.includes('\ufffd')) {
      await hands.clear(task);
      if (waits !== undefined)
        context.listener({ event: 'file.waiting', job: job.name, run, path, message: waits });
      return 'done';
    }
    const { leadsTo } = link;
    const { cut: signal, stop } = context;
    hands.goOn();
    if (attempt > 1 && temporary !== there) await remote.remove(temporary, { signal });
    const aside = this.#desk.trashOf(there, attempt);
    const making = { path: there, temporary, leadsTo, aside };
    const made = await linksOf(remote)
      .make(making, { signal, stop })
      .catch((error: unknown) => this.#unlessImpossible(task, beganMs, error));
    hands.fared();
    if (made === undefined) return 'done';
    const { setAside } = made;
    if (setAside && aside !== undefined) endings.setAside(task, aside);
    if (leadOf(path, leadsTo) === 'outside') {
      this.#outside = { count: this.#outside.count + 1, first: this.#outside.first ?? link };
    }
    return this.#arrived(task, beganMs, { ...action, file: link });
  }

  async #fetch(task: LinkTask, action: Download<LinkEntry>, beganMs: number): Promise<Result<Task>> {
    const { root } = this.#desk.voyage;
    const { attempt, temporary } = task;
    const { here, file } = action;
    const { leadsTo } = file;
    const lead = leadOf(here, leadsTo);
    if (lead !== 'inside') return this.#refuse(task, beganMs, lead);
    const standing = await liesAt(root, here);
    if (typeof standing !== 'string' && isLink(standing) && standing.leadsTo === leadsTo) {
      return this.#adopted(task, action);
    }
    if (!this.#isFree(standing, action)) return leaveStanding(this.#desk, task, beganMs);
    const aside = this.#desk.trashOf(here, attempt);
    const setAside = await placeLink({ root, path: here, temporary, leadsTo, aside });
    if (setAside && aside !== undefined) this.#desk.endings.setAside(task, aside);
    return this.#arrived(task, beganMs, action);
  }

  #isFree(standing: Awaited<ReturnType<typeof liesAt>>, action: Download<LinkEntry>): boolean {
    if (typeof standing === 'string') return standing === 'nothing';
    if (isExpected(standing, action)) return true;
    const { job } = this.#desk.voyage;
    // A move keeps no account of what it has delivered; what goes into the trash is not lost.
    return action.over === 'ours' && job.mode === 'move' && job.deletes.policy === 'trash';
  }

  /** It stands here by another way. */
  #adopted({ path, temporary }: LinkTask, action: Download<LinkEntry>): Promise<Result<Task>> {
    const { binding, tally, placement } = this.#desk.voyage;
    const target = placement.targetOf(path, action);
    const baseline = contentless(path, { target, leadsTo: action.file.leadsTo });
    this.#desk.record({ kind: 'adopted', bindingId: binding, baseline, temporary });
    tally.unchanged += 1;
    return this.#finisher.delivered(action, {
      side: 'remote',
      baseline,
      local: undefined,
      remote: action.file,
    });
  }

  #arrived(task: LinkTask, beganMs: number, action: LinkTransfer): Promise<Result<Task>> {
    const { path } = task;
    const { leadsTo } = action.file;
    const target = this.#desk.voyage.placement.targetOf(path, action);
    const baseline = contentless(path, { target, leadsTo });
    this.#desk.endings.delivered(task, beganMs, { baseline, bytes: 0, fromByte: 0 });
    const [local, remote] =
      action.kind === 'upload' ? ([action.file, undefined] as const) : ([undefined, action.file] as const);
    const side = action.kind === 'upload' ? 'local' : 'remote';
    return this.#finisher.delivered(action, { side, baseline, local, remote });
  }

  /** Not counted as a row of refusals: what the server cannot do with links says nothing about files. */
  async #unlessImpossible(task: LinkTask, beganMs: number, error: unknown): Promise<undefined> {
    if (!(error instanceof LinkImpossible)) throw error;
    await this.#leave(task, beganMs, { code: 'link', message: error.message });
  }

  async #refuse(task: LinkTask, beganMs: number, lead: Exclude<Lead, 'inside'>): Promise<Result<Task>> {
    const { action, path } = task;
    const { leadsTo } = action.file;
    const why =
      lead === 'outside'
        ? `leads out of the directory that is fetched into (to ${shown(leadsTo)})`
        : `goes up again behind a name (${shown(leadsTo)}), and nobody knows where that leads`;
    const message = `${path} is a link on the server that ${why}: it is not made here. Correct it there, or exclude it.`;
    await this.#leave(task, beganMs, { code: 'link-outside', message });
    return 'done';
  }

  /** Until it leads elsewhere, or the server's settings change. */
  async #leave(
    task: LinkTask,
    beganMs: number,
    { code, message }: { readonly code: string; readonly message: string },
  ): Promise<void> {
    const { settings } = this.#desk.voyage.policy;
    const { leadsTo } = task.action.file;
    const temporary = await this.#desk.hands.clear(task);
    const remember = { local: NO_CONTENT, leadsTo, settings };
    this.#desk.endings.refused(task, beganMs, { code, message, remember, temporary });
  }
}

/** Enough of a text for a sentence. */
function shown(leadsTo: string): string {
  return leadsTo.length > LONGEST_SHOWN ? `${leadsTo.slice(0, LONGEST_SHOWN)}...` : leadsTo;
}

function mayWriteTo(
  side: SideName,
  { mode, direction }: { readonly mode: string; readonly direction: 'push' | 'pull' },
): boolean {
  return mode === 'two-way' || (direction === 'push') === (side === 'remote');
}
