/*
 * One SFTP session on one SSH channel: bytes to packets, packets to requests in the order the settings ask for, answers
 * with whatever faults fired, and the end. What the requests do stands in requests.ts.
 */
import type { ServerChannel } from 'ssh2';
import { fromBytes } from '../ftp-server/disk.js';
import type { At, Ending, Faults, Script } from './fault.js';
import type { JournalBook, JournalRequest } from './journal.js';
import {
  type Answer,
  byte,
  framed,
  number,
  packetOf,
  ShortPacket,
  shown,
  type WireAttributes,
} from './packet.js';
import { type Request, Requests, type Store, shownPath, status, versionOf } from './requests.js';

/** What all sessions of a server share. */
export interface Shared extends Store {
  readonly script: Script;
  readonly journal: JournalBook;
  /** Calls the listeners of a hook, one after the other, before anything else happens. */
  readonly requestHeard: (request: JournalRequest) => void;
  readonly answerHeard: (answer: string, request: JournalRequest) => void;
  /** Something in the server itself broke: kept, and thrown by `close()`. */
  readonly problem: (error: unknown) => void;
  /** Connections that are open now, this one included. */
  readonly open: () => number;
}

/** The connection that a session runs on. */
export interface Carrier {
  readonly id: number;
  /** Aborted once it is gone. */
  readonly gone: AbortSignal;
  /** False once it has fallen silent or is ending. */
  readonly talking: boolean;
  finish(how: Exclude<Ending, 'channel' | 'hang'>): void;
  arm(faults: Faults): void;
  /** One request more was served. */
  served(): void;
  rekey(): void;
}

interface Waiting {
  readonly request: Request;
  readonly entry: JournalRequest;
}

/** Sends an answer, or does what stands in its place. */
type Send = () => Promise<void>;

const lengthBytes = 4;

export class SftpSession {
  readonly id: number;
  /** Resolves when the channel is gone and nothing of the session runs any more. */
  readonly done: Promise<void>;
  readonly #shared: Shared;
  readonly #carrier: Carrier;
  readonly #channel: ServerChannel;
  readonly #requests: Requests;
  readonly #gone = new AbortController();
  #bytes: Buffer = Buffer.alloc(0);
  #reads = 0;
  #queue: Waiting[] = [];
  readonly #waiting = new Set<JournalRequest>();
  #pumping = false;
  #silent = false;
  #over = false;
  #finished: () => void = () => undefined;

  constructor(shared: Shared, carrier: Carrier, channel: ServerChannel, id: number) {
    this.#shared = shared;
    this.#carrier = carrier;
    this.#channel = channel;
    this.#requests = new Requests(shared);
    this.id = id;
    this.done = new Promise((resolve) => {
      this.#finished = resolve;
    });
    carrier.gone.addEventListener('abort', this.#end, { once: true });
    channel.on('error', () => undefined);
    channel.on('data', (chunk: Buffer) => this.#received(chunk));
    channel.once('end', () => this.#ended());
    channel.once('close', this.#end);
    shared.journal.sessionOpened();
    const { noise } = shared.settings;
    if (noise !== undefined) void this.#write(Buffer.from(noise));
  }

  get talking(): boolean {
    return !this.#silent && !this.#over && this.#carrier.talking;
  }

  /** Ends the session, its connection, or falls silent. */
  finish(how: Ending): void {
    if (how === 'hang') this.#silent = true;
    else if (how === 'channel') this.#closeChannel();
    else this.#carrier.finish(how);
  }

  /** Bytes that nobody asked for. */
  async push(bytes: Uint8Array): Promise<void> {
    await this.#write(Buffer.from(bytes));
  }

  #closeChannel(): void {
    if (this.#over) return;
    this.#silent = true;
    this.#channel.exit(0);
    this.#channel.end();
    this.#channel.close();
  }

  /** The client says that nothing more comes. */
  #ended(): void {
    if (!this.#silent) this.#closeChannel();
  }

  readonly #end = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#carrier.gone.removeEventListener('abort', this.#end);
    this.#gone.abort();
    this.#shared.journal.waits(-this.#waiting.size, 0);
    this.#waiting.clear();
    this.#queue = [];
    this.#requests.end();
    this.#shared.journal.sessionClosed();
    this.#finished();
  };

  #received(chunk: Buffer): void {
    if (this.#over) return;
    this.#reads += 1;
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= lengthBytes) {
      const length = this.#bytes.readUInt32BE();
      if (length === 0 || length > this.#shared.settings.limits.maxPacketBytes) {
        // As OpenSSH: a packet over the limit ends the session.
        this.#closeChannel();
        return;
      }
      if (this.#bytes.length < lengthBytes + length) break;
      const packet = Buffer.from(this.#bytes.subarray(lengthBytes, lengthBytes + length));
      this.#bytes = this.#bytes.subarray(lengthBytes + length);
      if (!this.#take(packet)) return;
    }
    this.#pump();
  }

  /** One packet has arrived whole. */
  #take(packet: Buffer): boolean {
    let request: Request;
    try {
      request = this.#requests.parse(packet);
    } catch (error) {
      if (!(error instanceof ShortPacket)) this.#shared.problem(error);
      this.#closeChannel();
      return false;
    }
    const entry = this.#shared.journal.received({
      connection: this.#carrier.id,
      session: this.id,
      packet: this.#reads,
      name: request.name,
      id: request.id,
      path: shownPath(request.path),
      toPath: shownPath(request.toPath),
      offset: request.offset,
      bytes: request.bytes,
      flags: request.flags,
    });
    this.#waiting.add(entry);
    this.#shared.journal.waits(1, this.#waiting.size);
    this.#queue.push({ request, entry });
    return true;
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    void this.#work()
      .catch(this.#shared.problem)
      .finally(() => {
        this.#pumping = false;
        if (this.#queue.length > 0 && this.talking) this.#pump();
      });
  }

  async #work(): Promise<void> {
    const { order } = this.#shared.settings;
    while (this.talking) {
      if (order === 'strict') {
        const next = this.#queue.shift();
        if (next === undefined) return;
        await (await this.#serve(next))();
        continue;
      }
      // What arrives together is taken together.
      await turn();
      await turn();
      const batch = this.#queue.splice(0);
      if (batch.length === 0) return;
      const sends = new Map<Waiting, Send>();
      const run = order === 'go' ? overtaken(batch) : batch;
      for (const waiting of run) sends.set(waiting, await this.#serve(waiting));
      const answered = order === 'go' ? batch : [...batch].reverse();
      for (const waiting of answered) await sends.get(waiting)?.();
    }
  }

  /** Executes one request, or meets its faults; what is returned sends the answer. */
  async #serve({ request, entry }: Waiting): Promise<Send> {
    const { script, settings } = this.#shared;
    if (!this.talking) return nothing;
    this.#shared.requestHeard(entry);
    const faults = script.meet({
      name: request.name,
      also: isExtended(request.name) ? 'EXTENDED' : undefined,
      path: entry.path,
      connection: this.#carrier.id,
    });
    this.#carrier.arm(faults);
    if (settings.delayMs > 0) await this.#pause(settings.delayMs);
    const instead = await this.#strike(request, entry, faults, 'start');
    if (instead !== undefined) return instead;
    const answer =
      request.name === 'INIT' ? versionOf(settings) : await this.#requests.answer(request, faults);
    if (!this.talking) return nothing;
    return async () => {
      const replaced = await this.#strike(request, entry, faults, 'final');
      if (replaced !== undefined) return replaced();
      if (!this.talking) return;
      if (faults.find('noAnswer') === undefined) await this.#send(request, entry, answer, faults);
      await (await this.#strike(request, entry, faults, 'after'))?.();
    };
  }

  /** The faults of one point that stand in place of an answer. */
  async #strike(request: Request, entry: JournalRequest, faults: Faults, at: At): Promise<Send | undefined> {
    if (!faults.some) return undefined;
    const delay = faults.at('delay', at);
    if (delay !== undefined) await this.#pause(delay.ms);
    if (faults.at('rekey', at) !== undefined) this.#carrier.rekey();
    const end = faults.at('end', at);
    if (end !== undefined) {
      this.finish(end.how);
      return nothing;
    }
    const wrong = faults.at('status', at);
    if (wrong !== undefined) return () => this.#send(request, entry, status(wrong.code, wrong.words), faults);
    const packet = faults.at('packet', at);
    const bytes =
      packet === undefined
        ? faults.at('bytes', at)?.bytes
        : framed(Buffer.concat([byte(packet.type), number(request.id), packet.body ?? Buffer.alloc(0)]));
    if (bytes === undefined) return undefined;
    return () => this.#put(entry, packet === undefined ? 'BYTES' : `TYPE ${packet.type}`, Buffer.from(bytes));
  }

  async #send(request: Request, entry: JournalRequest, answer: Answer, faults: Faults): Promise<void> {
    const told = lied(answer, faults);
    let bytes = packetOf(told, request.id + (faults.find('wrongId')?.add ?? 0));
    const shorten = faults.find('shorten');
    if (shorten !== undefined)
      bytes = framed(bytes.subarray(lengthBytes, Math.max(lengthBytes + 1, bytes.length - shorten.bytes)));
    const length = faults.find('length');
    if (length !== undefined) bytes = Buffer.concat([number(length.bytes), bytes.subarray(lengthBytes)]);
    if (faults.find('double') !== undefined) bytes = Buffer.concat([bytes, bytes]);
    for (const { bytes: more, where } of faults.all('inject')) {
      const besides = Buffer.from(more);
      bytes = Buffer.concat(where === 'before' ? [besides, bytes] : [bytes, besides]);
    }
    const cut = faults.find('cut');
    if (cut !== undefined) bytes = bytes.subarray(0, cut.atByte);
    const every = faults.find('split')?.everyBytes ?? bytes.length;
    const pieces: Buffer[] = [];
    for (let from = 0; from < bytes.length; from += every) pieces.push(bytes.subarray(from, from + every));
    await this.#put(entry, shown(told), ...pieces);
    if (cut !== undefined) this.finish(cut.how);
  }

  async #put(entry: JournalRequest, text: string, ...pieces: readonly Buffer[]): Promise<void> {
    if (!this.talking) return;
    this.#shared.answerHeard(text, entry);
    if (this.#waiting.delete(entry)) this.#shared.journal.waits(-1, this.#waiting.size);
    for (const piece of pieces) {
      await this.#write(piece);
      if (pieces.length > 1) await turn();
    }
    this.#shared.journal.answered(entry, text);
    this.#carrier.served();
  }

  /** Writes; resolves when SSH has the bytes, or the session is gone. */
  #write(bytes: Buffer): Promise<void> {
    if (!this.talking || bytes.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const { signal } = this.#gone;
      const finish = (): void => {
        signal.removeEventListener('abort', finish);
        resolve();
      };
      signal.addEventListener('abort', finish, { once: true });
      this.#channel.write(bytes, finish);
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#gone;
      const finish = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, ms);
      signal.addEventListener('abort', finish, { once: true });
      if (signal.aborted) finish();
    });
  }
}

const nothing: Send = () => Promise.resolve();

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Reads and writes behind everything else, up to the next CLOSE, as Go's workers can have it. */
function overtaken(batch: readonly Waiting[]): Waiting[] {
  const run: Waiting[] = [];
  let moved: Waiting[] = [];
  for (const waiting of batch) {
    const { name } = waiting.request;
    if (name === 'READ' || name === 'WRITE') {
      moved.push(waiting);
      continue;
    }
    if (name === 'CLOSE') {
      run.push(...moved.reverse());
      moved = [];
    }
    run.push(waiting);
  }
  return [...run, ...moved.reverse()];
}

function isExtended(name: string): boolean {
  return !/^[A-Z]+$/.test(name);
}

/** The answer with the lies that the faults want in it. */
function lied(answer: Answer, faults: Faults): Answer {
  const handle = faults.find('handle');
  if (answer.type === 'HANDLE' && handle !== undefined)
    return { ...answer, handle: Buffer.from(handle.handle) };
  const lies = faults.all('attributes');
  if (lies.length === 0) return answer;
  if (answer.type === 'ATTRS') {
    return {
      ...answer,
      attributes: lies.reduce((told, { changes }) => changed(told, changes), answer.attributes),
    };
  }
  if (answer.type !== 'NAME') return answer;
  const names = answer.names.map((entry) => {
    const name = fromBytes(entry.name.toString('latin1'));
    const meant = lies.filter((lie) => lie.name === undefined || lie.name === name);
    return {
      ...entry,
      attributes: meant.reduce((told, { changes }) => changed(told, changes), entry.attributes),
    };
  });
  return { ...answer, names };
}

function changed(attributes: WireAttributes, changes: Readonly<Record<string, unknown>>): WireAttributes {
  const entries = Object.entries(changes).map(([key, value]) => [key, value === 'none' ? undefined : value]);
  return { ...attributes, ...Object.fromEntries(entries) };
}
