/*
 * A server from its written form, be it an entry of servers.yaml or inline in a job: address, user, limits, with
 * every default filled in; what only FTP or only SFTP has is in server-ftp.ts and server-sftp.ts.
 * Reads no secret and no certificate; that waits until a run needs them.
 */
import { readRemotePath, readServerUrl } from './address.js';
import type { RemotePath, Server, ServerTimeouts } from './job.js';
import { below, error, type Mistake } from './mistake.js';
import { serverProperties, timeoutsSchema } from './schema-server.js';
import { ANONYMOUS, checkFtp, FTP_CONNECTIONS, readFtpKeys } from './server-ftp.js';
import type { ServerPlace, WrittenServer } from './server-place.js';
import { checkForeign, checkLogin, readSftpKeys, SFTP_CONNECTIONS } from './server-sftp.js';
import { readSource } from './source.js';
import { durationMs } from './units.js';

/** A server inline in a job: it has a path besides. */
export type WrittenInlineServer = WrittenServer & { path?: string };

export interface ServerReading {
  /**
   * Undefined where a mistake is an error. Of SFTP it has no `via` yet: that names another server, which may not be
   * read yet.
   */
  readonly server: Server | undefined;
  readonly remotePath: RemotePath;
  readonly mistakes: readonly Mistake[];
}

/** An entry of servers.yaml. */
export function readServerEntry(name: string, written: WrittenServer, where: ServerPlace): ServerReading {
  const reading = readServer(written, { ...where, urlPointer: below(where.pointer, 'url') }, name);
  const url = readServerUrl(written.url);
  if (!url.ok || url.value.remotePath === undefined) return reading;
  const message = `the path belongs to the job: end the URL behind the host, and write ${name}:PATH in the job`;
  return {
    ...reading,
    server: undefined,
    mistakes: [...reading.mistakes, error(below(where.pointer, 'url'), message)],
  };
}

/** A server inside `from:` or `to:`. `urlPointer` is where its URL stands. */
export function readInlineServer(
  written: WrittenInlineServer,
  where: ServerPlace & { readonly urlPointer: string },
): ServerReading {
  const reading = readServer(written, where, undefined);
  if (written.path === undefined) return reading;
  const pathPointer = below(where.pointer, 'path');
  const refuse = (message: string): ServerReading => ({
    ...reading,
    server: undefined,
    mistakes: [...reading.mistakes, error(pathPointer, message)],
  });
  const url = readServerUrl(written.url);
  if (url.ok && url.value.remotePath !== undefined) {
    return refuse('the URL has a path already; take one of the two away');
  }
  const remotePath = readRemotePath(written.path);
  return remotePath.ok ? { ...reading, remotePath: remotePath.value } : refuse(remotePath.wrong);
}

const LOGIN_DIRECTORY: RemotePath = { path: '', absolute: false };

function readServer(
  written: WrittenServer,
  where: ServerPlace & { readonly urlPointer: string },
  name: string | undefined,
): ServerReading {
  const mistakes: Mistake[] = [];
  const at = (key: string): string => below(where.pointer, key);
  const url = readServerUrl(written.url);
  if (!url.ok) mistakes.push(error(where.urlPointer, url.wrong));
  if (url.ok && url.value.user !== undefined && written.user !== undefined) {
    mistakes.push(error(at('user'), 'the URL names a user already; take one of the two away'));
  }
  const user = written.user ?? (url.ok ? url.value.user : undefined);
  const password = readSource(written.password, at('password'), where.directory, mistakes);
  const reading = (server: Server | undefined): ServerReading => ({
    server: mistakes.some(({ severity }) => severity === 'error') ? undefined : server,
    remotePath: (url.ok ? url.value.remotePath : undefined) ?? LOGIN_DIRECTORY,
    mistakes,
  });
  if (!url.ok) {
    // Nobody can tell what it speaks; what is wrong in either case is told.
    readFtpKeys(written, where, mistakes);
    readSftpKeys(written, where, mistakes);
    return reading(undefined);
  }
  const { scheme, host, port } = url.value;
  const shared = {
    name: name ?? host,
    host,
    port,
    password,
    charset: (written.charset ?? serverProperties.charset.default).toLowerCase(),
    verify: written.verify ?? serverProperties.verify.default,
    timeouts: readTimeouts(written.timeouts),
  };
  mistakes.push(...checkForeign(scheme.protocol, written, where));
  switch (scheme.protocol) {
    case 'ftp': {
      const keys = readFtpKeys(written, where, mistakes);
      mistakes.push(...checkFtp(written, where, { security: scheme.security, host, tls: keys.tls, user }));
      return reading({
        ...shared,
        ...keys,
        protocol: 'ftp',
        security: scheme.security,
        user: user ?? ANONYMOUS,
        connections: written.connections ?? FTP_CONNECTIONS,
      });
    }
    case 'sftp': {
      const keys = readSftpKeys(written, where, mistakes);
      mistakes.push(...checkLogin(written, where, user));
      if (user === undefined) return reading(undefined);
      return reading({
        ...shared,
        ...keys,
        protocol: 'sftp',
        user,
        connections: written.connections ?? SFTP_CONNECTIONS,
        via: undefined,
      });
    }
  }
}

function readTimeouts(written: WrittenServer['timeouts']): ServerTimeouts {
  const { connect, reply, stall, transfer } = timeoutsSchema.properties;
  return {
    connectMs: durationMs(written?.connect ?? connect.default),
    replyMs: durationMs(written?.reply ?? reply.default),
    stallMs: durationMs(written?.stall ?? stall.default),
    transferMs: durationMs(written?.transfer ?? transfer.default),
  };
}
