/*
 * The convoy: the last steps of earlier uploads, which travel in the packet of a later one (or in one of their own),
 * and the making of the directory that this one needs. Here stand the steps, the commands they become, and how the
 * replies find their way back to them.
 * Which step may travel is the caller's business: a rename must follow only a final reply and the right size.
 */
import type { Answers } from './answer.js';
import type { Command } from './control.js';
import { formatTime, parseTime } from './features.js';
import { digestIn, type HashForm, hashArgument } from './hash.js';
import { type Reply, replyClass } from './reply.js';

/** How a modification time is set: MFMT, the setting form of MDTM (vsftpd), or SITE UTIME. */
export type SetTimeForm = 'MFMT' | 'MDTM' | 'SITE UTIME';

/** What became of one step of a convoy. */
export type Settled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/** The server would not say a hash, or not in a way that can be read. */
export interface HashRefusal {
  readonly refused: Reply;
}

/** What the server says of a file that was sent. */
export interface Proof {
  readonly sizeBytes: number;
  /** Hex digits in lower case; undefined where no hash was asked for. */
  readonly digest: string | HashRefusal | undefined;
  /** The time that the file had by then, in milliseconds since 1970; undefined where it was not asked, or not told. */
  readonly storedMs: number | undefined;
  /** The reply to the setting of the time, whatever its code. */
  readonly timeReply: Reply;
  /** The reply to SITE CHMOD, whatever its code; undefined where it was not asked for. */
  readonly permissionsReply: Reply | undefined;
  /** The reply to SIZE of the other path, whatever its code; undefined where it was not asked for. */
  readonly otherReply: Reply | undefined;
}

/** Renames a file that is proven. */
export interface PublishStep {
  readonly from: string;
  readonly to: string;
}

/** Asks the size of a file that was sent, its hash where a form is named, and sets its time. */
export interface ProveStep {
  readonly path: string;
  /** `ask`: the time that the server gave it is asked for first, which shows the server's clock. */
  readonly clock: 'ask' | 'leave';
  readonly modifiedMs: number;
  readonly form: SetTimeForm;
  /** Permission bits to set; undefined leaves them. */
  readonly permissions?: number | undefined;
  readonly hash: HashForm | undefined;
  /** Another path whose size is asked for as well: whether a file stands there. */
  readonly other?: string | undefined;
  /** How long the server may take for the hash, besides the time for any reply. */
  readonly hashingMs: number;
}

/** Makes a directory, which may be there by then. */
export interface MakeStep {
  readonly directory: string;
}

/** Each step hears its own end, as soon as its replies are there. */
export interface Convoy {
  readonly publish?: (PublishStep & { readonly settled: (end: Settled<void>) => void }) | undefined;
  readonly prove?: (ProveStep & { readonly settled: (end: Settled<Proof>) => void }) | undefined;
  readonly make?: (MakeStep & { readonly settled: (end: Settled<void>) => void }) | undefined;
}

/** The commands of a convoy, in the order in which `tell` wants their replies. */
export function convoyCommands({ publish, prove, make }: Convoy): Command[] {
  return [
    ...(publish === undefined ? [] : renameCommands(publish)),
    ...(prove === undefined ? [] : proofCommands(prove)),
    ...(make === undefined ? [] : [{ verb: 'MKD', argument: make.directory }]),
  ];
}

/** RNFR and RNTO: a refused RNFR makes RNTO fail too, with 503, and leaves the session in step. */
export function renameCommands({ from, to }: PublishStep): Command[] {
  return [
    { verb: 'RNFR', argument: from },
    { verb: 'RNTO', argument: to },
  ];
}

/** MDTM where the clock is asked for, SIZE, the hash, the setting of time and permissions, SIZE of the other path. */
export function proofCommands(step: ProveStep): Command[] {
  return [
    ...(step.clock === 'ask' ? [{ verb: 'MDTM', argument: step.path, phase: 'features' } as const] : []),
    { verb: 'SIZE', argument: step.path, phase: 'features' },
    ...(step.hash === undefined ? [] : [hashCommand(step.path, step.hash, step.hashingMs)]),
    setTimeCommand(step.path, step.modifiedMs, step.form),
    ...(step.permissions === undefined ? [] : [permissionsCommand(step.path, step.permissions)]),
    ...(step.other === undefined ? [] : [{ verb: 'SIZE', argument: step.other, phase: 'features' } as const]),
  ];
}

/** HASH or one of the X commands; `hashingMs` is added to the time for its reply. */
export function hashCommand(path: string, form: HashForm, hashingMs: number): Command {
  return { verb: form.verb, argument: hashArgument(form, path), phase: 'features', extraMs: hashingMs };
}

/** The setting of a modification time, in milliseconds since 1970 UTC; sent in whole seconds. */
export function setTimeCommand(path: string, modifiedMs: number, form: SetTimeForm): Command {
  const time = formatTime(modifiedMs);
  return form === 'SITE UTIME'
    ? { verb: 'SITE', argument: `UTIME ${time} ${path}`, phase: 'features' }
    : { verb: form, argument: `${time} ${path}`, phase: 'features' };
}

/** SITE CHMOD, which no RFC describes. */
export function permissionsCommand(path: string, permissions: number): Command {
  const digits = (permissions & 0o7777).toString(8).padStart(3, '0');
  return { verb: 'SITE', argument: `CHMOD ${digits} ${path}`, phase: 'features' };
}

/** Hands the replies of a convoy to its steps. */
export function tellConvoy(convoy: Convoy, replies: readonly Promise<Reply>[], answers: Answers): void {
  const { publish, prove, make } = convoy;
  const rest = [...replies];
  if (publish !== undefined) settle(renamed(rest.splice(0, 2), answers), publish.settled);
  if (make !== undefined) settle(made(rest.splice(-1), answers), make.settled);
  if (prove !== undefined) settle(proven(rest, prove, answers), prove.settled);
}

/**
 * Reads the two replies to `renameCommands`.
 *
 * @throws {FtpError} as `Answers.expect`, for whichever of them was refused first; whatever the replies reject with
 */
export async function renamed(replies: readonly Promise<Reply>[], answers: Answers): Promise<void> {
  const [rnfr, rnto] = await all(replies);
  if (rnfr === undefined || rnto === undefined) throw new Error('a rename without its replies');
  answers.expect(rnfr, 3, 'command', 'RNFR');
  answers.renamed(rnto);
}

/** Reads the reply to MKD. @throws {FtpError} as `Answers.done`; whatever the reply rejects with */
async function made(replies: readonly Promise<Reply>[], answers: Answers): Promise<void> {
  const [reply] = await all(replies);
  if (reply === undefined) throw new Error('a directory without its reply');
  answers.done(reply, 'command', 'MKD');
}

/**
 * Reads the replies to `proofCommands`; refusals of all but the size stand in the proof.
 *
 * @throws {FtpError} as `Answers.exactly` where no size is told; whatever the replies reject with
 */
export async function proven(
  replies: readonly Promise<Reply>[],
  { clock, hash, permissions, other }: Pick<ProveStep, 'clock' | 'hash' | 'permissions' | 'other'>,
  answers: Answers,
): Promise<Proof> {
  const read = await all(replies);
  const time = clock === 'ask' ? read.shift() : undefined;
  const size = read.shift();
  const digest = hash === undefined ? undefined : read.shift();
  const timeReply = read.shift();
  const permissionsReply = permissions === undefined ? undefined : read.shift();
  const otherReply = other === undefined ? undefined : read.shift();
  if (size === undefined || timeReply === undefined) throw new Error('a proof without its replies');
  return {
    sizeBytes: sizeIn(size, answers),
    digest: hash === undefined || digest === undefined ? undefined : digestOf(digest, hash, answers),
    storedMs: time === undefined ? undefined : timeIn(time, answers),
    timeReply,
    permissionsReply,
    otherReply,
  };
}

/** The time in the reply to MDTM (RFC 3659 section 3); undefined where the server does not tell one. */
export function timeIn(reply: Reply, answers: Answers): number | undefined {
  if (replyClass(reply) >= 4 || reply.code === 202) return undefined;
  return parseTime(answers.exactly(reply, 213, 'features', 'MDTM').slice(4));
}

/** The number in a 213 to SIZE (RFC 3659 section 4). */
export function sizeIn(reply: Reply, answers: Answers): number {
  const match = /^213 +(\d{1,15})\s*$/.exec(answers.exactly(reply, 213, 'features', 'SIZE'));
  if (match?.[1] === undefined) throw answers.unexpected(reply, 'features', 'SIZE');
  return Number(match[1]);
}

function digestOf(reply: Reply, form: HashForm, answers: Answers): string | HashRefusal {
  if (replyClass(reply) >= 4 || reply.code === 202) return { refused: reply };
  answers.done(reply, 'features', form.verb);
  return digestIn(reply, form.algorithm) ?? { refused: reply };
}

/** All replies, or the first failure in their order; none of them is left unheard. */
async function all(replies: readonly Promise<Reply>[]): Promise<Reply[]> {
  for (const reply of replies) reply.catch(() => {});
  const read: Reply[] = [];
  for (const reply of replies) read.push(await reply);
  return read;
}

/** Tells the end of a step, and lets no rejection escape. */
function settle<T>(work: Promise<T>, tell: (end: Settled<T>) => void): void {
  work.then(
    (value) => tell({ ok: true, value }),
    (error: unknown) => tell({ ok: false, error }),
  );
}

/** What a packet may hold to be sure to arrive in one piece; the port is then not asked for behind. */
const PACKET_LIMIT_BYTES = 1_200;

/** True where the packet surely arrives in one piece with a question for the next port at its end. */
export function fitsPacket(steps: readonly Command[], path: string): boolean {
  const perCommandBytes = 12;
  const words = [...steps.map(({ argument = '' }) => argument), path];
  const sizeBytes = words.reduce((sum, text) => sum + Buffer.byteLength(text) + perCommandBytes, 0);
  return sizeBytes <= PACKET_LIMIT_BYTES;
}
