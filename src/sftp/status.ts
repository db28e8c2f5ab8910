/*
 * STATUS answers (draft-ietf-secsh-filexfer-02 section 7): their codes, and what they mean for people. The codes above 8
 * are of later versions; servers send them all the same. What to do about one is not decided here.
 */
import type { SftpStatus } from './errors.js';
import { FieldReader } from './packet.js';
import { printable } from './printable.js';

/** The codes that something here depends on. */
export const STATUS = { OK: 0, EOF: 1, FAILURE: 4 } as const;

const MEANINGS: readonly string[] = [
  'it was done',
  'the end was reached',
  'there is no such file or directory',
  'permission denied',
  'it failed',
  'the server did not understand the request',
  'the server has no connection to where the file is',
  'the server lost its connection to where the file is',
  'the server does not know this operation',
  'the server does not know the handle any more',
  'there is no such path',
  'the file exists already',
  'the file system is read-only',
  'there is no medium in the drive',
  'no space is left on the file system',
  'the quota is used up',
  'the server does not know this user or group',
  'another program has locked the file',
  'the directory is not empty',
  'this is not a directory',
  'the server does not take this name',
  'too many symbolic links lead from one to the next',
  'it cannot be deleted',
  'the server does not take a value of the request',
  'this is a directory',
  'a part of the file is locked by another program',
  'the lock was refused',
  'the file is about to be deleted',
  'the file is damaged',
  'this owner cannot be set',
  'this group cannot be set',
  'there is no such lock',
];

/** What a code means, as the end of a sentence. */
export function statusMeaning(code: number): string {
  return MEANINGS[code] ?? 'it failed, with a code that SFTP does not have';
}

/**
 * Reads the body of a STATUS. Servers of old leave out words and language.
 *
 * @param secrets what its words must not show
 * @throws {MalformedPacket} where there is no code, or a field is cut
 */
export function readStatus(body: Buffer, secrets: readonly string[] = []): SftpStatus {
  const reader = new FieldReader(body);
  const code = reader.uint32();
  const words = reader.leftBytes === 0 ? '' : printable(textOf(reader.bytes()), secrets);
  return { code, words };
}

/** More than this is cut off anyhow. */
const WORDS_BYTES = 16 * 1024;

/** Bytes that should be UTF-8, as text that is not safe to print yet. */
function textOf(bytes: Buffer): string {
  return bytes.toString('utf8', 0, Math.min(bytes.length, WORDS_BYTES));
}

/** `nas:22 did not open a file: permission denied (OPEN was answered with 3 Permission denied)` */
export function statusSentence(
  where: string,
  { request, asked }: { readonly request: string; readonly asked: string },
  { code, words }: SftpStatus,
): string {
  const said = words === '' ? `${code}` : `${code} ${words}`;
  // OpenSSH has this one code for nearly everything, and no other word for it.
  const mute = code === STATUS.FAILURE && /^(failure)?$/i.test(words);
  const meaning = mute ? 'it failed, and the server does not say why' : statusMeaning(code);
  return `${where} did not ${asked}: ${meaning} (it answered ${request} with ${said}).`;
}
