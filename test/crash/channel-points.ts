/*
 * The points of a process that speaks SFTP: each request before and after it goes into the SSH channel, each answer
 * before and after it comes out of it, one by one. On the wire itself all is encrypted, so the channel is what is wrapped,
 * where ssh2 hands it out. Several requests in one write are one point, as several commands in one packet are: nobody
 * can be killed between them.
 */
import { Client } from 'ssh2';
import { ANSWERS, REQUESTS } from '../support/sftp-server/packet.js';

/** What hears of the points. */
export interface Listener {
  readonly meet: (when: 'before' | 'after', kind: 'command' | 'reply' | 'data', what: string) => void;
  /** Something has changed that outlives this process. */
  readonly pass: () => void;
}

const ANSWER_NAMES = new Map(Object.entries(ANSWERS).map(([name, type]) => [type as number, name]));

/** What changes nothing at the server but the session, which ends with the process. */
const QUESTIONS: ReadonlySet<string> = new Set([
  'INIT',
  'CLOSE',
  'READ',
  'LSTAT',
  'FSTAT',
  'OPENDIR',
  'READDIR',
  'REALPATH',
  'STAT',
  'READLINK',
  'OPEN to read',
  'limits@openssh.com',
  'statvfs@openssh.com',
  'fstatvfs@openssh.com',
  'check-file-handle',
  'check-file-name',
]);

/** From now on each channel of a subsystem tells of its points. */
export function wrapChannels(listener: Listener): void {
  const { subsys } = Client.prototype;
  Client.prototype.subsys = function (name, callback) {
    return subsys.call(this, name, (error, channel) => {
      if (channel !== undefined) wrap(channel, listener);
      callback(error, channel);
    });
  };
}

type Channel = Parameters<Parameters<Client['subsys']>[1]>[1];

function wrap(channel: Channel, { meet, pass }: Listener): void {
  /** Whether what was sent last only asks: then its answers bring nothing new either. */
  let asks = true;
  const sent = new Packets();
  const write = channel.write.bind(channel) as (...args: unknown[]) => boolean;
  const watchedWrite = (...args: unknown[]): boolean => {
    const requests = sent.in(args[0]).map(requestIn);
    asks = requests.every((request) => QUESTIONS.has(request));
    const kind = requests.some((request) => request === 'WRITE') ? 'data' : 'command';
    meet('before', kind, requests.join(' + '));
    const result = write(...args);
    if (!asks) pass();
    meet('after', kind, requests.join(' + '));
    return result;
  };
  Object.defineProperty(channel, 'write', { value: watchedWrite });
  const came = new Packets();
  const push = channel.push.bind(channel) as (...args: unknown[]) => boolean;
  const watchedPush = (...args: unknown[]): boolean => {
    const [chunk] = args;
    if (!Buffer.isBuffer(chunk)) return push(...args);
    if (!asks) pass();
    let from = 0;
    let flows = true;
    for (const { packet, end } of came.endingIn(chunk)) {
      const answer = ANSWER_NAMES.get(packet[0] ?? 0) ?? 'an answer';
      meet('before', 'reply', answer);
      flows = push(chunk.subarray(from, end));
      meet('after', 'reply', answer);
      from = end;
    }
    return from < chunk.length ? push(chunk.subarray(from)) : flows;
  };
  Object.defineProperty(channel, 'push', { value: watchedPush });
}

function requestIn(packet: Buffer): string {
  const name = REQUESTS[packet[0] ?? 0] ?? `request ${packet[0]}`;
  if (name === 'OPEN') return opensToRead(packet) ? 'OPEN to read' : 'OPEN';
  if (name !== 'EXTENDED' || packet.length < 9) return name;
  return packet.toString('latin1', 9, 9 + packet.readUInt32BE(5));
}

/** The flags stand behind the name: SSH_FXF_READ alone is 1. */
function opensToRead(packet: Buffer): boolean {
  const at = 9 + packet.readUInt32BE(5);
  return packet.length >= at + 4 && packet.readUInt32BE(at) === 1;
}

/** Takes a stream of packets apart: each is its length in four bytes, then its type and the rest. */
class Packets {
  #rest = Buffer.alloc(0);

  /** The packets that are complete with this chunk, without their lengths. */
  in(chunk: unknown): Buffer[] {
    return Buffer.isBuffer(chunk) ? this.endingIn(chunk).map(({ packet }) => packet) : [];
  }

  /** The same, each with the place in the chunk where it ends. */
  endingIn(chunk: Buffer): { readonly packet: Buffer; readonly end: number }[] {
    const before = this.#rest.length;
    const all = Buffer.concat([this.#rest, chunk]);
    const packets = [];
    let from = 0;
    while (all.length - from >= 4) {
      const end = from + 4 + all.readUInt32BE(from);
      if (all.length < end) break;
      packets.push({ packet: all.subarray(from + 4, end), end: end - before });
      from = end;
    }
    this.#rest = all.subarray(from);
    return packets;
  }
}
