/*
 * Real pyftpdlib, as root or as an ordinary user, run by a small program of ours (pyftpdlib-server.py). Its account is
 * confined to `root`, as always with it: PWD says `/`. TLS is plain, explicit or implicit (the last one added by our
 * program); it never asks for session reuse. One process serves all sessions. A client too many hears 421.
 * Not for anything but tests.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { certificates } from '../certificates.js';
import { findProgram, launch, type RealServer, type ServerOptions } from '../real-server.js';

export interface PyftpdlibOptions extends ServerOptions {
  /** `ferry` unless told. */
  readonly user?: string;
  /** Attributes of its handler class: `{ timeout: 2, max_login_attempts: 1 }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean | null>>;
  /**
   * The most sockets at once, its own included: the listener, and each session with its data connections. One that
   * would be the next hears 421, so the number of sessions that fit in changes from moment to moment.
   */
  readonly maxSockets?: number;
}

/**
 * Starts a pyftpdlib server of its own.
 *
 * @throws Error where Python or pyftpdlib is missing, or it does not start; its own words stand in the message
 */
export async function startPyftpdlib(options: PyftpdlibOptions = {}): Promise<RealServer> {
  const password = options.password ?? 'secret';
  const user = options.user ?? 'ferry';
  const security = options.security ?? 'plain';
  const certificate = options.certificate ?? (await certificates()).good;
  return launch({
    name: 'pyftpdlib',
    at: options.at,
    maxTls: options.maxTls,
    user,
    password,
    root: options.root,
    home: '/',
    logFile: 'none',
    prepare: async ({ directory, root, host, port }) => {
      const python = findProgram('python3');
      if (python === undefined) throw new Error('python3 is not installed: run .ci/servers');
      await writeFile(directory.join('certificate.pem'), certificate.cert);
      await writeFile(directory.join('key.pem'), certificate.key, { mode: 0o600 });
      const file = directory.join('settings.json');
      const settings = {
        host,
        port,
        user,
        password,
        root,
        security,
        requireTls: options.requireTls ?? false,
        certificate: directory.join('certificate.pem'),
        key: directory.join('key.pem'),
        maxClients: options.maxClients ?? 0,
        maxSockets: options.maxSockets ?? 0,
        attributes: options.settings ?? {},
      };
      await writeFile(file, JSON.stringify(settings), { mode: 0o600 });
      return [python, join(import.meta.dirname, 'pyftpdlib-server.py'), file];
    },
  });
}
