/*
 * The beginning of a session (draft-ietf-secsh-filexfer-02 section 4): VERSION, and what comes in its place where the
 * account's shell prints something first. A banner is recognised because no packet has the length that its first four
 * letters would be. Pure: bytes in, a version or the printed line out.
 */
import { FieldReader, MalformedPacket, PACKET, PACKET_LIMIT_BYTES } from './packet.js';
import { printable } from './printable.js';

/** What the server is, as SFTP tells it. */
export interface Version {
  readonly version: number;
  readonly extensions: ReadonlyMap<string, string>;
}

const EXTENSIONS_LIMIT = 256;
const NAME_LIMIT_BYTES = 256;
/** How much of a banner is waited for. */
const BANNER_BYTES = 512;

/** Reads the first packet, or the noise in its place. */
export class VersionReader {
  #bytes: Buffer = Buffer.alloc(0);
  #state: 'reading' | 'noise' = 'reading';

  /** True where text came, and its first line is not complete. */
  get isNoise(): boolean {
    return this.#state === 'noise';
  }

  /**
   * Takes what arrived.
   *
   * @returns `version` with all that came behind it; `noise` with a whole line of it; undefined where more has to come
   * @throws {MalformedPacket} where it is neither
   */
  push(
    chunk: Buffer,
  ):
    | { readonly kind: 'version'; readonly version: Version; readonly rest: Buffer }
    | { readonly kind: 'noise'; readonly line: string }
    | undefined {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#state === 'reading') {
      if (this.#bytes.length < 4) return undefined;
      const length = this.#bytes.readUInt32BE(0);
      const possible = length >= 5 && length <= PACKET_LIMIT_BYTES;
      const type = this.#bytes[4];
      if (!possible || (type !== undefined && type !== PACKET.VERSION)) {
        if (!isText(this.#bytes)) {
          throw new MalformedPacket(
            possible ? `a first packet of the type ${type}` : `a packet of ${length} bytes`,
          );
        }
        this.#state = 'noise';
      } else {
        if (this.#bytes.length < 4 + length) return undefined;
        const body = this.#bytes.subarray(5, 4 + length);
        return { kind: 'version', version: readVersion(body), rest: this.#bytes.subarray(4 + length) };
      }
    }
    const text = this.#bytes.toString('utf8', 0, Math.min(this.#bytes.length, BANNER_BYTES)).trimStart();
    return this.#bytes.length >= BANNER_BYTES || /[\r\n]/.test(text)
      ? { kind: 'noise', line: this.printed() ?? '' }
      : undefined;
  }

  /** The first line of what was printed so far; undefined where nothing was, or it is no text. */
  printed(): string | undefined {
    if (this.#bytes.length === 0 || !isText(this.#bytes)) return undefined;
    const text = this.#bytes.toString('utf8', 0, Math.min(this.#bytes.length, BANNER_BYTES)).trimStart();
    return printable(text.split(/[\r\n]/, 1)[0] ?? '').trim();
  }
}

/**
 * Letters of any charset, tabs, and the escape that colours begin with, up to the end of the first line: VERSION may
 * come in one piece with it.
 */
function isText(bytes: Buffer): boolean {
  return /^\s*[\x07-\x0d\x1b\x20-\x7e\x80-\xff]+?([\r\n]|$)/.test(bytes.toString('latin1', 0, BANNER_BYTES));
}

function readVersion(body: Buffer): Version {
  const reader = new FieldReader(body);
  const version = reader.uint32();
  const extensions = new Map<string, string>();
  for (let count = 0; reader.leftBytes > 0; count += 1) {
    if (count === EXTENSIONS_LIMIT) throw new MalformedPacket(`more than ${EXTENSIONS_LIMIT} extensions`);
    const name = reader.bytes();
    const data = reader.bytes();
    if (name.length <= NAME_LIMIT_BYTES) {
      const key = printable(name.toString('latin1'));
      // Told twice, with several versions: what we know is the older one.
      const known = extensions.get(key);
      const told = printable(data.toString('latin1'));
      extensions.set(key, known === undefined ? told : `${known},${told}`.slice(0, 300));
    }
  }
  return { version, extensions };
}
