/*
 * Cron expressions: what a person may write, and the schedule that it stands for. node-cron reads and judges the
 * expression and says which days it takes; the times of day and the clock are ours (schedule.ts, timetable.ts).
 * Where day of month and day of week are both named, either is enough, as in crontab(5); node-cron wants both.
 */
import { createTask, validateDetailed } from 'node-cron';
import { momentAfter, type Schedule } from './schedule.js';
import { openZone } from './zone.js';

const LONGEST_EXPRESSION = 1000;

const FIELDS = [
  { key: 'second', word: 'second', range: '0-59', size: 60 },
  { key: 'minute', word: 'minute', range: '0-59', size: 60 },
  { key: 'hour', word: 'hour', range: '0-23', size: 24 },
  {
    key: 'dayOfMonth',
    word: 'day of the month',
    range: '1-31, L (the last) or 15W (the nearest weekday)',
    size: 31,
  },
  { key: 'month', word: 'month', range: '1-12 or JAN-DEC', size: 12 },
  {
    key: 'dayOfWeek',
    word: 'day of the week',
    range: '0-7 or SUN-SAT (0 and 7 are Sunday), 5L or 1#2',
    size: 7,
  },
] as const;

const MONTHS = 'january|february|march|april|may|june|july|august|september|october|november|december';
const DAYS = 'sunday|monday|tuesday|wednesday|thursday|friday|saturday';
const MONTH_NAME = new RegExp(`^(?:${MONTHS}|${shortNames(MONTHS)})$`, 'i');
const DAY_NAME = new RegExp(`^(?:${DAYS}|${shortNames(DAYS)})$`, 'i');

/** What a cron trigger has to know; a job's cron trigger fits. */
export interface CronSpec {
  /** Five fields (minute first), six (second first), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. */
  readonly expression: string;
  /** IANA name; undefined stands for the zone of this machine. */
  readonly timezone: string | undefined;
  /** What to do with a moment that the machine slept through. Left out: `run-once`. */
  readonly missed?: 'run-once' | 'skip';
  /** Each run is put off by a part of this. Left out: 0. */
  readonly jitterMs?: number;
}

/** For people and for the ledger's runs: `cron 30 2 * * *`. */
export function cronName({ expression }: CronSpec): string {
  return `cron ${tidy(expression)}`;
}

/** What the ledger knows a schedule by: another expression or zone is another schedule, another jitter is not. */
export function scheduleKey({ expression, timezone }: CronSpec): string {
  return `cron ${expression} ${timezone ?? ''}`.trim();
}

/** @returns what is wrong, in one or more sentences for a person; undefined where all is well */
export function checkCron(expression: string, timezone: string | undefined): string | undefined {
  const zoneProblem = checkZone(timezone);
  if (zoneProblem !== undefined) return zoneProblem;
  if (expression.length > LONGEST_EXPRESSION) {
    return `The cron expression is ${expression.length} characters long; at most ${LONGEST_EXPRESSION} are read.`;
  }
  const text = tidy(expression);
  const quoted = JSON.stringify(text);
  if (text.startsWith('@')) {
    return validateDetailed(text).valid
      ? undefined
      : `The cron expression ${quoted} is not known; write five fields, or @hourly, @daily, @weekly, @monthly or @yearly.`;
  }
  const fields = text === '' ? [] : text.split(' ');
  if (fields.length !== 5 && fields.length !== 6) {
    return `The cron expression ${quoted} has ${fields.length === 1 ? '1 field' : `${fields.length} fields`}; write five (minute, hour, day of the month, month, day of the week) or six with the second first.`;
  }
  const wrong = fieldProblems(fields);
  if (wrong.length > 0) return `The cron expression ${quoted} is wrong: ${wrong.join('; ')}.`;
  const verdict = validateDetailed(text);
  const bad = verdict.errors.flatMap((error) => {
    const field = FIELDS.find((one) => one.key === error.field);
    return field === undefined || /impossible/.test(error.message)
      ? []
      : [describe(field, error.value ?? '')];
  });
  if (bad.length > 0) return `The cron expression ${quoted} is wrong: ${bad.join('; ')}.`;
  if (!verdict.valid || !comes(text, timezone)) {
    return `The cron expression ${quoted} names a day that never comes; look at its day of the month, month and day of the week.`;
  }
  return undefined;
}

/** Whether there will be such a day; every month has some day of the week, so only a day of the month may never come. */
function comes(text: string, timezone: string | undefined): boolean {
  const [dayOfMonth = '*'] = text.split(' ').slice(-3);
  return /^[*?]/.test(dayOfMonth) || momentAfter(compile(text, timezone), Date.now()) !== undefined;
}

/**
 * The schedule that an expression stands for.
 *
 * @throws RangeError with checkCron's sentence where expression or time zone is wrong
 */
export function openSchedule(expression: string, timezone: string | undefined): Schedule {
  const problem = checkCron(expression, timezone);
  if (problem !== undefined) throw new RangeError(problem);
  return compile(tidy(expression), timezone);
}

/** @param text a tidy expression that validateDetailed accepts */
function compile(text: string, timezone: string | undefined): Schedule {
  const { fields } = validateDetailed(text);
  if (fields === undefined)
    throw new RangeError(`The cron expression ${JSON.stringify(text)} cannot be read.`);
  const takers = dayPatterns(text).map(dayTaker);
  return {
    hours: ascending(fields.hour),
    minutes: ascending(fields.minute),
    seconds: ascending(fields.second),
    zone: openZone(timezone),
    takesDay: (wallMs) => takers.some((takes) => takes(wallMs)),
  };
}

/** crontab(5): where both day fields are restricted (do not start with `*`), a day is taken if either matches. */
function dayPatterns(text: string): readonly string[] {
  if (text.startsWith('@')) return [text];
  const [dayOfMonth = '*', month = '*', dayOfWeek = '*'] = text.split(' ').slice(-3);
  const both = !/^[*?]/.test(dayOfMonth) && !/^[*?]/.test(dayOfWeek);
  return both
    ? [`0 0 ${dayOfMonth} ${month} *`, `0 0 * ${month} ${dayOfWeek}`]
    : [`0 0 ${dayOfMonth} ${month} ${dayOfWeek}`];
}

const EVERY_DAY = /^0 0 [*?] [*?] [*?]$/;

/** node-cron's own matching of days (L, W, #, names), asked about midnight on a wall in UTC. */
function dayTaker(pattern: string): (wallMs: number) => boolean {
  if (EVERY_DAY.test(pattern)) return () => true;
  const task = createTask(pattern, () => undefined, {
    timezone: 'UTC',
    logger: SILENT,
  });
  // It is never started; destroyed, it leaves node-cron's list of tasks and still matches.
  void task.destroy();
  return (wallMs) => task.match(new Date(wallMs));
}

const SILENT = { info() {}, warn() {}, error() {}, debug() {} };

function checkZone(timezone: string | undefined): string | undefined {
  try {
    openZone(timezone);
    return undefined;
  } catch {
    return `The time zone ${JSON.stringify(timezone)} is not known; write an IANA name such as Europe/Berlin or UTC.`;
  }
}

/** What node-cron would take in another sense than a person means, or choke on: it expands `0-99999999999`. */
function fieldProblems(fields: readonly string[]): string[] {
  const named = fields.length === 5 ? FIELDS.slice(1) : FIELDS;
  return named.flatMap((field, index) => {
    const value = fields[index] ?? '';
    const steps = [...value.matchAll(/\/(\d+)/g)].map((match) => Number(match[1]));
    if (steps.some((step) => step > field.size)) {
      return [
        `the step in ${JSON.stringify(value)} is longer than the ${field.word}s there are (${field.size})`,
      ];
    }
    const readable =
      !/\d{3}/.test(value) &&
      !/[^A-Za-z0-9*/,#?-]/.test(value) &&
      value.split(/[,/#-]/).every((word) => isWord(field.key, word));
    return readable ? [] : [describe(field, value)];
  });
}

/** node-cron replaces names wherever they stand, so that `janfeb` would be December. */
function isWord(key: (typeof FIELDS)[number]['key'], word: string): boolean {
  if (/^(?:\d+|\*|\?)$/.test(word)) return true;
  if (key === 'month') return MONTH_NAME.test(word);
  if (key === 'dayOfWeek')
    return DAY_NAME.test(word) || /^[0-7]l$/i.test(word) || DAY_NAME.test(word.replace(/l$/i, ''));
  return key === 'dayOfMonth' && /^(?:\d+w|l|lw)$/i.test(word);
}

function describe(field: (typeof FIELDS)[number], value: string): string {
  return `${JSON.stringify(value)} is no ${field.word}, which is ${field.range}, a list (1,15), a range (2-5) or a step (*/2)`;
}

function shortNames(names: string): string {
  return names
    .split('|')
    .map((name) => name.slice(0, 3))
    .join('|');
}

function tidy(expression: string): string {
  return expression.trim().replace(/\s+/g, ' ');
}

function ascending(values: readonly number[]): readonly number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
