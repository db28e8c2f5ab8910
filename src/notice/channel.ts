/*
 * A job's channels: what each is called in the ledger and the log, and the one place where a notice goes its way by
 * the kind of its channel.
 */
import type { Channel } from '../job/job.js';
import { readBody } from './body.js';
import { tellCommand } from './command.js';
import { tellMail } from './mail.js';
import type { Sending, SendingContext } from './sending.js';
import type { WaitingNotice } from './store.js';
import { tellWebhook } from './webhook.js';

export interface KeyedChannel {
  /** `webhook 1`: the kind, and which of that kind in the list. */
  readonly key: string;
  readonly channel: Channel;
}

/**
 * The channels with their keys. A key says nothing of where the channel leads, so that it holds no secret, and a
 * notice that waits because of a wrong address goes to the right one once that is mended.
 */
export function keyed(channels: readonly Channel[]): readonly KeyedChannel[] {
  const counts = new Map<Channel['kind'], number>();
  return channels.map((channel) => {
    const number = (counts.get(channel.kind) ?? 0) + 1;
    counts.set(channel.kind, number);
    return { key: `${channel.kind} ${number}`, channel };
  });
}

/** Tries once. Never rejects for what a channel does. */
export async function tell(
  channel: Channel,
  { body: json }: Pick<WaitingNotice, 'body'>,
  context: SendingContext,
): Promise<Sending> {
  const body = readBody(json);
  if (body === undefined) {
    return { kind: 'refused', message: 'It was written down by another version of ferryd.' };
  }
  switch (channel.kind) {
    case 'webhook':
      return tellWebhook(channel, { id: body.id, json }, context);
    case 'command':
      return tellCommand(channel, { body, json }, context);
    case 'mail':
      return tellMail(channel, body, context);
  }
}
