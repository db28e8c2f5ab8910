/*
 * Downloads: READs side by side, given to the sink in order: what is there when the sink is free is one piece, and
 * nothing that is there waits for more. A server may give less than it was asked for at any time; the rest is asked for
 * anew, and only "end of file" ends a file. Where something lies behind such an end, the file has grown meanwhile, and
 * it is gone on with from there.
 */
import { SftpError } from './errors.js';
import { MalformedPacket, PACKET } from './packet.js';
import type { Answer } from './requests.js';
import type { Session } from './session.js';
import { type Place, Shelves } from './shelves.js';
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
  readonly place: Place;
  readonly whole: Promise<Stretch>;
  /** Once all of it is there. */
  readonly stretch: () => Stretch | undefined;
  /** Gives its room in the window back. */
  readonly release: () => void;
}

interface Stretch {
  readonly bytes: number;
  /** `ended`: the file ends behind these bytes. */
  readonly state: 'full' | 'ended';
}

/** What is there, and goes to the sink in one piece. */
interface Piece {
  readonly place: Place;
  bytes: number;
  readonly release: (() => void)[];
}

/**
 * Reads an open file to its end.
 *
 * @param sink a chunk is its own until its promise resolves, and is filled anew then
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
  readonly #shelves = new Shelves();
  #piece: Piece | undefined;
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
        const { offset, place, whole, stretch: there, release } = await this.#part();
        let stretch = there();
        try {
          if (stretch === undefined) {
            await this.#give();
            stretch = await this.#transfer.until(whole);
          } else if (!this.#continues(place)) {
            await this.#give();
          }
        } catch (error) {
          whole.then(release, release);
          throw error;
        }
        this.#gather(place, stretch, release);
        if (stretch.bytes > 0) falseEnds = 0;
        if (stretch.state === 'full') {
          this.#reads = Math.min(MOST_READS, this.#reads + 1);
          // The file has more than it was said to have.
          if (offset >= (this.#sizeBytes ?? 0)) this.#asking = 'blind';
          continue;
        }
        await this.#give();
        if (await this.#endsHere()) return this.#given - this.#fromByte;
        falseEnds += 1;
        if (falseEnds > FALSE_ENDS) throw this.#mismatch('says that the file ends, and has data behind that');
        this.#asking = 'blind';
        this.#reads = FIRST_READS;
        this.#next = this.#given;
        this.#shelves.leave();
      }
    } finally {
      this.#asking = 'stopped';
      this.#transfer.end();
      this.#claim?.withdraw();
      this.#claim = undefined;
      this.#release();
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
      await this.#give();
      if (this.#parts.length > 0) continue;
      await this.#transfer.until(
        new Promise<void>((resolve) => {
          this.#onPart = resolve;
        }),
      );
    }
  }

  /** True where what lies there goes on with what is to be given next. */
  #continues({ shelf, at }: Place): boolean {
    const piece = this.#piece;
    return piece !== undefined && piece.place.shelf === shelf && piece.place.at + piece.bytes === at;
  }

  #gather(place: Place, { bytes }: Stretch, release: () => void): void {
    if (this.#piece === undefined) this.#piece = { place, bytes, release: [release] };
    else {
      this.#piece.bytes += bytes;
      this.#piece.release.push(release);
    }
  }

  /** Gives what is there to the sink. */
  async #give(): Promise<void> {
    const piece = this.#piece;
    if (piece === undefined) return;
    try {
      this.#transfer.check();
      this.#given += piece.bytes;
      const most = this.#sizeBytes === undefined ? Number.MAX_SAFE_INTEGER : this.#sizeBytes + GROWTH_BYTES;
      if (this.#given > Math.max(most, this.#fromByte + GROWTH_BYTES))
        throw this.#mismatch(`sends more than ${this.#given} bytes of a file that has ${this.#sizeBytes}`);
      const { shelf, at } = piece.place;
      if (piece.bytes > 0) {
        const { buffer } = shelf;
        await this.#sink(buffer.subarray(at, at + piece.bytes));
        if (at + piece.bytes === buffer.length) this.#shelves.giveBack(shelf);
      }
      this.#transfer.check();
    } finally {
      this.#release();
    }
  }

  /** Gives back the room of what was given, or never will be. */
  #release(): void {
    for (const release of this.#piece?.release ?? []) release();
    this.#piece = undefined;
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
    const left = this.#leftBytes;
    if (left > 0) return this.#parts.length < MOST_READS ? Math.min(most, this.#shelves.leftBytes(left)) : 0;
    // Behind the end that was told, one read looks whether it is the end.
    if (this.#probe === 'asked') return 0;
    this.#probe = 'asked';
    return PROBE_BYTES;
  }

  /** How much of what the file is said to have has not been asked for. */
  get #leftBytes(): number {
    return (this.#sizeBytes ?? 0) - this.#next;
  }

  #ask(bytes: number, claim: Claim): void {
    const offset = this.#next;
    // Blindly, nobody knows what comes behind these.
    const place = this.#shelves.place(bytes, this.#asking === 'ahead' ? this.#leftBytes : bytes);
    this.#next += bytes;
    let stretch: Stretch | undefined;
    const whole = this.#stretch(offset, bytes, place).then((all) => {
      stretch = all;
      return all;
    });
    whole.catch(() => {});
    this.#parts.push({ offset, place, whole, stretch: () => stretch, release: claim.withdraw });
    this.#onPart?.();
  }

  /** Reads until all of it is there, or the file ends. */
  async #stretch(offset: number, length: number, place: Place): Promise<Stretch> {
    let bytes = 0;
    let gave = 0;
    while (bytes < length) {
      const came = await this.#read(offset + bytes, length - bytes, { ...place, at: place.at + bytes });
      // Some servers end a file with no bytes in place of the status.
      if (came === undefined || came === 0) return { bytes, state: 'ended' };
      if (gave > 0) this.#session.gaveLess(gave);
      gave = came;
      bytes += came;
      this.#transfer.check();
    }
    return { bytes, state: 'full' };
  }

  /** @returns how many bytes came; undefined at the end of the file */
  #read(offset: number, bytes: number, { shelf, at }: Place): Promise<number | undefined> {
    const { requests, downloads } = this.#session;
    const transfer = this.#transfer;
    const sentMs = performance.now();
    transfer.asked();
    return requests.ask({
      type: PACKET.READ,
      request: 'READ',
      asked: 'read a file',
      fields: [this.#handle, BigInt(offset), bytes],
      answer: dataOf(bytes, (data) => data.copy(shelf.buffer, at)),
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

/**
 * The answer to a READ; undefined at the end of the file.
 *
 * @param take gets the data, which is gone when it returns
 */
export function dataOf<T>(bytes: number, take: (data: Buffer) => T): Answer<T | undefined> {
  return {
    type: PACKET.DATA,
    read: (body) => {
      const data = body.bytes();
      if (data.length > bytes)
        throw new MalformedPacket(`${data.length} bytes where ${bytes} were asked for`);
      return take(data);
    },
    end: { value: undefined },
  };
}
