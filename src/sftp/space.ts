/*
 * What statvfs@openssh.com and fstatvfs@openssh.com answer (OpenSSH's PROTOCOL, section 4.4).
 */
import { PACKET } from './packet.js';
import type { Answer } from './requests.js';
import { roughly } from './session.js';
import type { Space } from './types.js';

const READ_ONLY = 1n;

export const SPACE: Answer<Space> = {
  type: PACKET.EXTENDED_REPLY,
  read: (body) => {
    const blockBytes = body.uint64();
    const fragmentBytes = body.uint64();
    // Blocks are counted in fragments; some servers leave those at 0.
    const unit = fragmentBytes === 0n ? blockBytes : fragmentBytes;
    const [total, free, available] = [body.uint64(), body.uint64(), body.uint64()];
    const totalFiles = body.uint64();
    body.uint64();
    const availableFiles = body.uint64();
    body.uint64();
    const flags = body.uint64();
    const maxNameBytes = body.uint64();
    return {
      totalBytes: roughly(total * unit),
      freeBytes: roughly(free * unit),
      availableBytes: roughly(available * unit),
      totalFiles: roughly(totalFiles),
      availableFiles: roughly(availableFiles),
      isReadOnly: (flags & READ_ONLY) !== 0n,
      maxNameBytes: roughly(maxNameBytes),
    };
  },
};
