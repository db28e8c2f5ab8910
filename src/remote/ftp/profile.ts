/*
 * What has been found out about an FTP server: the facts that only FTP has, and what is counted while they are found
 * out. Kept and forgotten as profile.ts says.
 */
import type { DataMode, HashForm, SetTimeForm } from '../../ftp/client.js';
import { type Facts, FIRST_FACTS, Profile, type ProfileOptions } from '../profile.js';

/** What is known of an FTP server. */
export interface FtpFacts extends Facts {
  /** Who opens data connections, and how that is agreed on. */
  dataMode: DataMode;
  /** Whether a transfer has gone through in that mode. */
  dataModeWorks: boolean;
  /** The newest TLS with which data connections are taken. */
  tls: 'TLSv1.3' | 'TLSv1.2';
  /** How modification times are set; `none` where the server knows no way. */
  setTime: SetTimeForm | 'none';
  /** How permissions are set; `none` where the server refuses that. */
  chmod: 'SITE CHMOD' | 'none';
  /** How a file's size is asked for. */
  size: 'SIZE' | 'listing';
  /** How a file's hash is asked for; undefined before the first session. */
  hash: HashForm | 'none' | undefined;
  /** How directories are listed. */
  listing: 'MLSD' | 'LIST';
  /** Whether RNTO replaces a file that exists; `none` where the server cannot rename at all. */
  rename: 'overwrites' | 'refuses' | 'none';
  /** How an upload that broke off goes on. */
  resumeUpload: 'REST' | 'APPE' | 'none';
  /** How a download that broke off goes on. */
  resumeDownload: 'REST' | 'none';
  /**
   * How many round trips a small file takes: `two` where the server finds the question for the next port in its
   * buffer when a transfer has ended, `three` where that puts it out of step.
   */
  roundTrips: 'two' | 'three';
  /** Whether the byte 0xFF in names has to be sent twice. */
  telnetBytes: 'once' | 'doubled';
  /** How far the server's clock is ahead of this machine's, in milliseconds. */
  clockOffsetMs: number | undefined;
}

const FIRST_GUESS: FtpFacts = {
  ...FIRST_FACTS,
  dataMode: 'EPSV',
  dataModeWorks: false,
  tls: 'TLSv1.3',
  setTime: 'MFMT',
  chmod: 'SITE CHMOD',
  size: 'SIZE',
  hash: undefined,
  listing: 'MLSD',
  rename: 'overwrites',
  resumeUpload: 'REST',
  resumeDownload: 'REST',
  roundTrips: 'two',
  telnetBytes: 'once',
  clockOffsetMs: undefined,
};

export class FtpProfile extends Profile<FtpFacts> {
  /** Troubles in a row that may be the server's way or an accident; a success ends each row. */
  readonly streaks = { stumbles: 0, dataSetups: 0, reuseRefusals: 0 };
  /** Whether the server let us in with TLS 1.2 when that was tried; nothing to keep, since a handshake can fail by accident. */
  tls12: 'untried' | 'refused' = 'untried';
  /** The server's clock is read once in this process at the most, with the first upload. */
  clock: 'unread' | 'asked' = 'unread';

  constructor(options: ProfileOptions) {
    super(FIRST_GUESS, options);
  }
}
