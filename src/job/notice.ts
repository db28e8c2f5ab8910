/*
 * What a job does besides carrying files, from its written form: hooks, pings, and the channels by which somebody is
 * told (those of agent.yaml too). Says what the schema cannot.
 * Reads no secret and asks no URL; that waits until there is something to tell.
 */

import type { AfterHook, Channel, Hook, Job, Ping, UrlSource } from './job.js';
import { below, error, type Mistake } from './mistake.js';
import type { Written } from './schema.js';
import { afterHookSchema, commandChannelSchema, mailSchema, webhookSchema } from './schema-notice.js';
import { fits, list } from './shape.js';
import { readProgram, readSource } from './source.js';
import { durationMs } from './units.js';
import { readMailServer } from './web-address.js';

interface Where {
  /** From which relative paths count. */
  readonly directory: string;
  readonly mistakes: Mistake[];
}

/** A text is a line for a shell; a list is run as it stands. */
export function readBefore(written: unknown, where: Where): Hook | undefined {
  return fits('before', written) ? readHook('/before', written, where) : undefined;
}

export function readAfter(written: unknown, where: Where): AfterHook | undefined {
  if (!fits('after', written)) return undefined;
  const { when } = afterHookSchema.properties;
  const own = typeof written === 'object' && 'when' in written ? written.when : undefined;
  return { ...readHook('/after', written, where), when: own ?? when.default };
}

function readHook(
  pointer: string,
  written: Written['before'] | Written['after'],
  { directory, mistakes }: Where,
): Hook {
  const keyed = typeof written === 'object' && 'command' in written ? written : undefined;
  const command = keyed === undefined ? written : keyed.command;
  const place = keyed === undefined ? pointer : below(pointer, 'command');
  const { timeout, onFailure } = afterHookSchema.properties;
  return {
    argv: typeof command === 'string' ? shellLine(command, place, mistakes) : program(command, place),
    timeLimitMs: durationMs(keyed?.timeout ?? timeout.default),
    onFailure: keyed?.onFailure ?? onFailure.default,
  };

  function program(argv: unknown, at: string): readonly string[] {
    return readProgram(list(argv).map(String), at, directory, mistakes);
  }
}

function shellLine(line: string, pointer: string, mistakes: Mistake[]): readonly string[] {
  if (line.trim() === '') mistakes.push(error(pointer, 'the command is empty; write one, or take it away'));
  if (line.includes('\0')) mistakes.push(error(pointer, 'a command must not hold a NUL'));
  return ['/bin/sh', '-c', line];
}

export function readExpect(written: unknown): Job['expect'] {
  const freshness = fits('expect', written) ? written.freshness : undefined;
  return { freshnessMs: freshness === undefined ? undefined : durationMs(freshness) };
}

export function readPing(written: unknown, where: Where): Ping | undefined {
  if (!fits('ping', written)) return undefined;
  const keyed = typeof written === 'object' && !isSource(written) ? written : undefined;
  if (keyed === undefined) {
    const source = typeof written === 'string' || isSource(written) ? written : undefined;
    const url = readUrl(source, '/ping', where);
    return { start: url, success: url, failure: url, suffixed: 'yes' };
  }
  return {
    start: readUrl(keyed.start, '/ping/start', where),
    success: readUrl(keyed.success, '/ping/success', where),
    failure: readUrl(keyed.failure, '/ping/failure', where),
    suffixed: 'no',
  };
}

type WrittenSource = NonNullable<Written['server']['password']>;

function isSource(written: object): written is WrittenSource {
  return ['credential', 'env', 'file', 'command'].some((key) => Object.hasOwn(written, key));
}

function readUrl(
  written: string | WrittenSource | undefined,
  pointer: string,
  { directory, mistakes }: Where,
): UrlSource | undefined {
  if (typeof written !== 'string') return readSource(written, pointer, directory, mistakes);
  return { kind: 'text', url: written };
}

/** Those that have the right shape. */
export function readChannels(written: unknown, pointer: string, where: Where): readonly Channel[] {
  return list(written).flatMap((item, index) => {
    if (!fits('channel', item)) return [];
    const channel = readChannel(item, below(pointer, index), where);
    return channel === undefined ? [] : [channel];
  });
}

function readChannel(written: Written['channel'], pointer: string, where: Where): Channel | undefined {
  const { directory, mistakes } = where;
  if ('webhook' in written) {
    const { on, timeout } = webhookSchema.properties;
    const url = readUrl(written.webhook, below(pointer, 'webhook'), where);
    if (url === undefined) return undefined;
    return {
      kind: 'webhook',
      url,
      key: readSource(written.key, below(pointer, 'key'), directory, mistakes),
      timeLimitMs: durationMs(written.timeout ?? timeout.default),
      on: written.on ?? on.default,
    };
  }
  if ('command' in written) {
    const { on, timeout } = commandChannelSchema.properties;
    return {
      kind: 'command',
      argv: readProgram(written.command, below(pointer, 'command'), directory, mistakes),
      timeLimitMs: durationMs(written.timeout ?? timeout.default),
      on: written.on ?? on.default,
    };
  }
  return readMail(written, pointer, where);
}

function readMail(
  written: Extract<Written['channel'], { mail: unknown }>,
  pointer: string,
  { directory, mistakes }: Where,
): Channel | undefined {
  const { on, timeout } = mailSchema.properties;
  const server = readMailServer(written.server);
  // The schema has said so already.
  if (!server.ok) return undefined;
  if (written.password !== undefined && written.user === undefined) {
    mistakes.push(error(below(pointer, 'password'), 'a password needs a user; write one beside it'));
  }
  if (written.user !== undefined && written.password === undefined) {
    mistakes.push(error(below(pointer, 'user'), 'a user needs a password; write one beside it'));
  }
  return {
    kind: 'mail',
    to: typeof written.mail === 'string' ? [written.mail] : written.mail,
    from: written.from,
    ...server.value,
    user: written.user,
    password: readSource(written.password, below(pointer, 'password'), directory, mistakes),
    timeLimitMs: durationMs(written.timeout ?? timeout.default),
    on: written.on ?? on.default,
  };
}
