/*
 * What all requests of one session share: the connection's requests, how names are written, what the server can do and
 * takes at once, and the windows of both directions.
 */
import {
  type Attributes,
  attributeFields,
  type NewAttributes,
  NO_ATTRIBUTES,
  readAttributes,
} from './attributes.js';
import { SftpError } from './errors.js';
import { type Field, type FieldReader, MalformedPacket, PACKET } from './packet.js';
import { printable } from './printable.js';
import type { Answer, Requests } from './requests.js';
import { Transfer, type TransferLimits } from './transfer.js';
import type { Extension, Limits, Name, Names, Path } from './types.js';
import { Window } from './window.js';

/** Two of them have to fit into the smallest packet that every server takes (34000 bytes). */
const PATH_LIMIT_BYTES = 15_000;
/** draft-ietf-secsh-filexfer-02 section 6.3. */
const HANDLE_LIMIT_BYTES = 256;
/** What every server takes (section 3), where limits@openssh.com does not say more. */
const SURE_LIMITS: Limits = {
  maxPacketBytes: 34_000,
  maxReadBytes: 32 * 1024,
  maxWriteBytes: 32 * 1024,
  maxHandles: undefined,
};
/** What OpenSSH's servers take, and what leaves room for an answer within our own limit. */
const MOST_DATA_BYTES = 255 * 1024;
const MOST_PACKET_BYTES = 256 * 1024;
/** Less than this is a server that counts wrong. */
const LEAST_DATA_BYTES = 1_024;

/** The versions of extensions that are spoken here. */
const VERSIONS: Readonly<Record<Exclude<Extension, 'check-file'>, string>> = {
  'posix-rename@openssh.com': '1',
  'statvfs@openssh.com': '2',
  'fstatvfs@openssh.com': '2',
  'hardlink@openssh.com': '1',
  'fsync@openssh.com': '1',
  'lsetstat@openssh.com': '1',
  'limits@openssh.com': '1',
  'expand-path@openssh.com': '1',
  'copy-data': '1',
  'home-directory': '1',
};

/**
 * mod_sftp says `check-file`, but only to those who speak version 5 or 6; it answers them in version 3 all the same
 * (measured, ProFTPD 1.3.8). The draft has the names of the requests themselves.
 */
const CHECK_FILE: readonly string[] = ['check-file', 'check-file-name', 'check-file-handle'];

export interface SessionSettings {
  readonly requests: Requests;
  readonly names: Names;
  readonly extensions: ReadonlyMap<string, string>;
  readonly software: string;
  readonly transferLimits: TransferLimits;
}

export class Session {
  readonly requests: Requests;
  readonly extensions: ReadonlyMap<string, string>;
  /** Content on its way to the server, and on its way here. */
  readonly uploads = new Window();
  readonly downloads = new Window();
  readonly #names: Names;
  readonly #software: string;
  readonly #transferLimits: TransferLimits;
  #limits: Limits = SURE_LIMITS;
  #shortReadBytes: number | undefined;
  #readBytes = Number.POSITIVE_INFINITY;

  constructor(settings: SessionSettings) {
    this.requests = settings.requests;
    this.extensions = settings.extensions;
    this.#names = settings.names;
    this.#software = settings.software;
    this.#transferLimits = settings.transferLimits;
  }

  get where(): string {
    return this.requests.where;
  }

  get limits(): Limits {
    return this.#limits;
  }

  /** True where the server has the extension in the version that is known here. */
  has(extension: Extension): boolean {
    if (extension === 'check-file')
      return CHECK_FILE.some((name) => this.extensions.has(name)) || /^mod_sftp\b/.test(this.#software);
    return (this.extensions.get(extension) ?? '').split(',').includes(VERSIONS[extension]);
  }

  /**
   * True where the server is known to do one thing after the other, so that several READDIR of one directory may be
   * under way, and a CLOSE behind its WRITEs. Of others nobody knows, and a listing with a hole in it would be taken for
   * files that are gone.
   */
  get isSerial(): boolean {
    return this.#software.startsWith('OpenSSH_') && this.has('expand-path@openssh.com');
  }

  /** @throws {SftpError} `unsupported` */
  needs(extension: Extension): void {
    if (this.has(extension)) return;
    throw new SftpError('unsupported', `${this.where} does not have the extension ${extension} of SFTP.`, {
      phase: 'request',
      request: extension,
    });
  }

  /** Asks the server what it takes at once, where it can tell. A refusal leaves what every server takes. */
  async learnLimits(): Promise<void> {
    if (!this.has('limits@openssh.com')) return;
    try {
      this.#limits = await this.requests.ask({
        type: PACKET.EXTENDED,
        request: 'limits@openssh.com',
        asked: 'tell its limits',
        fields: [Buffer.from('limits@openssh.com')],
        answer: { type: PACKET.EXTENDED_REPLY, read: readLimits },
        phase: 'session',
      });
    } catch (error) {
      if (!(error instanceof SftpError) || error.kind !== 'status') throw error;
    }
  }

  /** How much one READ asks for at most: what the server says, or gave when it was asked for more. */
  get readBytes(): number {
    return Math.min(this.#limits.maxReadBytes, this.#readBytes);
  }

  /** A READ gave so much, and there was more: after the second time, more is not asked for. */
  gaveLess(bytes: number): void {
    if (this.#shortReadBytes === bytes && bytes >= LEAST_DATA_BYTES)
      this.#readBytes = Math.min(this.#readBytes, bytes);
    this.#shortReadBytes = bytes;
  }

  /**
   * A path as the server has it.
   *
   * @throws {SftpError} `argument` for one that cannot travel
   */
  path(path: Path, request: string): Buffer {
    const refuse = (what: string, advice = ''): SftpError =>
      new SftpError('argument', `${what} cannot be sent to ${this.where}.${advice}`, {
        phase: 'request',
        request,
      });
    const bytes = typeof path === 'string' ? this.#names.encode(path) : path;
    if (bytes === undefined) {
      throw refuse(
        'A name with characters that its charset does not have',
        ' Rename it, or set the charset in which this server has its names.',
      );
    }
    if (bytes.length === 0) throw refuse('An empty name');
    if (bytes.includes(0)) throw refuse('A name with a NUL in it');
    if (bytes.length > PATH_LIMIT_BYTES) throw refuse(`A path of ${bytes.length} bytes`);
    return bytes;
  }

  /** A name that came. */
  name(bytes: Buffer): Name {
    return { name: bytes.includes(0) ? undefined : this.#names.decode(bytes), bytes };
  }

  /**
   * Attributes for a packet.
   *
   * @throws {SftpError} `argument` for a number that has no place in them
   */
  attributes(attributes: NewAttributes, request: string): readonly Field[] {
    try {
      return attributeFields(attributes);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new SftpError('argument', error.message, { phase: 'request', request });
    }
  }

  /** Attributes of something that is made: permissions, or nothing. */
  mode(mode: number | undefined, request: string): readonly Field[] {
    return mode === undefined ? [NO_ATTRIBUTES] : this.attributes({ mode }, request);
  }

  /** The clock of one transfer. `name` is what messages call it: `upload to`. */
  transfer(
    name: string,
    request: string,
    signal: AbortSignal | undefined,
    movedElsewhereMs: () => number = () => 0,
  ): Transfer {
    return new Transfer({
      name: `${name} ${this.where}`,
      request,
      limits: this.#transferLimits,
      signal,
      movedElsewhereMs,
    });
  }

  /** The answer to what asks for one path: REALPATH and its kin. */
  readonly oneName: Answer<Name> = {
    type: PACKET.NAME,
    read: (body) => {
      if (body.uint32() === 0) throw new MalformedPacket('without a name');
      return this.name(Buffer.from(body.bytes()));
    },
  };
}

/** The answer to STAT and its kin. */
export const ATTRIBUTES: Answer<Attributes> = { type: PACKET.ATTRS, read: (body) => readAttributes(body) };

/** The answer to OPEN and OPENDIR. */
export const HANDLE: Answer<Buffer> = {
  type: PACKET.HANDLE,
  read: (body) => {
    const handle = body.bytes();
    if (handle.length > HANDLE_LIMIT_BYTES) throw new MalformedPacket(`a handle of ${handle.length} bytes`);
    // The chunk that it came in need not be kept for it.
    return Buffer.from(handle);
  },
};

/** A path for the wire log. */
export function shownPath(path: Path): string {
  return printable(typeof path === 'string' ? path : path.toString('utf8'));
}

/** A number of bytes, files or blocks; more than a number holds exactly is near enough. */
export function roughly(value: bigint): number {
  return Number(value);
}

function readLimits(body: FieldReader): Limits {
  // 0 is "no limit of its own"; what is impossible is too.
  const packet = atMost(body.uint64(), MOST_PACKET_BYTES);
  const room = packet - 1_024;
  const read = atMost(body.uint64(), MOST_DATA_BYTES);
  const write = atMost(body.uint64(), MOST_DATA_BYTES);
  const handles = body.uint64();
  return {
    maxPacketBytes: packet,
    maxReadBytes: Math.max(LEAST_DATA_BYTES, Math.min(read, room)),
    maxWriteBytes: Math.max(LEAST_DATA_BYTES, Math.min(write, room)),
    maxHandles: handles === 0n ? undefined : roughly(handles),
  };
}

function atMost(told: bigint, most: number): number {
  return told === 0n || told > BigInt(most) ? most : Number(told);
}
