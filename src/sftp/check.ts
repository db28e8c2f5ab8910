/*
 * check-file-name and check-file-handle (draft-ietf-secsh-filexfer-extensions-00 section 3), as mod_sftp speaks them: the
 * server hashes a part of a file. One digest for all of it is asked for, never one for each block. Ranges of 4 GiB and
 * more are not asked for: mod_sftp keeps the length of a block in 32 bits, and would hash another part.
 */
import { SftpError } from './errors.js';
import { type FieldReader, MalformedPacket, PACKET } from './packet.js';
import type { Session } from './session.js';
import { shownPath } from './session.js';
import type { CheckAlgorithm, Checked, CheckOptions, Path } from './types.js';

const DIGEST_BYTES: Readonly<Record<CheckAlgorithm, number>> = {
  sha512: 64,
  sha384: 48,
  sha256: 32,
  sha224: 28,
  sha1: 20,
  md5: 16,
  crc32: 4,
};

const LONGEST_BYTES = 0xffffffff;

/** Asks for the digest of a part of what `subject` names: a path, or a handle. */
export function checkFile(
  session: Session,
  request: 'check-file-name' | 'check-file-handle',
  subject: { readonly bytes: Buffer; readonly path: Path },
  { algorithms, fromByte = 0, sizeBytes, signal, workingMs }: CheckOptions,
): Promise<Checked> {
  session.needs('check-file');
  const inRange = Number.isSafeInteger(sizeBytes) && sizeBytes >= 1 && sizeBytes <= LONGEST_BYTES;
  if (!inRange || !Number.isSafeInteger(fromByte) || fromByte < 0 || algorithms.length === 0) {
    throw new SftpError(
      'argument',
      `${session.where} cannot be asked for the digest of ${sizeBytes} bytes: 1 to ${LONGEST_BYTES} can be checked.`,
      { phase: 'request', request },
    );
  }
  return session.requests.ask({
    type: PACKET.EXTENDED,
    request,
    asked: 'tell the digest of a file',
    fields: [
      Buffer.from(request),
      subject.bytes,
      Buffer.from(algorithms.join(',')),
      BigInt(fromByte),
      BigInt(sizeBytes),
      0,
    ],
    answer: { type: PACKET.EXTENDED_REPLY, read: (body) => readChecked(body, algorithms) },
    signal,
    workingMs,
    shown: () => shownPath(subject.path),
  });
}

function readChecked(body: FieldReader, algorithms: readonly CheckAlgorithm[]): Checked {
  let named = body.bytes().toString('latin1');
  // Later drafts repeat the extension's name in front.
  if (named === 'check-file') named = body.bytes().toString('latin1');
  const algorithm = algorithms.find((one) => one === named.toLowerCase());
  if (algorithm === undefined) throw new MalformedPacket('a digest of a kind that was not asked for');
  const digest = body.rest();
  if (digest.length !== DIGEST_BYTES[algorithm])
    throw new MalformedPacket(`a digest of ${digest.length} bytes for ${algorithm}`);
  return { algorithm, hex: digest.toString('hex') };
}
