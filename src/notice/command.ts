/*
 * Tells a notice to a program: what matters in its environment, all of it as JSON on standard input. The exit code 0
 * means that it was taken; anything else is tried again, because a program that cannot reach its service now says no
 * more than that. What it prints is not logged: it may be a secret, and is the program's own affair.
 */
import type { Channel } from '../job/job.js';
import { endWords, runProgram } from '../program/program.js';
import type { NoticeBody } from './body.js';
import type { Sending, SendingContext } from './sending.js';

type Command = Extract<Channel, { kind: 'command' }>;

/** @param json the body as text */
export async function tellCommand(
  channel: Command,
  { body, json }: { readonly body: NoticeBody; readonly json: string },
  { environmentOfCommands, signal }: SendingContext,
): Promise<Sending> {
  const end = await runProgram({
    argv: channel.argv,
    environment: { ...environmentOfCommands(), ...variablesOf(body) },
    timeLimitMs: channel.timeLimitMs,
    signal,
    input: `${json}\n`,
  });
  const program = `The program ${channel.argv[0] ?? ''}`;
  if (end.kind === 'stopped') return { kind: 'stopped' };
  if (end.kind === 'ended' && end.code === 0) return { kind: 'taken', message: `${program} took it.` };
  return { kind: 'not-now', message: `${program} ${endWords(end, channel)}.` };
}

/** The environment of a notice's program, besides ferryd's own. Empty where something does not apply. */
export function variablesOf(body: NoticeBody): Readonly<Record<string, string>> {
  return {
    FERRYD_NOTICE: body.notice,
    FERRYD_JOB: body.job ?? '',
    FERRYD_MESSAGE: body.message,
    FERRYD_ID: body.id,
    FERRYD_HOST: body.host,
    FERRYD_AT: body.at,
    FERRYD_ABOUT: body.about,
    FERRYD_STATE: body.state,
    FERRYD_SINCE: body.since,
    FERRYD_RUN: body.run === null ? '' : String(body.run.number),
    FERRYD_OUTCOME: body.run?.outcome ?? '',
    FERRYD_FAILURE: body.run?.failure?.code ?? '',
  };
}
