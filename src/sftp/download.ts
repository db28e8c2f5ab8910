/*
 * Downloads: READs side by side, given to the sink in order. A server may give less than it was asked for at any time;
 * the rest is asked for anew, and only "end of file" ends a file. Where something lies behind such an end, the file has
 * grown meanwhile, and it is gone on with from there.
 */
import { SftpError } from './errors.js';
import { MalformedPacket, PACKET } from './packet.js';
import type { Session } from './session.js';
import type { Transfer } from './transfer.js';
import type { DownloadOptions } from './types.js';
import type { Claim } from './window.js';

/** How much more may come than the file is said to have: one that grows meanwhile is compared at its end. */
const GROWTH_BYTES = 16 * 1024 * 1024;
/** Asked for where the end should be. */
const PROBE_BYTES = 4 * 1024;
/** Where nobody knows how long a file is: so many reads at first. */
const FIRST_READS = 2;
const MOST_READS = 256;
/** How often a file may end where data lies behind, and still have nothing there. */
const FALSE_ENDS = 8;

/** A stretch of the file, as far as the server gives it. */
interface Part {
  readonly offset: number;
  readonly whole: Promise<Stretch>;
  /** Gives its room in the window back. */
  readonly release: () => void;
}

interface Stretch {
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  /** `ended`: the file ends behind these bytes. */
  readonly state: 'full' | 'ended';
}

/**
 * Reads an open file to its end.
 *
 * @returns the number of bytes that the sink was given
 * @throws {SftpError} `status` for a read that was refused; `mismatch` where far more comes than the file is said to
 *   have; `stalled`, `aborted`; why the session ended. Errors of the sink pass through. Settles only when the sink has
 *   been left.
 */
export async function download(
  session: Session,
  handle: Buffer,
  sink: (chunk: Buffer) => Promise<void>,
  options: DownloadOptions,
): Promise<number> {
  const { fromByte = 0 } = options;
  if (!Number.isSafeInteger(fromByte) || fromByte < 0) {
    throw new SftpError('argument', `No download from ${session.where} can begin at byte ${fromByte}.`, {
      phase: 'transfer',
      request: 'READ',
    });
  }
  return new Download(session, handle, sink, options).run();
}

class Download {
  readonly #session: Session;
  readonly #handle: Buffer;
  readonly #sink: (chunk: Buffer) => Promise<void>;
  readonly #sizeBytes: number | undefined;
  readonly #fromByte: number;
  readonly #transfer: Transfer;
  readonly #parts: Part[] = [];
  /** Where the sink is, and where the next read begins. */
  #given: number;
  #next: number;
  /** How many reads may be under way where the size is not known, or was wrong. */
  #reads = FIRST_READS;
  /** `ahead`: as far as the file is said to go. `blind`: as far as it goes. `stopped`: not any more. */
  #asking: 'ahead' | 'blind' | 'stopped';
  #probe: 'due' | 'asked' = 'due';
  #claim: Claim | undefined;
  #onPart: (() => void) | undefined;

  constructor(
    session: Session,
    handle: Buffer,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte = 0, sizeBytes }: DownloadOptions,
  ) {
    this.#session = session;
    this.#handle = handle;
    this.#sink = sink;
    this.#sizeBytes = sizeBytes;
    this.#fromByte = fromByte;
    this.#given = fromByte;
    this.#next = fromByte;
    this.#asking = sizeBytes === undefined ? 'blind' : 'ahead';
    this.#transfer = session.transfer('download from', 'READ', signal);
  }

  async run(): Promise<number> {
    try {
      this.#transfer.check();
      for (let falseEnds = 0; ; ) {
        const { offset, whole, release } = await this.#part();
        let stretch: Stretch;
        try {
          stretch = await this.#transfer.until(whole);
          for (const piece of stretch.pieces) await this.#give(piece);
        } finally {
          whole.then(release, release);
        }
        if (stretch.bytes > 0) falseEnds = 0;
        if (stretch.state === 'full') {
          this.#reads = Math.min(MOST_READS, this.#reads + 1);
          // The file has more than it was said to have.
          if (offset >= (this.#sizeBytes ?? 0)) this.#asking = 'blind';
          continue;
        }
        if (await this.#endsHere()) return this.#given - this.#fromByte;
        falseEnds += 1;
        if (falseEnds > FALSE_ENDS) throw this.#mismatch('says that the file ends, and has data behind that');
        this.#asking = 'blind';
        this.#reads = FIRST_READS;
        this.#next = this.#given;
      }
    } finally {
      this.#asking = 'stopped';
      this.#transfer.end();
      this.#claim?.withdraw();
      this.#claim = undefined;
      // What is under way comes all the same, and takes its room until then.
      for (const { whole, release } of this.#parts.splice(0)) whole.then(release, release);
    }
  }

  /** The next part of the file, once it has been asked for. */
  async #part(): Promise<Part> {
    for (;;) {
      this.#pump();
      const part = this.#parts.shift();
      if (part !== undefined) return part;
      await this.#transfer.until(
        new Promise<void>((resolve) => {
          this.#onPart = resolve;
        }),
      );
    }
  }

  async #give(piece: Buffer): Promise<void> {
    this.#transfer.check();
    this.#given += piece.length;
    const most = this.#sizeBytes === undefined ? Number.MAX_SAFE_INTEGER : this.#sizeBytes + GROWTH_BYTES;
    if (this.#given > Math.max(most, this.#fromByte + GROWTH_BYTES))
      throw this.#mismatch(`sends more than ${this.#given} bytes of a file that has ${this.#sizeBytes}`);
    await this.#sink(piece);
    this.#transfer.check();
  }

  /** The file ended here when it was asked; so it did if nothing lies behind. */
  async #endsHere(): Promise<boolean> {
    const before = this.#asking;
    this.#asking = 'stopped';
    this.#claim?.withdraw();
    this.#claim = undefined;
    let behind = 0;
    for (let part = this.#parts.shift(); part !== undefined; part = this.#parts.shift()) {
      const { whole, release } = part;
      try {
        behind += (await this.#transfer.until(whole)).bytes;
      } finally {
        whole.then(release, release);
      }
    }
    this.#asking = before;
    return behind === 0;
  }

  #mismatch(what: string): SftpError {
    return new SftpError('mismatch', `${this.#session.where} ${what}.`, {
      phase: 'transfer',
      request: 'READ',
    });
  }

  /** Asks for as much as may be asked for now. */
  #pump(): void {
    while (this.#claim === undefined) {
      const bytes = this.#wanted();
      if (bytes === 0) return;
      const claim = this.#session.downloads.claim(bytes);
      if (claim.granted === undefined) {
        this.#ask(bytes, claim);
        continue;
      }
      this.#claim = claim;
      void claim.granted.then(() => {
        // Withdrawn meanwhile: the room has been given back.
        if (this.#claim !== claim) return;
        this.#claim = undefined;
        this.#ask(bytes, claim);
        this.#pump();
      });
    }
  }

  /** How much the next read asks for; 0 where none is due. */
  #wanted(): number {
    if (this.#asking === 'stopped') return 0;
    const most = this.#session.downloads.pieceBytes(this.#session.readBytes);
    if (this.#asking === 'blind') return this.#parts.length < this.#reads ? most : 0;
    const left = (this.#sizeBytes ?? 0) - this.#next;
    if (left > 0) return this.#parts.length < MOST_READS ? Math.min(most, left) : 0;
    // Behind the end that was told, one read looks whether it is the end.
    if (this.#probe === 'asked') return 0;
    this.#probe = 'asked';
    return PROBE_BYTES;
  }

  #ask(bytes: number, claim: Claim): void {
    const offset = this.#next;
    this.#next += bytes;
    const whole = this.#stretch(offset, bytes);
    whole.catch(() => {});
    this.#parts.push({ offset, whole, release: claim.withdraw });
    this.#onPart?.();
  }

  /** Reads until all of it is there, or the file ends. */
  async #stretch(offset: number, length: number): Promise<Stretch> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    let gave = 0;
    while (bytes < length) {
      const data = await this.#read(offset + bytes, length - bytes);
      // Some servers end a file with no bytes in place of the status.
      if (data === undefined || data.length === 0) return { pieces, bytes, state: 'ended' };
      if (gave > 0) this.#session.gaveLess(gave);
      gave = data.length;
      pieces.push(data);
      bytes += data.length;
      this.#transfer.check();
    }
    return { pieces, bytes, state: 'full' };
  }

  #read(offset: number, bytes: number): Promise<Buffer | undefined> {
    const { requests, downloads } = this.#session;
    const transfer = this.#transfer;
    const sentMs = performance.now();
    transfer.asked();
    return requests.ask({
      type: PACKET.READ,
      request: 'READ',
      asked: 'read a file',
      fields: [this.#handle, BigInt(offset), bytes],
      answer: dataOf(bytes),
      phase: 'transfer',
      transfer,
      settled: () => {
        downloads.heard(bytes, performance.now() - sentMs);
        transfer.answered();
      },
      shown: () => `${bytes} bytes at ${offset}`,
    });
  }
}

/** The answer to a READ; undefined at the end of the file. */
export function dataOf(bytes: number) {
  return {
    type: PACKET.DATA,
    read: (body: { bytes(): Buffer }): Buffer | undefined => {
      const data = body.bytes();
      if (data.length > bytes)
        throw new MalformedPacket(`${data.length} bytes where ${bytes} were asked for`);
      return data;
    },
    end: { value: undefined },
  };
}
