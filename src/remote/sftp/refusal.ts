/*
 * What a status says (draft-ietf-secsh-filexfer-02 section 7; the later codes, which some servers send all the same):
 * asked of errors by whoever has another way, or looks whether the wanted state holds. What it means for a file or a
 * run is failure.ts's to say.
 */
import { SftpError } from '../../sftp/errors.js';
import { isAnswer } from '../refusal.js';

const NO_SUCH_FILE = 2;
const PERMISSION_DENIED = 3;
const FAILURE = 4;
const OP_UNSUPPORTED = 8;
const NO_SUCH_PATH = 10;
const FILE_ALREADY_EXISTS = 11;
const WRITE_PROTECT = 12;

function codeOf(error: unknown): number | undefined {
  return error instanceof SftpError && error.kind === 'status' ? error.status?.code : undefined;
}

/** There is nothing of that name, or no directory on the way to it. */
export function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === NO_SUCH_FILE || code === NO_SUCH_PATH;
}

/** Anything may be the reason. */
export function isFailure(error: unknown): boolean {
  return codeOf(error) === FAILURE;
}

/** Something stands there already; version 3 has no code of its own for that. */
export function mayBeTaken(error: unknown): boolean {
  const code = codeOf(error);
  return code === FAILURE || code === FILE_ALREADY_EXISTS;
}

/** The account may not do this. */
export function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  return code === PERMISSION_DENIED || code === WRITE_PROTECT;
}

/** The server does not have this request. */
export function isUnsupported(error: unknown): boolean {
  return codeOf(error) === OP_UNSUPPORTED || (error instanceof SftpError && error.kind === 'unsupported');
}

/** No word came from the server: what it did is not known. */
export function isSilence(error: unknown): boolean {
  return error instanceof SftpError && !isAnswer(error) && !['argument', 'unsupported'].includes(error.kind);
}
