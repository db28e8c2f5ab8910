/*
 * A job from the data of its file: which side is local, which server is meant, when it runs. Looks at each part
 * that has the right shape even where another has not, so that all mistakes of a file are told at once.
 * Touches no disk; whether the source exists is asked when the job runs.
 */
import { readAddress, readLocalPath, readRemotePath } from './address.js';
import { contradictions, type EndPath, type SourceSide } from './contradiction.js';
import type { Deletes, Job, ReadyMarker, RemotePath, Retries, Server, TriggerSpec } from './job.js';
import { readVia, type ServerLookup } from './lookup.js';
import { below, error, type Mistake } from './mistake.js';
import { readAfter, readBefore, readChannels, readExpect, readPing } from './notice.js';
import {
  cronTriggerSchema,
  deletesSchema,
  jobSchema,
  retriesSchema,
  type Written,
  watchTriggerSchema,
} from './schema.js';
import { readInlineServer } from './server.js';
import { checkShape, fits, list, record } from './shape.js';
import { didYouMean } from './suggest.js';
import { durationMs, sizeBytes } from './units.js';

/** Says what is wrong with a cron expression, or undefined where nothing is. */
export type CronCheck = (expression: string, timezone: string | undefined) => string | undefined;

export interface JobSurroundings {
  readonly name: string;
  /** Absolute path of the job file. */
  readonly file: string;
  /** Its directory. */
  readonly directory: string;
  findServer(name: string): ServerLookup;
  checkCron: CronCheck;
}

/** `job` is undefined where a mistake is an error. */
export interface JobReading {
  readonly job: Job | undefined;
  readonly mistakes: readonly Mistake[];
}

/** One side of a job. */
type End =
  | { readonly kind: 'local'; readonly local: string; readonly text: string }
  | {
      readonly kind: 'remote';
      readonly server: Server;
      readonly remotePath: RemotePath;
      /** Where its path stands. */
      readonly pointer: string;
    }
  /** Its mistakes are told already; what matters is which side it would be. */
  | { readonly kind: 'broken'; readonly side: 'local' | 'remote' };

/** @param data what the YAML holds, of any shape */
export function readJob(data: unknown, surroundings: JobSurroundings): JobReading {
  const shape = checkShape('job', data);
  const mistakes: Mistake[] = [...shape.mistakes];
  const written = record(shape.rest);
  const from = readEnd('/from', written.from, shape.mistakes, surroundings, mistakes);
  const to = readEnd('/to', written.to, shape.mistakes, surroundings, mistakes);
  checkSides(from, to, surroundings, mistakes);
  const mode = readMode(written.mode, shape.unclear);
  const source = sourceSide(mode, from, to);
  const triggers = readTriggers(written.triggers, source, surroundings, mistakes);
  const size = readSize(written.size, mistakes);
  const age = readAge(written.age, mistakes);
  const retries = readRetries(written.retries, mistakes);
  const ready = readReady(written.ready, source, mistakes);
  const where = { directory: surroundings.directory, mistakes };
  const before = readBefore(written.before, where);
  const after = readAfter(written.after, where);
  const ping = readPing(written.ping, where);
  const notify = written.notify === undefined ? undefined : readChannels(written.notify, '/notify', where);
  mistakes.push(
    ...contradictions({
      written,
      unclear: shape.unclear,
      mode,
      source,
      protocol: [from, to].find((end) => end?.kind === 'remote')?.server.protocol,
      from: pathOf('/from', from),
      to: pathOf('/to', to),
    }),
  );

  if (mistakes.some(({ severity }) => severity === 'error')) return { job: undefined, mistakes };
  const local = from?.kind === 'local' ? from : to?.kind === 'local' ? to : undefined;
  const remote = from?.kind === 'remote' ? from : to?.kind === 'remote' ? to : undefined;
  if (
    !fits('job', data) ||
    mode === undefined ||
    local === undefined ||
    remote === undefined ||
    retries === undefined
  ) {
    return { job: undefined, mistakes: [...mistakes, error('', 'the job cannot be read')] };
  }
  const { properties } = jobSchema;
  return {
    job: {
      name: surroundings.name,
      file: surroundings.file,
      description: data.description ?? properties.description.default,
      mode,
      direction: from?.kind === 'local' ? 'push' : 'pull',
      local: local.local,
      server: remote.server,
      remotePath: remote.remotePath,
      triggers,
      include: data.include ?? properties.include.default,
      exclude: data.exclude ?? properties.exclude.default,
      ready,
      permissions: data.permissions ?? properties.permissions.default,
      hidden: data.hidden ?? properties.hidden.default,
      size,
      age,
      links: data.links ?? properties.links.default,
      compare: data.compare ?? properties.compare.default,
      conflicts: data.conflicts ?? properties.conflicts.default,
      deletes: readDeletes(data.deletes, mode),
      marker: data.marker ?? properties.marker.default ?? undefined,
      emptyDirectories: data.emptyDirectories ?? properties.emptyDirectories.default,
      names: data.names ?? properties.names.default,
      timezone: data.timezone ?? properties.timezone.default ?? undefined,
      retries,
      before,
      after,
      expect: readExpect(data.expect),
      ping,
      notify,
    },
    mistakes,
  };
}

/** Undefined where one is written that cannot be understood. */
function readMode(written: unknown, unclear: ReadonlySet<string>): Job['mode'] | undefined {
  if (unclear.has('/mode')) return undefined;
  const { enum: modes, default: unwritten } = jobSchema.properties.mode;
  return written === undefined ? unwritten : modes.find((mode) => mode === written);
}

/** Without a mode nobody can tell: two-way has no source. */
function sourceSide(mode: Job['mode'] | undefined, from: End | undefined, to: End | undefined): SourceSide {
  if (mode === undefined || from === undefined || to === undefined || sideOf(from) === sideOf(to)) {
    return undefined;
  }
  return mode === 'two-way' ? 'both' : sideOf(from);
}

function pathOf(pointer: '/from' | '/to', end: End | undefined): EndPath | undefined {
  if (end?.kind === 'local') return { pointer, written: end.text, path: end.local };
  if (end?.kind !== 'remote') return undefined;
  return { pointer: end.pointer, written: end.remotePath.path, path: end.remotePath.path };
}

function readEnd(
  pointer: '/from' | '/to',
  written: unknown,
  shapeMistakes: readonly Mistake[],
  surroundings: JobSurroundings,
  mistakes: Mistake[],
): End | undefined {
  if (!fits('end', written)) return undefined;
  const refuse = (at: string, message: string, side: 'local' | 'remote'): End => {
    mistakes.push(error(at, message));
    return { kind: 'broken', side };
  };
  const { directory } = surroundings;
  if (typeof written === 'object' && 'url' in written) {
    const pruned = shapeMistakes.some((mistake) => mistake.pointer.startsWith(`${pointer}/`));
    const reading = readInlineServer(written, {
      pointer,
      urlPointer: below(pointer, 'url'),
      directory,
      keys: pruned ? 'pruned' : 'whole',
    });
    mistakes.push(...reading.mistakes);
    const server = throughVia(reading.server, written.via, { pointer, surroundings, mistakes });
    if (server === undefined) return { kind: 'broken', side: 'remote' };
    return {
      kind: 'remote',
      server,
      remotePath: reading.remotePath,
      pointer: below(pointer, written.path === undefined ? 'url' : 'path'),
    };
  }
  if (typeof written === 'object') {
    return readNamed(
      { name: written.server, pointer: below(pointer, 'server') },
      { path: written.path ?? '', pointer: below(pointer, 'path') },
      surroundings,
      mistakes,
    );
  }
  const address = readAddress(written);
  switch (address.kind) {
    case 'local': {
      const local = readLocalPath(address.text, directory);
      return local.ok
        ? { kind: 'local', local: local.value, text: address.text }
        : refuse(pointer, local.wrong, 'local');
    }
    case 'named':
      return readNamed(
        { name: address.server, pointer },
        { path: address.path, pointer },
        surroundings,
        mistakes,
      );
    case 'url': {
      const reading = readInlineServer(
        { url: address.url },
        { pointer, urlPointer: pointer, directory, keys: 'whole' },
      );
      mistakes.push(...reading.mistakes);
      if (reading.server === undefined) return { kind: 'broken', side: 'remote' };
      return { kind: 'remote', server: reading.server, remotePath: reading.remotePath, pointer };
    }
  }
}

/** The server with the one that it is reached through; undefined where one of the two is mistaken. */
function throughVia(
  server: Server | undefined,
  via: string | undefined,
  {
    pointer,
    surroundings,
    mistakes,
  }: { readonly pointer: string; readonly surroundings: JobSurroundings; readonly mistakes: Mistake[] },
): Server | undefined {
  // That FTP goes through no other server is told already.
  const told = mistakes.some((mistake) => mistake.pointer === below(pointer, 'via'));
  if (via === undefined || told) return server;
  const self = server?.protocol === 'sftp' ? server : undefined;
  const reading = readVia(surroundings.findServer(via), self);
  if (reading.ok) return self === undefined ? undefined : { ...self, via: reading.value };
  mistakes.push(error(below(pointer, 'via'), reading.wrong));
  return undefined;
}

function readNamed(
  server: { readonly name: string; readonly pointer: string },
  directory: { readonly path: string; readonly pointer: string },
  surroundings: JobSurroundings,
  mistakes: Mistake[],
): End {
  const found = surroundings.findServer(server.name);
  const remotePath = readRemotePath(directory.path);
  if (found.kind === 'unknown') {
    mistakes.push(error(server.pointer, `${found.message}${didYouMean(found.suggestion)}`));
  } else if (found.kind === 'broken') {
    mistakes.push(error(server.pointer, found.message));
  }
  if (!remotePath.ok) mistakes.push(error(directory.pointer, remotePath.wrong));
  if (found.kind !== 'server' || !remotePath.ok) return { kind: 'broken', side: 'remote' };
  return {
    kind: 'remote',
    server: found.server,
    remotePath: remotePath.value,
    pointer: directory.pointer,
  };
}

/** Exactly one side is local: that decides the direction. */
function checkSides(
  from: End | undefined,
  to: End | undefined,
  surroundings: JobSurroundings,
  mistakes: Mistake[],
): void {
  if (from === undefined || to === undefined || sideOf(from) !== sideOf(to)) return;
  if (sideOf(to) === 'remote') {
    const message =
      'from and to are both on servers; one of them must be a local directory, so use two jobs with one in between';
    mistakes.push(error('/to', message));
    return;
  }
  const meant = [to, from].find(
    (end) => end.kind === 'local' && surroundings.findServer(end.text).kind !== 'unknown',
  );
  const hint = meant?.kind === 'local' ? `${meant.text}:` : undefined;
  const message =
    'from and to are both local; one of them must be a server, written SERVER:PATH or sftp://HOST/PATH (or ftpes://)';
  mistakes.push(
    error(meant === from && hint !== undefined ? '/from' : '/to', `${message}${didYouMean(hint)}`),
  );
}

function sideOf(end: End): 'local' | 'remote' {
  return end.kind === 'broken' ? end.side : end.kind;
}

function readTriggers(
  written: unknown,
  source: SourceSide,
  surroundings: JobSurroundings,
  mistakes: Mistake[],
): TriggerSpec[] {
  const triggers: TriggerSpec[] = [];
  let watched = false;
  list(written).forEach((item, index) => {
    const pointer = below('/triggers', index);
    if (!fits('trigger', item)) return;
    if ('watch' in item) {
      if (watched)
        mistakes.push(error(pointer, 'another watch trigger; one watches everything, keep one of them'));
      if (source === 'remote') {
        mistakes.push(
          error(pointer, 'watch sees only a local from; use cron to look at a server from time to time'),
        );
      }
      watched = true;
      triggers.push(readWatch(item.watch));
      return;
    }
    const { missed, timezone } = cronTriggerSchema.properties;
    const spec = {
      kind: 'cron',
      expression: item.cron.trim(),
      timezone: item.timezone ?? timezone.default ?? undefined,
      missed: item.missed ?? missed.default,
      jitterMs: item.jitter === undefined ? 0 : durationMs(item.jitter),
    } as const;
    const complaint = checkCron(spec.expression, spec.timezone, surroundings.checkCron);
    if (complaint !== undefined) mistakes.push(error(below(pointer, 'cron'), complaint));
    const twin = triggers.some(
      (other) =>
        other.kind === 'cron' && other.expression === spec.expression && other.timezone === spec.timezone,
    );
    if (twin) mistakes.push(error(pointer, 'the same schedule stands here already; keep one of the two'));
    triggers.push(spec);
  });
  return triggers;
}

function checkCron(expression: string, timezone: string | undefined, check: CronCheck): string | undefined {
  const fields = expression.split(/\s+/).length;
  // The short forms, such as @daily, are the check's to know.
  if (!expression.startsWith('@') && fields !== 5 && fields !== 6) {
    return `a cron expression has five fields (minute hour day month weekday) or six (second first), this one has ${fields}; an example is "30 2 * * *"`;
  }
  try {
    return check(expression, timezone);
  } catch {
    return 'cannot be read as a cron expression; an example is "30 2 * * *"';
  }
}

function readWatch(written: Extract<Written['trigger'], { watch: unknown }>['watch']): TriggerSpec {
  const { settle, rescan, events, poll } = watchTriggerSchema.properties.watch.properties;
  return {
    kind: 'watch',
    settleMs: durationMs(written.settle ?? settle.default),
    rescanMs: durationMs(written.rescan ?? rescan.default),
    events: written.events ?? events.default,
    pollMs: durationMs(written.poll ?? poll.default),
  };
}

function readSize(written: unknown, mistakes: Mistake[]): Job['size'] {
  if (!fits('size', written)) return { minBytes: undefined, maxBytes: undefined };
  const minBytes = written.min === undefined ? undefined : sizeBytes(written.min);
  const maxBytes = written.max === undefined ? undefined : sizeBytes(written.max);
  if (minBytes !== undefined && maxBytes !== undefined && minBytes > maxBytes) {
    mistakes.push(
      error('/size/max', 'max is smaller than min, so no file would go across; exchange the two'),
    );
  }
  return { minBytes, maxBytes };
}

function readAge(written: unknown, mistakes: Mistake[]): Job['age'] {
  if (!fits('age', written)) return { minMs: undefined, maxMs: undefined };
  const minMs = written.min === undefined ? undefined : durationMs(written.min);
  const maxMs = written.max === undefined ? undefined : durationMs(written.max);
  if (minMs !== undefined && maxMs !== undefined && minMs > maxMs) {
    mistakes.push(error('/age/max', 'max is shorter than min, so no file would go across; exchange the two'));
  }
  return { minMs, maxMs };
}

function readDeletes(written: Written['job']['deletes'], mode: Job['mode']): Deletes {
  const { keep, extraneous, limit } = deletesSchema.properties;
  return {
    policy: written?.policy ?? (mode === 'copy' ? 'delete' : 'trash'),
    keepMs: durationMs(written?.keep ?? keep.default),
    extraneous: written?.extraneous ?? extraneous.default,
    limit: {
      percent: written?.limit?.percent ?? limit.properties.percent.default,
      files: written?.limit?.files ?? limit.properties.files.default,
    },
  };
}

function readRetries(written: unknown, mistakes: Mistake[]): Retries | undefined {
  const given = written ?? retriesSchema.default;
  if (!fits('retries', given)) return undefined;
  const { attempts, firstDelay, maxDelay } = retriesSchema.properties;
  const retries = {
    attempts: given.attempts ?? attempts.default,
    firstDelayMs: durationMs(given.firstDelay ?? firstDelay.default),
    maxDelayMs: durationMs(given.maxDelay ?? maxDelay.default),
  };
  if (retries.firstDelayMs > retries.maxDelayMs) {
    const key = given.maxDelay === undefined ? 'firstDelay' : 'maxDelay';
    const message =
      key === 'maxDelay'
        ? 'maxDelay is shorter than firstDelay; it must be at least as long'
        : `firstDelay is longer than maxDelay, which is ${maxDelay.default} where it is not written; write maxDelay as well`;
    mistakes.push(error(below('/retries', key), message));
  }
  return retries;
}

function readReady(written: unknown, source: SourceSide, mistakes: Mistake[]): ReadyMarker | undefined {
  if (typeof written !== 'string' || written === '') return undefined;
  const refuse = (message: string): undefined => {
    mistakes.push(error('/ready', message));
    return undefined;
  };
  if (source === 'remote') {
    return refuse(
      'ready looks for markers in a local from only; take it away, and let exclude leave markers behind',
    );
  }
  if (source === 'both') {
    return refuse('ready holds back what goes one way, and in mode two-way files go both ways; take it away');
  }
  if (/[/\r\n\0]/.test(written)) {
    return refuse(
      'a marker stands beside its file: its name has no slash and no line break, such as "{name}.done"',
    );
  }
  const [before = '', part, behind = '', ...rest] = written.split(/\{([^{}]*)\}/);
  if (part === undefined) {
    return refuse(
      'must hold {name} or {stem}, so that each file has a marker of its own, such as "{name}.done"',
    );
  }
  if (part !== 'name' && part !== 'stem') {
    return refuse("knows only {name}, the file's name, and {stem}, the name without its last ending");
  }
  if (rest.length > 0) return refuse('must hold {name} or {stem} once, and nothing else in { and }');
  if (before === '' && behind === '') {
    return refuse(
      `a marker needs a name other than its file's; write more beside {${part}}, such as "{${part}}.done"`,
    );
  }
  return { before, part, behind };
}
