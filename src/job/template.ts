/*
 * Paths that hold what only a run or a file knows: `backups/{host}/{date:yyyy-MM-dd}`, `photos/{mtime:yyyy/MM}`.
 * Patterns of dates are a small part of those of Unicode TS 35 (yyyy MM dd HH mm ss); time zones are asked of Intl.
 * Pure: host, clock and zone are told. It does not look whether a path can stand on a disk or a server.
 */
import { printable } from './problem.js';
import { closest, didYouMean, simplify } from './suggest.js';

export type Variable = 'host' | 'job' | 'date' | 'mtime';

type Field = 'yyyy' | 'MM' | 'dd' | 'HH' | 'mm' | 'ss';

/** A pattern of a date, taken apart; a `string` stands for itself. */
type DatePattern = readonly ({ readonly field: Field } | string)[];

type TextPart = { readonly kind: 'text'; readonly text: string };
type FilePart = { readonly kind: 'mtime'; readonly pattern: DatePattern };

export type TemplatePart =
  | TextPart
  | FilePart
  | { readonly kind: 'host' }
  | { readonly kind: 'job' }
  | { readonly kind: 'date'; readonly pattern: DatePattern };

/** A path with its variables found. Without any, it has one part of text. */
export interface Template {
  readonly parts: readonly TemplatePart[];
  readonly uses: ReadonlySet<Variable>;
}

/** The end of a target path that differs from file to file: from the component on that first holds `{mtime}`. */
export interface FilePrefix {
  readonly parts: readonly (TextPart | FilePart)[];
}

/** What a run knows. */
export interface RunFacts {
  /** Name of this machine, as the system tells it. */
  readonly host: string;
  /** Name of the job: made of letters, digits, `.`, `_` and `-`, as load.ts sees to. */
  readonly job: string;
  /** When the run began, in milliseconds since 1970. */
  readonly nowMs: number;
  /** IANA name; undefined means the zone of this machine. */
  readonly timezone: string | undefined;
}

/** A target path as one run has it. */
export interface Expanded {
  /** The path before the component that first holds `{mtime}`, without a trailing slash (`/` stays). */
  readonly root: string;
  /** Undefined where no component holds `{mtime}`. */
  readonly prefix: FilePrefix | undefined;
}

const KNOWN = '{host}, {job}, {date:yyyy-MM-dd} and {mtime:yyyy/MM}';
const FIELDS: readonly Field[] = ['yyyy', 'MM', 'dd', 'HH', 'mm', 'ss'];
const MADE_OF = 'a date is made of yyyy, MM, dd, HH, mm and ss, such as {date:yyyy-MM-dd}';

/** What people write who know other programs. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['hostname', 'host'],
  ['machine', 'host'],
  ['name', 'job'],
  ['jobname', 'job'],
  ['now', 'date'],
  ['today', 'date'],
  ['time', 'date'],
  ['modified', 'mtime'],
]);

const DEFAULT_PATTERN = { date: 'yyyy-MM-dd', mtime: 'yyyy/MM' } as const;

/** The part of a problem that repeats what was written stays bearable. */
const LONGEST_REPEAT = 40;

/**
 * Finds the variables of a path.
 *
 * @returns the template, or what is wrong in one clause for a person, without a final full stop
 */
export function parseTemplate(text: string): Template | { readonly problem: string } {
  const parts: TemplatePart[] = [];
  const uses = new Set<Variable>();
  let rest = text;
  while (rest !== '') {
    const brace = rest.search(/[{}]/);
    if (brace !== 0) {
      const plain = brace < 0 ? rest : rest.slice(0, brace);
      parts.push({ kind: 'text', text: plain });
      rest = rest.slice(plain.length);
      continue;
    }
    const inside = /^\{([^{}]*)\}/s.exec(rest)?.[1];
    if (inside === undefined) {
      return { problem: `holds a brace without its other half; braces stand around ${KNOWN} only` };
    }
    const part = readVariable(inside);
    if ('problem' in part) return part;
    parts.push(part);
    uses.add(part.kind);
    rest = rest.slice(inside.length + 2);
  }
  const template: Template = { parts, uses };
  return uses.size > 0 && climbs(template)
    ? { problem: 'must not hold "." or ".." as a directory beside a variable such as {date}' }
    : template;
}

function readVariable(inside: string): Exclude<TemplatePart, TextPart> | { readonly problem: string } {
  const colon = inside.indexOf(':');
  const name = colon < 0 ? inside : inside.slice(0, colon);
  const format = colon < 0 ? undefined : inside.slice(colon + 1);
  switch (name) {
    case 'host':
    case 'job':
      return format === undefined
        ? { kind: name }
        : { problem: `knows {${name}} as it is, and not ${repeated(inside)}` };
    case 'date':
    case 'mtime': {
      const pattern = readPattern(format ?? DEFAULT_PATTERN[name]);
      return typeof pattern === 'string'
        ? { problem: `holds ${repeated(inside)}, and ${pattern}` }
        : { kind: name, pattern };
    }
    default: {
      const near = closest(name, Object.keys(DEFAULT_PATTERN).concat('host', 'job'), OTHER_NAMES);
      const suggestion = near === undefined ? undefined : `{${near}}`;
      return { problem: `knows ${KNOWN}, and not ${repeated(inside)}${didYouMean(suggestion)}` };
    }
  }
}

/** @returns the pattern, or what is wrong with it in words */
function readPattern(format: string): DatePattern | string {
  const pattern: ({ field: Field } | string)[] = [];
  for (const [run] of format.matchAll(/([A-Za-z])\1*|[-_./0-9]+|./gsu)) {
    if (/^[-_./0-9]/.test(run)) {
      pattern.push(run);
      continue;
    }
    if (!/^[A-Za-z]/.test(run)) {
      return `${MADE_OF}, with - _ . / and digits between them and nothing else`;
    }
    const field = FIELDS.find((known) => known === run);
    if (field === undefined) {
      const meant = FIELDS.find((known) => simplify(known) === simplify(run));
      // Minutes and months differ in nothing but their case: what was meant by "mM" nobody knows.
      const hint = meant === undefined || simplify(run) === 'mm' ? undefined : meant;
      return `${MADE_OF}, not of "${cut(run)}"${didYouMean(hint)}`;
    }
    pattern.push({ field });
  }
  const components = pattern
    .map((part) => (typeof part === 'string' ? part : '0'))
    .join('')
    .split('/');
  if (!pattern.some((part) => typeof part !== 'string')) {
    return `${MADE_OF}, and has one of them at least`;
  }
  if (components.some((component) => !/[0-9]/.test(component))) {
    return 'around each / of a date there must be letters or digits, such as {mtime:yyyy/MM}';
  }
  return pattern;
}

/** A `..` behind a variable would leave what the variable made; a `.` beside one makes two names of one place. */
function climbs(template: Template): boolean {
  const sample = template.parts.map((part) => (part.kind === 'text' ? part.text : '\0')).join('');
  const from = sample.lastIndexOf('/', sample.indexOf('\0')) + 1;
  return sample
    .slice(from)
    .split('/')
    .some((component) => component === '.' || component === '..');
}

function repeated(inside: string): string {
  return `{${cut(inside)}}`;
}

function cut(text: string): string {
  return printable(text.length > LONGEST_REPEAT ? `${text.slice(0, LONGEST_REPEAT)}...` : text);
}

/** The target path of one run: host, job and date filled in, and taken apart where it differs from file to file. */
export function expandRun(template: Template, facts: RunFacts): Expanded {
  const filled = template.parts.map((part) => fill(part, facts));
  const first = filled.findIndex(({ kind }) => kind === 'mtime');
  const before = filled.slice(0, first < 0 ? filled.length : first).map(textOf);
  const head = before.join('');
  if (first < 0) return { root: trimmed(head), prefix: undefined };
  const slash = head.lastIndexOf('/') + 1;
  const begun: TextPart = { kind: 'text', text: head.slice(slash) };
  return { root: trimmed(head.slice(0, slash)), prefix: { parts: [begun, ...filled.slice(first)] } };
}

function fill(part: TemplatePart, facts: RunFacts): TextPart | FilePart {
  switch (part.kind) {
    case 'host':
      return { kind: 'text', text: asComponent(facts.host) };
    case 'job':
      return { kind: 'text', text: facts.job };
    case 'date':
      return { kind: 'text', text: format(part.pattern, facts.nowMs, facts.timezone) };
    case 'text':
    case 'mtime':
      return part;
  }
}

/**
 * The directories that one file goes to below the root, without a slash at either end.
 *
 * @param modifiedMs the file's modification time in milliseconds since 1970
 * @param timezone IANA name; undefined means the zone of this machine
 */
export function prefixOf(prefix: FilePrefix, modifiedMs: number, timezone: string | undefined): string {
  return prefix.parts
    .map((part) => (part.kind === 'text' ? part.text : format(part.pattern, modifiedMs, timezone)))
    .join('')
    .split('/')
    .filter((component) => component !== '')
    .join('/');
}

function textOf(part: TextPart | FilePart): string {
  return part.kind === 'text' ? part.text : '';
}

function trimmed(path: string): string {
  return path.replace(/(?<=[^/])\/+$/, '');
}

/** A machine may be called anything; a directory is called by what every system takes. */
function asComponent(host: string): string {
  const safe = host
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}._-]/gu, '-')
    .slice(0, 100)
    .replace(/^[.-]+|[.-]+$/g, '');
  return safe === '' ? 'host' : safe;
}

/** Years have four digits in a path; a time beyond them is shown as the nearest that has. */
const EARLIEST_MS = Date.UTC(1000, 0, 2);
const LATEST_MS = Date.UTC(9999, 11, 30);

function format(pattern: DatePattern, atMs: number, timezone: string | undefined): string {
  const shown = new Map<string, string>();
  const boundedMs = Number.isNaN(atMs) ? 0 : Math.min(LATEST_MS, Math.max(EARLIEST_MS, atMs));
  for (const { type, value } of clockOf(timezone).formatToParts(boundedMs)) shown.set(type, value);
  return pattern
    .map((part) => (typeof part === 'string' ? part : (shown.get(SHOWN_AS[part.field]) ?? '')))
    .join('');
}

const SHOWN_AS: Readonly<Record<Field, string>> = {
  yyyy: 'year',
  MM: 'month',
  dd: 'day',
  HH: 'hour',
  mm: 'minute',
  ss: 'second',
};

/** Making one takes a hundred times longer than asking it, and a prefix is asked for with every file. */
const clocks = new Map<string | undefined, Intl.DateTimeFormat>();
const MOST_CLOCKS = 32;

function clockOf(timezone: string | undefined): Intl.DateTimeFormat {
  const known = clocks.get(timezone);
  if (known !== undefined) return known;
  if (clocks.size >= MOST_CLOCKS) clocks.clear();
  const clock = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  clocks.set(timezone, clock);
  return clock;
}
