/*
 * Keys of a job that are right by themselves and contradict each other: what a mode cannot do, a key that would have
 * no effect, and variables in a path that cannot hold them. Silence would be the worst answer, so each is told.
 * Looks at what was written, not at defaults, and says nothing where the other key is itself mistaken.
 */
import type { Job, Server } from './job.js';
import { below, error, type Mistake, warning } from './mistake.js';
import { list, record } from './shape.js';
import { parseTemplate, type Template } from './template.js';

/** Where files come from, as far as that can be told. */
export type SourceSide = 'local' | 'remote' | 'both' | undefined;

/** One end's path. */
export interface EndPath {
  /** Where it stands in the file. */
  readonly pointer: string;
  /** As a person wrote it. */
  readonly written: string;
  /** As the job has it. */
  readonly path: string;
}

export interface JobKeys {
  /** The keys of the job; mistaken ones are taken out. */
  readonly written: Readonly<Record<string, unknown>>;
  /** Pointers of keys that were meant to be written, and cannot be understood. */
  readonly unclear: ReadonlySet<string>;
  /** Undefined where it cannot be understood. */
  readonly mode: Job['mode'] | undefined;
  readonly source: SourceSide;
  /** What the server speaks; undefined where that is unclear. */
  readonly protocol: Server['protocol'] | undefined;
  /** Undefined where an end has mistakes of its own. */
  readonly from: EndPath | undefined;
  readonly to: EndPath | undefined;
}

/** Every contradiction, each as one sentence. */
export function contradictions(keys: JobKeys): Mistake[] {
  return [...checkKeys(keys), ...checkDeletes(keys), ...checkPaths(keys), ...checkHooks(keys)];
}

/** What `after` writes below the watched directory would ask for the next run, and that one for the next. */
function checkHooks({ written }: JobKeys): Mistake[] {
  const watched = list(written.triggers).some((trigger) => Object.hasOwn(record(trigger), 'watch'));
  if (written.after === undefined || !watched) return [];
  return [
    warning(
      '/after',
      'what after writes or deletes below from is noticed by watch, which then asks for another run, for ever; let it work in another place, or use cron in place of watch',
    ),
  ];
}

function checkKeys({ written, mode, source, protocol }: JobKeys): Mistake[] {
  const mistakes: Mistake[] = [];
  const refuse = (key: string, message: string): void => {
    mistakes.push(error(below('', key), message));
  };
  if (written.conflicts !== undefined && mode !== undefined && mode !== 'two-way') {
    refuse(
      'conflicts',
      'conflicts come up only where both sides may change; take the key away, or write mode: two-way',
    );
  }
  const aboutLinks = explainLinks({ written, mode, source, protocol });
  if (aboutLinks !== undefined) refuse('links', aboutLinks);
  return mistakes;
}

/** Why links cannot be had as they are written; undefined where they can. */
function explainLinks({
  written,
  mode,
  source,
  protocol,
}: Pick<JobKeys, 'written' | 'mode' | 'source' | 'protocol'>): string | undefined {
  if (written.links === 'preserve') {
    return protocol === 'ftp'
      ? 'FTP has no command that makes a link, so links cannot be preserved; write links: skip, links: follow to send what they lead to, or sftp:// in the URL if the server speaks SFTP'
      : undefined;
  }
  if (written.links !== 'follow') return undefined;
  if (source === 'remote') {
    return protocol === 'sftp'
      ? 'links are followed only in a local from; take links away, or write links: preserve to have them here as links'
      : 'links are followed only in a local from; on a server they stay behind, so take links away';
  }
  if (mode === 'move') {
    return 'mode move removes what it has delivered, and what a link leads to may be needed elsewhere; write links: skip';
  }
  if (mode === 'two-way') {
    return 'links are not followed in mode two-way, for a change from the other side would have to be written through them; write links: skip';
  }
  return undefined;
}

function checkDeletes({ written, unclear, mode }: JobKeys): Mistake[] {
  const mistakes: Mistake[] = [];
  const deletes = record(written.deletes);
  if (deletes.extraneous === true && mode !== undefined && mode !== 'mirror') {
    mistakes.push(
      error(
        '/deletes/extraneous',
        `mode ${mode} deletes only what ferryd put there; take the key away, or write mode: mirror`,
      ),
    );
  }
  const policy = deletes.policy ?? (mode === 'copy' ? 'delete' : undefined);
  if (deletes.keep !== undefined && policy === 'delete' && !unclear.has('/deletes/policy')) {
    mistakes.push(
      warning(
        '/deletes/keep',
        `keep is for the trash, and nothing goes there ${deletes.policy === undefined ? 'in mode copy where it is not asked for' : 'with policy: delete'}; write policy: trash beside it, or take keep away`,
      ),
    );
  }
  return mistakes;
}

function checkPaths(keys: JobKeys): Mistake[] {
  const { written, mode, from, to } = keys;
  const mistakes: Mistake[] = [];
  const target = to === undefined ? undefined : readTarget(to, mistakes);
  if (to !== undefined && target !== undefined) mistakes.push(...checkVariables(to, target, keys));
  if (from !== undefined && mode === 'two-way') {
    const other = readTarget(from, mistakes);
    if (other !== undefined) mistakes.push(...checkVariables(from, other, keys));
  } else if (from !== undefined && mode !== undefined) {
    const [variable] = /\{(?:host|job|date|mtime)(?::[^{}]*)?\}/.exec(from.written) ?? [];
    if (variable !== undefined) {
      mistakes.push(
        error(
          from.pointer,
          `only a target holds ${variable}; write out the directory that the files come from`,
        ),
      );
    }
  }
  const timed = target === undefined || target.uses.has('date') || target.uses.has('mtime');
  if (written.timezone !== undefined && to !== undefined && !timed) {
    mistakes.push(
      warning(
        '/timezone',
        'timezone is for {date} and {mtime} in the target, and there is neither; the time zone of a schedule stands beside its cron',
      ),
    );
  }
  return mistakes;
}

/** A template that stays what it is when the path is made absolute; else says why it cannot be one. */
function readTarget(end: EndPath, mistakes: Mistake[]): Template | undefined {
  const template = parseTemplate(end.written);
  if ('problem' in template) {
    mistakes.push(error(end.pointer, template.problem));
    return undefined;
  }
  const whole = parseTemplate(end.path);
  if (!('problem' in whole) && variablesIn(whole) === variablesIn(template)) return template;
  mistakes.push(
    error(
      end.pointer,
      'counts from a directory with braces in its name, which have a meaning in a target; write a path from / without them',
    ),
  );
  return undefined;
}

function variablesIn({ parts }: Template): number {
  return parts.filter(({ kind }) => kind !== 'text').length;
}

function checkVariables(end: EndPath, { uses }: Template, keys: JobKeys): Mistake[] {
  const { written, mode } = keys;
  const mistakes: Mistake[] = [];
  const refuse = (message: string): void => {
    mistakes.push(error(end.pointer, message));
  };
  if (uses.has('date') && mode === 'two-way') {
    refuse(
      '{date} makes another directory each day, and mode two-way keeps the same two alike; take it away, or write mode: copy',
    );
  }
  if (!uses.has('mtime')) return mistakes;
  if (mode === 'mirror' || mode === 'two-way') {
    refuse(
      `{mtime} gives a changed file another place, which mode ${mode} cannot follow; take it away, or write mode: copy or mode: move`,
    );
  } else if (written.compare !== undefined && written.compare !== 'ledger') {
    refuse(
      '{mtime} gives a changed file another place, and only the ledger knows where it went; take it away, or write compare: ledger',
    );
  }
  if (written.links === 'preserve') {
    refuse(
      '{mtime} finds a place for files by their times, and has none for a link that stays one; take it away, or write links: skip',
    );
  }
  if (written.emptyDirectories === 'keep') {
    refuse(
      '{mtime} finds a place for files by their times, and has none for an empty directory; take it away, or write emptyDirectories: skip',
    );
  }
  return mistakes;
}
