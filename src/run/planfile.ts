/*
 * A plan as a file, for a person to look at and to have carried out later: one JSON document with one action a line, in
 * the order of the paths, each with what it was judged by. Its last line has the digest of all before it, so that a file
 * that was cut or edited is not taken for a plan. It is no order to do anything: what is done is what a new plan finds
 * too (`Only`), and the guard looks at everything else.
 */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf } from '../job/bounded-file.js';
import type { Job } from '../job/job.js';
import type { BindingKey } from '../ledger/record.js';
import type { Verdict } from '../plan/action.js';
import {
  type Baseline,
  comparePaths,
  type Fingerprint,
  isLink,
  type LinkEntry,
  type LocalPiece,
  type RelativePath,
  type RemotePiece,
} from '../plan/entry.js';
import { bindingKey, type Only } from './context.js';
import { resolveJob } from './resolve.js';

/** Changes whenever the same action would be written another way. */
const VERSION = 1;

/** A plan of a million files has about as much. */
const MAX_BYTES = 256 * 1024 * 1024;

/** What is written at once. */
const CHUNK_BYTES = 256 * 1024;

/** How many lines are read before others get a turn. */
const LINES_A_TURN = 20_000;

/** What every plan begins with, whatever its version. */
const MARK = '{"ferryd":"plan",';

/** The job as it was when the plan was made. */
export interface PlanHeader {
  readonly ferryd: 'plan';
  readonly version: number;
  readonly job: string;
  /** ISO 8601, UTC. */
  readonly madeAt: string;
  readonly binding: BindingKey;
  /** What of the job file says what an action does, by the names of its keys. */
  readonly settings: Readonly<Record<string, string>>;
}

/** A file's size and times, as far as its side tells them; or the text of a link. */
type Measures = (Fingerprint & { readonly at?: string | undefined }) | Remote | Link;

type Link = Pick<LinkEntry, 'leadsTo'>;

interface Remote {
  readonly sizeBytes: number;
  readonly modifiedMs: number | null;
}

/** One action, with what it was judged by. What may differ between two looks at the same is not in it. */
export interface PlannedAction {
  readonly kind: Planned['kind'];
  readonly path: RelativePath;
  readonly side?: string;
  readonly at?: RelativePath;
  readonly here?: RelativePath;
  readonly there?: RelativePath;
  readonly reason?: string;
  readonly known?: string;
  readonly over?: string;
  readonly proof?: string;
  readonly sizeBytes?: number;
  readonly modifiedMs?: number | null;
  readonly leadsTo?: string | undefined;
  readonly local?: Measures | null;
  readonly remote?: Measures | null;
  readonly baseline?: object | null;
}

/** A verdict that a run carries out. */
type Planned = Extract<
  Verdict,
  {
    kind:
      | 'upload'
      | 'download'
      | 'examine'
      | 'meet'
      | 'finish'
      | 'remove'
      | 'set-aside'
      | 'make-directory'
      | 'forget';
  }
>;

/** The action of a verdict; undefined where it asks for nothing. */
export function plannedAction(verdict: Verdict): PlannedAction | undefined {
  switch (verdict.kind) {
    case 'upload': {
      const { kind, path, here, there, reason, file, baseline } = verdict;
      return { kind, path, here, there, reason, local: localOf(file), baseline: baselineOf(baseline) };
    }
    case 'download': {
      const { kind, path, here, there, reason, over, file, seen, baseline } = verdict;
      const sides = { remote: remoteOf(file), local: localOf(seen) };
      return { kind, path, here, there, reason, over, ...sides, baseline: baselineOf(baseline) };
    }
    case 'examine': {
      const { kind, path, here, there, file, remote, baseline } = verdict;
      const sides = { local: localOf(file), remote: remoteOf(remote) };
      return { kind, path, here, there, ...sides, baseline: baselineOf(baseline) };
    }
    case 'meet': {
      const { kind, path, here, there, proof, local, remote, baseline } = verdict;
      const sides = { local: localOf(local), remote: remoteOf(remote) };
      return { kind, path, here, there, proof, ...sides, baseline: baselineOf(baseline) };
    }
    case 'finish': {
      const { kind, path, here, there, side, local, remote, baseline } = verdict;
      const sides = { local: localOf(local), remote: remoteOf(remote) };
      return { kind, path, here, there, side, ...sides, baseline: baselineOf(baseline) };
    }
    case 'remove': {
      const { kind, path, side, at, known, sizeBytes, modifiedMs = null, leadsTo, baseline } = verdict;
      const shown = { sizeBytes, modifiedMs, leadsTo };
      return { kind, path, side, at, known, ...shown, baseline: baselineOf(baseline) };
    }
    case 'set-aside': {
      const { kind, path, here, there, side, local, remote } = verdict;
      return { kind, path, here, there, side, local: localOf(local), remote: remoteOf(remote) };
    }
    case 'make-directory': {
      const { kind, path, here, there, side } = verdict;
      return { kind, path, here, there, side };
    }
    case 'forget': {
      const { kind, path } = verdict;
      return { kind, path };
    }
    case 'unchanged':
    case 'remembered':
    case 'left-out':
    case 'kept':
    case 'spared':
    case 'blocked':
      return undefined;
  }
}

function localOf(file: LocalPiece | undefined): Measures | null {
  if (file === undefined) return null;
  if (isLink(file)) return { leadsTo: file.leadsTo };
  const { sizeBytes, mtimeMs, ctimeMs, inode, at } = file;
  return { sizeBytes, mtimeMs, ctimeMs, inode, at };
}

function remoteOf(file: RemotePiece | undefined): Remote | Link | null {
  if (file === undefined) return null;
  if (isLink(file)) return { leadsTo: file.leadsTo };
  return { sizeBytes: file.sizeBytes, modifiedMs: file.modifiedMs ?? null };
}

function baselineOf(baseline: Baseline | undefined): object | null {
  if (baseline === undefined) return null;
  const { sizeBytes, mtimeMs, ctimeMs, inode } = baseline.local;
  const { sha256, remoteModifiedMs = null, target = null, leadsTo } = baseline;
  return { sizeBytes, mtimeMs, ctimeMs, inode, sha256, remoteModifiedMs, target, leadsTo };
}

/**
 * The head of a plan of this job.
 *
 * @param nowMs when it is made, in milliseconds since 1970
 */
export function headerOf(job: Job, nowMs: number): PlanHeader {
  const { deletes } = job;
  return {
    ferryd: 'plan',
    version: VERSION,
    job: job.name,
    madeAt: new Date(nowMs).toISOString(),
    binding: bindingKey(resolveJob(job, nowMs).job),
    settings: {
      mode: job.mode,
      compare: job.compare,
      conflicts: job.conflicts,
      'deletes.policy': deletes.policy,
      'deletes.extraneous': String(deletes.extraneous),
      'deletes.keep': `${deletes.keepMs} ms`,
      marker: job.marker ?? '',
      emptyDirectories: job.emptyDirectories,
      names: job.names,
      links: job.links,
      permissions: job.permissions,
      timezone: job.timezone ?? '',
    },
  };
}

/** A file that cannot be written, read, or taken for a plan. The message tells a person what to do. */
export class PlanFileError extends Error {
  override readonly name = 'PlanFileError';
  /**
   * - `unusable`: the file cannot be read or written, or is no plan at all
   * - `damaged`: it was a plan, and cannot be trusted to be the one that was made
   */
  readonly kind: 'unusable' | 'damaged';

  constructor(kind: PlanFileError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Makes sure that a plan may be written there: there is nothing, or an older plan.
 *
 * @throws PlanFileError
 */
export async function checkPlace(file: string): Promise<void> {
  const stats = await lstat(file).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unusable(file, 'written', error);
  });
  if (stats === undefined) return;
  const isPlan = stats.isFile() && (await beginsLikeAPlan(file));
  if (isPlan) return;
  const what = stats.isFile() ? 'is not a plan of ferryd' : 'is not a regular file';
  throw new PlanFileError(
    'unusable',
    `${file} ${what}: it is not overwritten. Write the plan to another name.`,
  );
}

async function beginsLikeAPlan(file: string): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const mark = Buffer.from(MARK);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(mark.length), 0, mark.length, 0);
    return buffer.subarray(0, bytesRead).equals(mark);
  } catch (error) {
    throw unusable(file, 'read', error);
  } finally {
    await handle?.close();
  }
}

/**
 * Writes a plan, readable by its owner alone. It takes its place as a whole when `end` returns; until then it stands
 * beside it under a temporary name. Every method throws PlanFileError.
 */
export class PlanWriter {
  readonly #file: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash = createHash('sha256');
  #text = '';
  #actions = 0;
  #bytes = 0;

  private constructor(file: string, temporary: string, handle: FileHandle) {
    this.#file = file;
    this.#temporary = temporary;
    this.#handle = handle;
  }

  static async create(file: string, header: PlanHeader): Promise<PlanWriter> {
    await checkPlace(file);
    const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(8).toString('hex')}.part`);
    const handle = await open(temporary, 'wx', 0o600).catch((error: unknown) => {
      throw unusable(file, 'written', error);
    });
    const writer = new PlanWriter(file, temporary, handle);
    // The mark and what follows it, in this order.
    const { ferryd, version, job, madeAt, binding, settings } = header;
    const head = JSON.stringify({ ferryd, version, job, madeAt, binding, settings });
    writer.#text = `${head.slice(0, -1)},"actions":[\n`;
    return writer;
  }

  /** Adds what a verdict asks for. */
  async add(verdict: Verdict): Promise<void> {
    const action = plannedAction(verdict);
    if (action === undefined) return;
    this.#text += `${this.#actions === 0 ? '' : ',\n'}${JSON.stringify(action)}`;
    this.#actions += 1;
    if (this.#text.length >= CHUNK_BYTES) await this.#flush();
  }

  /** @returns how many actions the plan has */
  async end(): Promise<number> {
    if (this.#actions > 0) this.#text += '\n';
    await this.#flush();
    try {
      await this.#handle.writeFile(lastLine(this.#actions, this.#hash.digest('hex')));
      await this.#handle.sync();
      await this.#handle.close();
      await checkPlace(this.#file);
      await rename(this.#temporary, this.#file);
    } catch (error) {
      throw error instanceof PlanFileError ? error : unusable(this.#file, 'written', error);
    }
    return this.#actions;
  }

  /** Takes away what was written so far. May be called at any time; does nothing after `end` has returned. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await unlink(this.#temporary).catch(() => undefined);
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#text);
    this.#text = '';
    this.#bytes += bytes.length;
    if (this.#bytes > MAX_BYTES) throw tooLarge(this.#file);
    this.#hash.update(bytes);
    try {
      // All of it, where one write takes only a part.
      await this.#handle.writeFile(bytes);
    } catch (error) {
      throw unusable(this.#file, 'written', error);
    }
  }
}

/** In what a new plan differs from the one in the file. */
export type Difference =
  /** Nothing of the kind is to be done any more. */
  | { readonly kind: 'missing'; readonly planned: PlannedAction }
  /** The file does not know of it. */
  | { readonly kind: 'additional'; readonly found: PlannedAction }
  /** Something else is to be done, or by other signs. */
  | { readonly kind: 'other'; readonly planned: PlannedAction; readonly found: PlannedAction };

/** A plan that was read. */
export class PlanFile implements Only {
  readonly header: PlanHeader;
  /** Each action as it is written, by its path; in the order of the paths. */
  readonly #actions: ReadonlyMap<RelativePath, string>;
  readonly #followed = new Set<RelativePath>();

  private constructor(header: PlanHeader, actions: ReadonlyMap<RelativePath, string>) {
    this.header = header;
    this.#actions = actions;
  }

  /** @throws PlanFileError */
  static async read(file: string): Promise<PlanFile> {
    const bytes = await contentOf(file);
    if (!bytes.subarray(0, MARK.length).equals(Buffer.from(MARK))) {
      throw new PlanFileError(
        'unusable',
        `${file} is not a plan of ferryd. Make one with "ferryd plan JOB -o ${file}".`,
      );
    }
    const headEnd = bytes.indexOf('\n') + 1;
    const lastStart = bytes.lastIndexOf('\n', -2) + 1;
    const head = headEnd === 0 ? undefined : headerIn(bytes.toString('utf8', 0, headEnd));
    if (head === undefined) throw damaged(file);
    if (typeof head === 'number') {
      throw new PlanFileError(
        'damaged',
        `${file} was written by another version of ferryd (its format is ${head}, this one reads ${VERSION}). Make the plan anew.`,
      );
    }
    const digest = createHash('sha256').update(bytes.subarray(0, lastStart)).digest('hex');
    const actions =
      lastStart < headEnd ? undefined : await actionsIn(bytes.toString('utf8', headEnd, lastStart));
    if (actions === undefined || bytes.toString('utf8', lastStart) !== lastLine(actions.size, digest)) {
      throw damaged(file);
    }
    return new PlanFile(head, actions);
  }

  /** How many actions it has. */
  get size(): number {
    return this.#actions.size;
  }

  takes(verdict: Verdict): boolean {
    const action = plannedAction(verdict);
    if (action === undefined) return true;
    const { path, kind } = action;
    if ((kind === 'upload' || kind === 'download') && this.#followed.has(path)) return true;
    return this.#actions.get(path) === JSON.stringify(action);
  }

  follow(path: RelativePath): void {
    this.#followed.add(path);
  }

  /** Holds a new plan against this one, action by action, both in the order of the paths. */
  async *compare(verdicts: AsyncIterable<Verdict>): AsyncGenerator<Difference> {
    const planned = this.#actions.entries();
    let next = planned.next();
    for await (const verdict of verdicts) {
      const found = plannedAction(verdict);
      if (found === undefined) continue;
      while (next.done !== true && comparePaths(next.value[0], found.path) < 0) {
        yield { kind: 'missing', planned: parsed(next.value[1]) };
        next = planned.next();
      }
      if (next.done === true || next.value[0] !== found.path) {
        yield { kind: 'additional', found };
        continue;
      }
      if (next.value[1] !== JSON.stringify(found))
        yield { kind: 'other', planned: parsed(next.value[1]), found };
      next = planned.next();
    }
    for (; next.done !== true; next = planned.next())
      yield { kind: 'missing', planned: parsed(next.value[1]) };
  }
}

function parsed(line: string): PlannedAction {
  return JSON.parse(line) as PlannedAction;
}

async function contentOf(file: string): Promise<Buffer> {
  let handle: FileHandle | undefined;
  try {
    // Opening a FIFO would wait for a writer.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw new PlanFileError('unusable', `${file} is not a regular file.`);
    if (stats.size > MAX_BYTES) throw tooLarge(file);
    return await handle.readFile();
  } catch (error) {
    throw error instanceof PlanFileError ? error : unusable(file, 'read', error);
  } finally {
    await handle?.close();
  }
}

/** @returns undefined where it is not what was written; of another version, its number alone */
function headerIn(line: string): PlanHeader | number | undefined {
  const found = fieldsIn(`${line.trimEnd()}]}`);
  if (typeof found?.version !== 'number') return undefined;
  const { version, job, madeAt, binding, settings } = found;
  if (version !== VERSION) return version;
  if (typeof job !== 'string' || typeof madeAt !== 'string') return undefined;
  if (!isBinding(binding) || !isTexts(settings)) return undefined;
  return { ferryd: 'plan', version, job, madeAt, binding, settings };
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((one) => typeof one === 'string')
  );
}

function isBinding(value: unknown): value is BindingKey {
  return (
    isTexts(value) && ['job', 'direction', 'server', 'remoteRoot', 'localRoot'].every((key) => key in value)
  );
}

/** The last line, of what is before it. */
function lastLine(count: number, sha256: string): string {
  return `],${JSON.stringify({ count, sha256 }).slice(1)}\n`;
}

async function actionsIn(text: string): Promise<Map<RelativePath, string> | undefined> {
  const actions = new Map<RelativePath, string>();
  let lines = 0;
  let before: RelativePath | undefined;
  for (let start = 0; start < text.length; ) {
    lines += 1;
    if (lines % LINES_A_TURN === 0) await turn();
    const end = text.indexOf('\n', start);
    const line = text.slice(start, text[end - 1] === ',' ? end - 1 : end);
    start = end + 1;
    const path = fieldsIn(line)?.path;
    if (typeof path !== 'string' || (before !== undefined && comparePaths(before, path) >= 0))
      return undefined;
    before = path;
    actions.set(path, line);
  }
  return actions;
}

function fieldsIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function damaged(file: string): PlanFileError {
  return new PlanFileError(
    'damaged',
    `${file} is damaged, or was changed since it was written. Nothing was done. Make the plan anew.`,
  );
}

function tooLarge(file: string): PlanFileError {
  const limit = MAX_BYTES / 1024 / 1024;
  return new PlanFileError(
    'unusable',
    `The plan ${file} is larger than ${limit} MiB, which is more than can be carried out from a file. Run the job instead; the guard looks at what it deletes.`,
  );
}

function unusable(file: string, done: 'read' | 'written', error: unknown): PlanFileError {
  const code = codeOf(error);
  const why = SENTENCES[code] ?? `(${code})`;
  return new PlanFileError('unusable', `The plan ${file} cannot be ${done}: ${why}.`);
}

const SENTENCES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  ENOTDIR: 'a directory of its path is none',
  EISDIR: 'it is a directory',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
};
