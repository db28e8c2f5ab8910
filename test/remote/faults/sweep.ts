/*
 * Sweeps: one fault at every place where it can strike, each in two whole runs. The first meets the fault and must end
 * within its deadline, judged as the point says; the second meets none and must bring both sides together. In
 * between: no half file under a final name, no whole one that is gone again, nothing sent again that stands whole on
 * the server, no word from the server that could harm a terminal, no password. Points share a few worlds, and each
 * has a job and a user of its own there.
 */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import type { Job, ServerTimeouts } from '../../../src/job/job.js';
import { isTemporary } from '../../../src/plan/temporary.js';
import type { FerrydEvent } from '../../../src/report/event.js';
import type { RunReport } from '../../../src/run/context.js';
import { held, nothingLeft } from '../../ftp/stage.js';
import { EARLIER, PASSWORD, type VoyageOptions, World } from '../../run/support/voyage.js';
import type { Rule } from '../../support/ftp-server/fault.js';
import type { FtpServer } from '../../support/ftp-server.js';

/** One place where something goes wrong. */
export interface Point {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** Holds against the verdict of the first run, see `verdictOf`. */
  readonly judged: RegExp;
  /** How often a file may have to be sent again for it; once for each time a rule fired unless told. */
  readonly resends?: number;
  /** Called before the first run, for what rules cannot say. What it returns is called after that run. */
  readonly stir?: (server: FtpServer) => () => void;
}

export interface SweepOptions {
  readonly direction?: Job['direction'];
  readonly server?: VoyageOptions['server'];
  /**
   * `impatient`: timeouts of a fraction of a second, for faults that are silence. A busy machine may then be taken for
   * a silent server, here and there: that counts as nothing. The second run is patient in any case.
   */
  readonly patience?: 'impatient';
  /** Path to content; three small ones unless told, the second of which a push finds there already, older. */
  readonly files?: Readonly<Record<string, string>>;
  readonly attempts?: number;
  /** How many transfers a run may need besides, because their directory is missing at first. */
  readonly detours?: number;
  /** How long the first run may take. */
  readonly deadlineMs?: number;
  /** How many points are under way at once. */
  readonly lanes?: number;
}

/** Sizes differ, so that a mixed-up proof shows. */
export const SMALL: Readonly<Record<string, string>> = {
  one: 'one '.repeat(20),
  two: 'two '.repeat(50),
  three: 'three '.repeat(90),
};

const OLD = 'what stood there before';

const DEADLINE_MS = 20_000;

/** Nothing went wrong that a person would notice. */
export const CLEAN = /^ok$/;

/** Codes of a connection that broke, fell silent or spoke nonsense, in the middle of a session. */
export const LOST =
  'lost|malformed|unconfirmed|timeout|stalled|data|handshake|421|ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT';

/** The run went through; files were tried again, for nothing but these codes (alternatives of an expression). */
export const again = (codes: string): RegExp => new RegExp(`^ok(?: retry:(?:${codes}))+$`);

/** As `again`, and also where nothing had to be. */
export const perhapsAgain = (codes: string): RegExp => new RegExp(`^ok(?: retry:(?:${codes}))*$`);

/** The run went through; connections were made anew before there was a session, and no file was blamed. */
export const reconnected = (codes: string): RegExp => new RegExp(`^ok(?: reconnect:(?:${codes}))+$`);

/** The run ended early: kind and code of the failure, such as `trust/530`; no file was blamed. */
export const ended = (what: string): RegExp => new RegExp(`^failed (?:${what})(?: reconnect:\\S+)*$`);

const IMPATIENT: Partial<ServerTimeouts> = { connectMs: 400, replyMs: 400, stallMs: 400 };

const SILENCES = '(?:timeout|stalled|unconfirmed)\\b';

/** What an impatient run may tell besides of a machine that was busy with something else, one or the other or both. */
const BUSY = ['retry', 'reconnect', '(?:retry|reconnect)'].map(
  (word) => new RegExp(` ${word}:${SILENCES}`, 'g'),
);

/** Each point has a user of its own, so that nothing is known yet about its server. */
const USERS = Object.fromEntries(Array.from({ length: 1_000 }, (_, number) => [userOf(number), PASSWORD]));

function userOf(number: number): string {
  return `ferry-${number}`;
}

/**
 * Sweeps over all points and fails with every one that went wrong.
 *
 * @returns how many there were
 */
export async function sweep(points: readonly Point[], options: SweepOptions = {}): Promise<number> {
  const before = held();
  const problems: string[] = [];
  const waiting = points.entries();
  let swept = 0;
  const lane = async (): Promise<void> => {
    await using world = await open(options);
    for (const [number, point] of waiting) {
      for (const problem of await voyage(world, point, number, options))
        problems.push(`${point.name}: ${problem}`);
      swept += 1;
    }
  };
  const lanes = Math.min(options.lanes ?? 8, points.length);
  await Promise.all(Array.from({ length: lanes }, lane));
  await nothingLeft(before);
  expect(problems).toEqual([]);
  return swept;
}

/** Commands that are only sent while a session is opened; with the greeting, which is none. */
const OPENING = 'greeting HOST AUTH PBSZ PROT USER PASS ACCT CLNT SYST FEAT OPTS TYPE PWD'.split(' ');

/** One step of a conversation that a fault can strike. */
export interface Step {
  readonly on: string;
  /** The how-manieth of its kind. */
  readonly nth: number;
  /** `goodbye`: nobody minds any more. */
  readonly part: 'opening' | 'session' | 'goodbye';
}

/** What a run says and hears where nothing goes wrong. */
export interface Conversation {
  /** The greeting, and each command in its order. */
  readonly steps: readonly Step[];
  /** What the server sends on the control connection, in bytes. */
  readonly sentBytes: number;
}

/** Listens to one run without a fault. */
export async function conversation(options: SweepOptions = {}): Promise<Conversation> {
  await using world = await open(options);
  let sentBytes = 0;
  const steps: Step[] = [];
  world.server.on('reply', (text, verb) => {
    sentBytes += Buffer.byteLength(text) + 2;
    if (verb === 'greeting') steps.push({ on: verb, nth: 1, part: 'opening' });
  });
  world.server.on('command', (on) => {
    const nth = steps.filter((step) => step.on === on).length + 1;
    const part = on === 'QUIT' ? 'goodbye' : OPENING.includes(on) ? 'opening' : 'session';
    steps.push({ on, nth, part });
  });
  const { job } = await prepare(world, 0, options);
  const { report } = await run(world, job);
  expect(report.outcome).toBe('ok');
  return { steps, sentBytes };
}

function open({ server }: SweepOptions): Promise<World> {
  return World.open({ server: { users: USERS, ...server } });
}

interface Prepared {
  readonly job: Job;
  readonly source: string;
  readonly target: string;
  /** What stands on the other side already, older. */
  readonly old: string | undefined;
}

/** A job of its own in the world, with its files. */
async function prepare(world: World, number: number, options: SweepOptions): Promise<Prepared> {
  const { direction = 'push', files = SMALL } = options;
  const { server } = world.job;
  const job: Job = {
    ...world.job,
    name: `point-${number}`,
    direction,
    local: world.directory.join(`local-${number}`),
    remotePath: { path: `point-${number}`, absolute: false },
    retries: { attempts: options.attempts ?? 6, firstDelayMs: 20, maxDelayMs: 40 },
    server: { ...server, user: userOf(number), connections: 1 },
  };
  const there = world.directory.join('remote', job.remotePath.path);
  const [source, target] = direction === 'push' ? [job.local, there] : [there, job.local];
  await mkdir(source);
  await mkdir(target);
  for (const [path, content] of Object.entries(files)) await place(join(source, path), content);
  // A push replaces what it finds; a pull leaves alone what is not its own.
  const old = direction === 'push' && files === SMALL ? 'two' : undefined;
  if (old !== undefined) await place(join(target, old), OLD);
  // The first run of a push looks at its target, once; what it says then is a pull's, and swept there.
  if (direction === 'push') world.settle(job);
  return { job, source, target, old };
}

async function voyage(world: World, point: Point, number: number, options: SweepOptions): Promise<string[]> {
  const { server } = world;
  const { files = SMALL, deadlineMs = DEADLINE_MS, detours = 0 } = options;
  const { job, source, target, old } = await prepare(world, number, options);
  const problems: string[] = [];
  const spoilt = new Set<string>();
  const arrived = new Set<string>();
  const look = (when: string): void => {
    for (const [path, content] of Object.entries(files)) {
      const found = readMaybe(join(target, path));
      if (found === content) arrived.add(path);
      else if (found === undefined ? arrived.has(path) : !(path === old && found === OLD)) {
        const what =
          found === undefined ? 'is gone, and was there' : `holds ${found.length} bytes, and is not whole`;
        if (!spoilt.has(path)) problems.push(`${path} ${what}, at ${when}`);
        spoilt.add(path);
      }
    }
  };
  const unhear = [
    server.on('command', (verb) => look(`command ${verb}`)),
    server.on('reply', (text) => look(`reply ${text.slice(0, 40)}`)),
  ];

  const rules = point.rules.map((rule) => server.script(rule));
  const calm = point.stir?.(server);
  const impatient = options.patience === 'impatient';
  const { timeouts } = job.server;
  const first = await run(
    world,
    impatient ? { ...job, server: { ...job.server, timeouts: { ...timeouts, ...IMPATIENT } } } : job,
  );
  calm?.();
  const fired = rules.reduce((sum, rule) => sum + rule.fired, 0);
  server.behave();
  if (fired === 0 && point.stir === undefined) problems.push('the fault never struck');
  if (first.tookMs > deadlineMs) problems.push(`it took ${Math.round(first.tookMs)} ms`);
  const { verdict } = first;
  const verdicts = impatient ? [verdict, ...BUSY.map((besides) => verdict.replace(besides, ''))] : [verdict];
  if (!verdicts.some((each) => point.judged.test(each))) problems.push(`it was judged ${verdict}`);
  const resends = point.resends ?? fired;
  const count = Object.keys(files).length;
  if (first.transfers > count + resends + detours + (impatient ? count : 0))
    problems.push(`${first.transfers} transfers for ${count} files`);
  look('the end of the first run');

  const whole = Object.values(filesBelow(target));
  const missing = Object.values(files).filter((content) => !whole.includes(content));
  const second = await run(world, job);
  for (const stop of unhear) stop();
  if (second.report.outcome !== 'ok') problems.push(`the second run was judged ${second.verdict}`);
  if (second.transfers > missing.length + detours)
    problems.push(`${second.transfers} files sent again where ${missing.length} were missing`);
  const [sourceHolds, targetHolds] = [filesBelow(source), filesBelow(target)];
  if (JSON.stringify(sourceHolds) !== JSON.stringify(targetHolds))
    problems.push(
      `the sides differ: ${Object.keys(targetHolds).join(', ')} where ${Object.keys(sourceHolds).join(', ')} belong`,
    );
  if (Object.keys(targetHolds).some(isTemporary)) problems.push('a temporary name is left');
  world.change({ job: { name: job.name } });
  if (world.intents().length > 0) problems.push('an intent is left open');
  for (const { report, events } of [first, second])
    problems.push(
      ...unfitToPrint([
        report.failure?.message ?? '',
        ...events.map((event) => ('message' in event ? event.message : '')),
      ]),
    );
  return problems;
}

interface Ran {
  readonly report: RunReport;
  readonly events: readonly FerrydEvent[];
  readonly verdict: string;
  readonly tookMs: number;
  /** STOR or RETR that the server heard. */
  readonly transfers: number;
}

async function run(world: World, job: Job): Promise<Ran> {
  const { server } = world;
  const verb = job.direction === 'push' ? 'STOR' : 'RETR';
  const from = world.events.length;
  const transfersBefore = server.journal.of(verb).length;
  const beganMs = performance.now();
  // A skip is remembered until a person says otherwise: that is what the second run is for.
  const report = await world.run({ job, skipped: 'again' });
  const tookMs = performance.now() - beganMs;
  await server.until((journal) => journal.open === 0);
  const events = world.events.slice(from);
  const transfers = server.journal.of(verb).length - transfersBefore;
  return { report, events, verdict: verdictOf(report, events), tookMs, transfers };
}

/**
 * What a run told, in one line: its outcome, the failure's kind and code where there is one, and then each thing that
 * was retried, reconnected for or skipped, with its code, once: `ok retry:450`, `failed trust/530`.
 */
function verdictOf(report: RunReport, events: readonly FerrydEvent[]): string {
  const words = new Set<string>();
  for (const event of events) {
    if (event.event === 'file.retry') words.add(`retry:${event.code}`);
    else if (event.event === 'connection.retry') words.add(`reconnect:${event.code}`);
    else if (event.event === 'file.skipped') words.add(`skip:${event.code}`);
  }
  const failure = report.failure === undefined ? '' : ` ${report.failure.kind}/${report.failure.code}`;
  return [`${report.outcome}${failure}`, ...[...words].sort()].join(' ');
}

function unfitToPrint(messages: readonly string[]): string[] {
  return messages
    .filter(
      (message) => /[\p{Cc}\p{Cf}]/u.test(message) || message.includes(PASSWORD) || message.length > 2_000,
    )
    .map((message) => `unfit to print: ${JSON.stringify(message.slice(0, 200))}`);
}

async function place(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await utimes(path, EARLIER / 1000, EARLIER / 1000);
}

function readMaybe(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function filesBelow(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const path of (readdirSync(root, { recursive: true }) as string[]).sort()) {
    if (lstatSync(join(root, path)).isFile()) found[path] = readFileSync(join(root, path), 'latin1');
  }
  return found;
}
