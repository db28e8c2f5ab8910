/*
 * What has been found out about an SFTP server: the facts that only SFTP has. Kept and forgotten as profile.ts says.
 */
import { type Facts, FIRST_FACTS, Profile, type ProfileOptions } from '../profile.js';
import type { BlockAlgorithm } from './blocks.js';

/** On the open file, by its path, or not at all. */
export type SetForm = 'handle' | 'path' | 'none';

/** What is known of an SFTP server. */
export interface SftpFacts extends Facts {
  /** How modification times are set. */
  setTime: SetForm;
  /** How permissions are set. */
  chmod: SetForm;
  /** Whether fsync@openssh.com does what it says, where it is listed. */
  fsync: 'works' | 'none';
  /** Whether posix-rename@openssh.com does, where it is listed. */
  posixRename: 'works' | 'none';
  /** Whether a file can be replaced by a rename of any kind; `none` where the server cannot rename at all. */
  rename: 'overwrites' | 'refuses' | 'none';
  /** `unkept`: they cannot be made with the text that they are given. `followed`: what they lead to would be renamed. */
  links: 'untried' | 'kept' | 'unkept' | 'followed';
  /** In which algorithm check-file answers, where it is listed; undefined until it has. */
  checkFile: BlockAlgorithm | 'none' | undefined;
  /** Whether a part that lies there can be gone on with. */
  resumeUpload: 'works' | 'none';
}

const FIRST_GUESS: SftpFacts = {
  ...FIRST_FACTS,
  setTime: 'handle',
  chmod: 'handle',
  fsync: 'works',
  posixRename: 'works',
  rename: 'overwrites',
  links: 'untried',
  checkFile: undefined,
  resumeUpload: 'works',
};

export class SftpProfile extends Profile<SftpFacts> {
  constructor(options: ProfileOptions) {
    super(FIRST_GUESS, options);
  }
}
