/*
 * The log: a listener that turns each event into one line on a stream (standard error), readable, JSON or for the
 * journal, and into a JSON line in a file where there is one. Levels and event names are stable, each event has a
 * sentence for a person. Every text passes `printable` here, the second fence behind the remote's own. It never
 * throws and never blocks: outlet.ts and logfile.ts keep bounded backlogs, and tell what they had to drop.
 */
import type { FerrydEvent, Level, Listener } from './event.js';
import type { OpenFileLog } from './file-log.js';
import { priorityPrefix } from './journal.js';
import type { LogFileSettings } from './logfile.js';
import { Outlet } from './outlet.js';
import { printable } from './printable.js';
import { formatBytes, formatDuration, fullStop, runSentence } from './summary.js';

/** What a reload may change. */
export interface LogSettings {
  /** Events of this level and the graver ones are written. */
  readonly level: Level;
  /** `hide`: what went well with a single file has no line. Left out: `show`. */
  readonly files?: 'show' | 'hide' | undefined;
  /** A file that gets the same events, as JSON lines; undefined where there is none. */
  readonly file?: LogFileSettings | undefined;
}

export interface LogOptions extends LogSettings {
  /**
   * `readable`: one line for a person. `json`: one object a line. `journal`: as readable, without the time, and with
   * the priority that systemd's journal takes from the line.
   */
  readonly format: 'readable' | 'json' | 'journal';
  /** Where to write; it is not ended. Colours need `isTTY` on it. */
  readonly stream: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Left out: the log has no file, whatever its settings. */
  readonly openFile?: OpenFileLog | undefined;
  /** Where `NO_COLOR` is looked for; left out: the process's own environment. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

export interface Log {
  readonly listener: Listener;
  /** Takes over new settings for the events that follow; none is lost over it. */
  configure(settings: LogSettings): void;
  /** Writes out what is still on its way; events that come later are not written. Never rejects. */
  close(): Promise<void>;
}

type Value = string | number | boolean;

/** An event as it is logged; JSON shows the keys in the order in which they were put in. */
export interface LogRecord {
  readonly time: string;
  readonly level: Level;
  readonly event: FerrydEvent['event'] | 'log.dropped' | 'log.file';
  readonly message: string;
  readonly [key: string]: Value | undefined;
}

const LEVELS = { error: 0, warn: 1, info: 2, debug: 3 };

const MARKS: Readonly<Record<Level, string>> = {
  error: 'ERROR',
  warn: 'warn ',
  info: 'info ',
  debug: 'debug',
};
const COLOURS: Readonly<Record<Level, number>> = { error: 31, warn: 33, info: 32, debug: 90 };

/** Streams whose errors are taken already: one listener a stream, however many logs were opened on it. */
const guarded = new WeakSet<NodeJS.WritableStream>();

/** Opens a log. The stream's errors (EPIPE: nobody reads any more) are taken and do not end the process. */
export function createLog(options: LogOptions): Log {
  const { stream } = options;
  if (!guarded.has(stream)) {
    guarded.add(stream);
    stream.on('error', () => undefined);
  }
  const environment = options.environment ?? process.env;
  const colours = stream.isTTY === true && (environment.NO_COLOR ?? '') === '';
  const render = renderer(options.format, { colours });
  const outlet = new Outlet(stream, (lines) => render(droppedRecord(lines)));
  const file = options.openFile?.({
    droppedLine: (lines) => jsonLine(droppedRecord(lines)),
    onTrouble: (message) => outlet.write(render(fileRecord('warn', message))),
    onRecovery: (message) => outlet.write(render(fileRecord('info', message))),
  });
  let settings: LogSettings = options;
  const take = (next: LogSettings): void => {
    settings = next;
    file?.configure(next.file);
  };
  take(options);
  let closing: Promise<void> | undefined;
  return {
    listener(event) {
      const level = levelOf(event);
      if (closing !== undefined || LEVELS[level] > LEVELS[settings.level]) return;
      if (settings.files === 'hide' && isFileLine(event, level)) return;
      const record = recordOf(event, new Date());
      outlet.write(render(record));
      if (settings.file !== undefined) file?.write(jsonLine(record));
    },
    configure: take,
    close() {
      // The file first: what goes wrong with it is told on the stream.
      closing ??= Promise.resolve(file?.close()).then(() => outlet.close());
      return closing;
    },
  };
}

type Render = (record: LogRecord) => string;

function renderer(format: LogOptions['format'], style: { readonly colours: boolean }): Render {
  switch (format) {
    case 'json':
      return jsonLine;
    case 'journal':
      return (record) => `${priorityPrefix(record.level)}${jobOf(record)}${record.message}`;
    case 'readable':
      return (record) => readableLine(record, style);
  }
}

/** The one line a file that a person may not want; trouble with a file is another matter. */
function isFileLine(event: FerrydEvent, level: Level): boolean {
  return level === 'info' && event.event.startsWith('file.');
}

/** How grave an event is. */
export function levelOf(event: FerrydEvent): Level {
  switch (event.event) {
    case 'configuration.problem':
    case 'hook.ended':
      return event.level;
    case 'run.ended':
      return event.outcome === 'ok'
        ? 'info'
        : event.outcome === 'partial' || event.outcome === 'interrupted'
          ? 'warn'
          : 'error';
    case 'daemon.stuck':
    case 'ledger.replaced':
      return 'error';
    case 'daemon.unheard':
    case 'ledger.problem':
    case 'trigger.problem':
    case 'file.retry':
    case 'file.skipped':
    case 'scan.problem':
    case 'connection.retry':
    case 'file.conflict':
    case 'link.outside':
    case 'notice.failed':
      return 'warn';
    case 'trigger.fired':
    case 'file.waiting':
    case 'connection.opened':
    case 'wire':
      return 'debug';
    case 'daemon.started':
    case 'daemon.stopping':
    case 'daemon.stopped':
    case 'daemon.loose':
    case 'daemon.heard':
    case 'ledger.tended':
    case 'job.loaded':
    case 'job.removed':
    case 'run.started':
    case 'run.waiting':
    case 'hook.started':
    case 'hook.output':
    case 'run.recovered':
    case 'file.uploaded':
    case 'file.downloaded':
    case 'file.ignored':
    case 'file.deleted':
    case 'trash.pruned':
    case 'server.learned':
    case 'notice.sent':
      return 'info';
  }
}

/** What the event says, in a sentence for a person. Job and time stand elsewhere on the line. */
export function sentenceOf(event: FerrydEvent): string {
  switch (event.event) {
    case 'daemon.started':
      return `ferryd started with ${event.jobs === 1 ? '1 job' : `${event.jobs} jobs`}; its ledger is ${event.ledger}.`;
    case 'daemon.stopping':
      return `ferryd is stopping because of ${event.signal}; what is in flight is finished or reset.`;
    case 'daemon.stopped':
      return 'ferryd stopped.';
    case 'job.loaded':
      return event.nextRun === undefined
        ? 'The job is loaded; no time is set for its next run.'
        : `The job is loaded; its next run is at ${event.nextRun}.`;
    case 'job.removed':
      return 'The job is not in the jobs directory any more; it does not run again.';
    case 'trigger.fired':
      return `A run is asked for by ${event.trigger}.`;
    case 'run.started':
      return `Run ${event.run} started (${event.trigger}).`;
    case 'run.ended':
      return `Run ${event.run}: ${runSentence(event)}`;
    case 'hook.started':
      return `The ${event.hook} hook is started; it may take ${formatDuration(event.timeLimitMs)}.`;
    case 'hook.output':
      return `${event.hook}: ${event.message}`;
    case 'hook.ended':
      return fullStop(event.message);
    case 'file.uploaded':
    case 'file.downloaded': {
      const verb = event.event === 'file.uploaded' ? 'uploaded' : 'downloaded';
      const attempt = event.attempt > 1 ? `, at attempt ${event.attempt}` : '';
      const part = event.fromByte === undefined ? '' : `, on from ${formatBytes(event.fromByte)}`;
      return `${event.path}: ${verb}, ${formatBytes(event.bytes)} in ${formatDuration(event.durationMs)}${part}${attempt}.`;
    }
    case 'file.retry':
      return `${event.path}: attempt ${event.attempt} failed, the next one follows in ${formatDuration(event.delayMs)}. ${fullStop(event.message)}`;
    case 'file.skipped': {
      const until = event.remembered ? ' It is tried again when the file changes.' : '';
      return `${about(event, 'skipped')}${until}`;
    }
    case 'file.deleted':
      return `${event.path}: ${DELETED[event.why]} ${event.side === 'local' ? 'here' : 'on the server'}${event.to === undefined ? '' : `, and kept as ${event.to}`}.`;
    case 'file.conflict':
      return `${event.path}: changed on both sides. What stood ${event.side === 'local' ? 'here' : 'on the server'} is kept as ${event.to}.`;
    case 'link.outside':
      return fullStop(event.message);
    case 'trash.pruned':
      return fullStop(event.message);
    case 'file.ignored':
      return about(event, 'left out');
    case 'file.waiting':
      return fullStop(event.message);
    case 'scan.problem':
      return about(event, 'not read');
    case 'run.recovered':
      return `${event.path}: ${fullStop(event.message)}`;
    case 'connection.opened':
    case 'server.learned':
      return `${event.server}: ${fullStop(event.message)}`;
    case 'connection.retry':
      return `${event.server}: attempt ${event.attempt} to connect failed, the next one follows in ${formatDuration(event.delayMs)}. ${fullStop(event.message)}`;
    case 'wire':
      return `${event.server}: ${event.message}`;
    case 'daemon.stuck':
    case 'daemon.loose':
    case 'daemon.unheard':
    case 'daemon.heard':
    case 'ledger.replaced':
    case 'ledger.tended':
    case 'ledger.problem':
    case 'configuration.problem':
    case 'trigger.problem':
    case 'run.waiting':
    case 'notice.sent':
    case 'notice.failed':
      return fullStop(event.message);
  }
}

const DELETED = {
  gone: 'gone at the source, deleted',
  extraneous: 'not in the source, deleted',
  moved: 'delivered, and taken away',
} as const;

/** `pipe: skipped. It was refused.`, or, where the sentence names the path itself, `Skipped: pipe is a named pipe.` */
function about(event: { readonly path: string; readonly message: string }, what: string): string {
  const message = fullStop(event.message);
  if (event.path === '' || message.startsWith(event.path)) {
    return `${what.charAt(0).toUpperCase()}${what.slice(1)}: ${message}`;
  }
  return `${event.path}: ${what}. ${message}`;
}

/**
 * The event as it is logged: `time, level, event, job, run, path, bytes, attempt, code, message`, then whatever else
 * it carries (`server`, `trigger`, `durationMs`, `outcome`, counts). What does not apply is undefined, so that JSON
 * leaves it out; every text is printable.
 */
export function recordOf(event: FerrydEvent, time: Date): LogRecord {
  const fields = fieldsOf(event);
  const { job, run, path, bytes, attempt, code } = fields;
  // One literal, so that the engine knows the shape: there is a record for each file.
  const record: LogRecord & Record<string, Value | undefined> = {
    time: time.toISOString(),
    level: levelOf(event),
    event: event.event,
    job: shown(job),
    run: shown(run),
    path: shown(path),
    bytes: shown(bytes),
    attempt: shown(attempt),
    code: shown(code),
    message: printable(sentenceOf(event)),
  };
  for (const key of Object.keys(fields)) {
    if (!Object.hasOwn(record, key)) record[key] = shown(fields[key]);
  }
  return record;
}

function shown(value: Value | undefined): Value | undefined {
  return typeof value === 'string' ? printable(value) : value;
}

type Fields = Readonly<Record<string, Value | undefined>>;

function fieldsOf(event: FerrydEvent): Fields {
  if (event.event !== 'run.ended') return { ...event };
  const { tally, failure, ...rest } = event;
  return { ...rest, ...tally, code: failure?.code, failure: failure?.kind };
}

function droppedRecord(lines: number): LogRecord {
  return {
    time: new Date().toISOString(),
    level: 'warn',
    event: 'log.dropped',
    message: `${lines} log lines were dropped because whatever reads the log did not keep up.`,
    lines,
  };
}

function fileRecord(level: 'warn' | 'info', message: string): LogRecord {
  return { time: new Date().toISOString(), level, event: 'log.file', message: printable(message) };
}

function jsonLine(record: LogRecord): string {
  return JSON.stringify(record);
}

/** `2026-11-23 02:30:00 warn  nightly-backup: sentence`, in local time. */
function readableLine(record: LogRecord, options: { readonly colours: boolean }): string {
  const mark = MARKS[record.level];
  const shownMark = options.colours ? `\x1b[${COLOURS[record.level]}m${mark}\x1b[0m` : mark;
  return `${localTime(new Date(record.time))} ${shownMark} ${jobOf(record)}${record.message}`;
}

function jobOf({ job }: LogRecord): string {
  return job === undefined ? '' : `${job}: `;
}

function localTime(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
