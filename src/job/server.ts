/*
 * A server from its written form, be it an entry of servers.yaml or inline in a job: address, account, trust, with
 * every default filled in. Says what the schema cannot: keys that contradict each other, and dangers.
 * Reads no secret and no certificate; that waits until a run needs them.
 */
import { readRemotePath, readServerUrl } from './address.js';
import { isLoopback } from './host.js';
import type { RemotePath, Server, ServerActive, ServerTimeouts, ServerTls } from './job.js';
import { below, error, type Mistake, warning } from './mistake.js';
import { readPortRange } from './patterns.js';
import type { Written } from './schema.js';
import { serverProperties, timeoutsSchema, tlsSchema } from './schema-server.js';
import { readSource, resolvePath } from './source.js';
import { durationMs } from './units.js';

export type WrittenServer = Written['server'];
/** A server inline in a job: it has a path besides. */
export type WrittenInlineServer = WrittenServer & { path?: string };

interface Where {
  /** Pointer of the server's keys. */
  readonly pointer: string;
  /** Directory of the file, from which relative paths count. */
  readonly directory: string;
  /**
   * `whole`: the keys are all that was written. `pruned`: mistaken ones were taken out, so that a key that is not
   * there says nothing.
   */
  readonly keys: 'whole' | 'pruned';
}

export interface ServerReading {
  /** Undefined where a mistake is an error. */
  readonly server: Server | undefined;
  readonly remotePath: RemotePath;
  readonly mistakes: readonly Mistake[];
}

/** An entry of servers.yaml. */
export function readServerEntry(name: string, written: WrittenServer, where: Where): ServerReading {
  const reading = readServer(written, where, name);
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
  where: Where & { readonly urlPointer: string },
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
  where: Where & { readonly urlPointer?: string },
  name: string | undefined,
): ServerReading {
  const mistakes: Mistake[] = [];
  const at = (key: string): string => below(where.pointer, key);
  const urlPointer = where.urlPointer ?? at('url');
  const url = readServerUrl(written.url);
  if (!url.ok) mistakes.push(error(urlPointer, url.wrong));
  if (url.ok && url.value.user !== undefined && written.user !== undefined) {
    mistakes.push(error(at('user'), 'the URL names a user already; take one of the two away'));
  }
  const user = written.user ?? (url.ok ? url.value.user : undefined);
  const password = readSource(written.password, at('password'), where.directory, mistakes);
  const account = readSource(written.account, at('account'), where.directory, mistakes);
  const tls = readTls(written.tls, { ...where, pointer: at('tls') }, mistakes);
  const active = readActive(written, { ...where, pointer: at('active') }, mistakes);

  if (url.ok && url.value.security === 'plain') {
    if (written.tls !== undefined) {
      const message = 'an ftp:// server has no TLS; write ftpes:// or ftps:// in its URL, or take tls away';
      mistakes.push(error(at('tls'), message, 'key'));
    } else if (written.password !== undefined && !isLoopback(url.value.host)) {
      mistakes.push(
        warning(
          urlPointer,
          `the password and the files go to ${url.value.host} unencrypted, for everybody on the way to read; write ftpes:// if the server speaks TLS`,
        ),
      );
    }
  } else if (!tls.verify && tls.caFile === undefined && tls.pin === undefined) {
    mistakes.push(
      warning(
        below(at('tls'), 'verify'),
        `the certificate of ${url.ok ? url.value.host : 'the server'} is not checked, so anybody on the way can play the server and read the password and the files; write ca or pin in place of verify: false`,
      ),
    );
  }
  if (where.keys === 'whole' && url.ok) {
    if (user === undefined && written.password !== undefined) {
      mistakes.push(error(at('password'), 'a password needs a user; write user: NAME beside it', 'key'));
    }
    if (user !== undefined && written.password === undefined && !/^(anonymous|ftp)$/i.test(user)) {
      const message =
        'the user has no password, and most servers will refuse that; write password: { credential: NAME } (or env, file, command) beside it';
      mistakes.push(warning(written.user === undefined ? urlPointer : at('user'), message));
    }
  }

  const failed = mistakes.some(({ severity }) => severity === 'error');
  const server: Server | undefined =
    failed || !url.ok
      ? undefined
      : {
          name: name ?? url.value.host,
          protocol: 'ftp',
          security: url.value.security,
          host: url.value.host,
          port: url.value.port,
          user: user ?? serverProperties.user.default,
          password,
          account,
          tls,
          connections: written.connections ?? serverProperties.connections.default,
          dataConnection: written.dataConnection ?? serverProperties.dataConnection.default,
          active,
          charset: (written.charset ?? serverProperties.charset.default).toLowerCase(),
          verify: written.verify ?? serverProperties.verify.default,
          timeouts: readTimeouts(written.timeouts),
        };
  return { server, remotePath: (url.ok ? url.value.remotePath : undefined) ?? LOGIN_DIRECTORY, mistakes };
}

function readTls(written: WrittenServer['tls'], where: Where, mistakes: Mistake[]): ServerTls {
  const { pointer, directory } = where;
  const tls = written ?? {};
  const verify = tls.verify ?? tlsSchema.properties.verify.default;
  if (tls.ca !== undefined && tls.pin !== undefined) {
    mistakes.push(
      error(below(pointer, 'pin'), 'ca and pin are two ways to trust; take one of them away', 'key'),
    );
  }
  if (!verify && (tls.ca !== undefined || tls.pin !== undefined)) {
    const key = tls.ca === undefined ? 'pin' : 'ca';
    mistakes.push(
      error(below(pointer, 'verify'), `verify: false would switch ${key} off; take one of them away`),
    );
  }
  if (where.keys === 'whole') mistakes.push(...checkIdentity(tls, pointer));
  const file = (key: 'ca' | 'certificate'): string | undefined => {
    const text = tls[key];
    return text === undefined ? undefined : resolvePath(text, below(pointer, key), directory, mistakes);
  };
  return {
    caFile: file('ca'),
    pin: tls.pin,
    verify,
    serverName: tls.serverName?.toLowerCase(),
    certificateFile: file('certificate'),
    key: readSource(tls.key, below(pointer, 'key'), directory, mistakes),
    passphrase: readSource(tls.passphrase, below(pointer, 'passphrase'), directory, mistakes),
  };
}

/** A certificate, its key and the key's passphrase: none is of use without the one before it. */
function checkIdentity(tls: NonNullable<WrittenServer['tls']>, pointer: string): Mistake[] {
  const mistakes: Mistake[] = [];
  const miss = (key: string, message: string): void => {
    mistakes.push(error(below(pointer, key), message, 'key'));
  };
  if (tls.certificate !== undefined && tls.key === undefined) {
    miss(
      'certificate',
      'the certificate that this machine shows needs its private key; write key: { file: PATH } beside it, or ca in place of certificate if it is what the server is trusted by',
    );
  }
  if (tls.key !== undefined && tls.certificate === undefined) {
    miss('key', 'a private key needs its certificate; write certificate: PATH beside it');
  }
  if (tls.passphrase !== undefined && tls.key === undefined) {
    miss(
      'passphrase',
      'a passphrase needs the private key that it opens; write key: { file: PATH } beside it',
    );
  }
  return mistakes;
}

function readActive(written: WrittenServer, where: Where, mistakes: Mistake[]): ServerActive {
  const { active, dataConnection } = written;
  if (active !== undefined && dataConnection === 'passive') {
    const message =
      'active says how the server connects to this machine, and dataConnection: passive that it never does; take one of them away';
    mistakes.push(error(where.pointer, message, 'key'));
  }
  // A single port may be written as a number.
  const range = active?.ports === undefined ? undefined : readPortRange(String(active.ports));
  const ports = range?.ok === true ? range.value : undefined;
  const connections = written.connections ?? serverProperties.connections.default;
  const count = ports === undefined ? connections : ports.last - ports.first + 1;
  if (count < connections && where.keys === 'whole') {
    const message = `${count === 1 ? 'one port is' : `${count} ports are`} too few for ${connections} connections at once, which need one each; write a longer range, or connections: ${count}`;
    mistakes.push(warning(below(where.pointer, 'ports'), message));
  }
  return { address: active?.address, ports };
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
