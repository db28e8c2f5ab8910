/*
 * The randomised model test over SFTP, with runs that are killed (support/model-socket.ts).
 */
import type { SftpServer } from '../../src/job/job.js';
import type { Fault, Rule } from '../support/sftp-server/fault.js';
import type { SftpServerOptions } from '../support/sftp-server/settings.js';
import { startSftpServer } from '../support/sftp-server.js';
import type { Lot } from './support/model-play.js';
import { type Harbour, playWithKills } from './support/model-socket.js';
import { PASSWORD, type World } from './support/voyage.js';

const SERVERS: readonly Partial<SftpServerOptions>[] = [
  {},
  { extensions: { 'posix-rename@openssh.com': false, 'fsync@openssh.com': false } },
  { order: 'go', software: 'Go', extensions: { 'limits@openssh.com': false } },
  { maxConnections: 1, extensions: { 'check-file': true } },
];

const REQUESTS = [
  'OPEN',
  'WRITE',
  'FSETSTAT',
  'CLOSE',
  'posix-rename@openssh.com',
  'RENAME',
  'READDIR',
  'READ',
  'REMOVE',
  'MKDIR',
  'RMDIR',
  'LSTAT',
] as const;

function ruleOf(lot: Lot): Rule {
  const fault = lot.pick<Fault>([
    { kind: 'status', code: 4 },
    { kind: 'status', code: 3 },
    { kind: 'end', how: 'reset' },
    // Done, and the answer is lost.
    { kind: 'end', how: 'reset', at: 'after' },
    { kind: 'end', how: 'channel' },
    { kind: 'cut', atByte: lot.below(9), how: 'close' },
    { kind: 'dropAfter', receivedBytes: lot.below(2_000) },
  ]);
  const nth = 1 + lot.below(5);
  const times = lot.pick([1, 1, 2, 50]);
  return { on: lot.pick(REQUESTS), nth, times, do: fault ?? { kind: 'end', how: 'reset' } };
}

async function open(world: World, seed: number): Promise<Harbour> {
  const scripted = await startSftpServer({
    root: world.directory.join('remote'),
    users: { ferry: PASSWORD },
    home: '/',
    ...SERVERS[Math.floor(seed / 3) % SERVERS.length],
  });
  const { name, user, password, charset, verify, timeouts } = world.job.server;
  const server: SftpServer = {
    ...{ protocol: 'sftp', name, user, password, charset, verify, timeouts },
    host: scripted.address,
    port: scripted.port,
    connections: 2,
    privateKey: undefined,
    passphrase: undefined,
    agent: undefined,
    hostKeys: scripted.fingerprints,
    knownHosts: [world.directory.join('known_hosts')],
    via: undefined,
  };
  return {
    server,
    replaces: 'in-two-steps',
    script: (lot) => {
      const rule = ruleOf(lot);
      scripted.script(rule);
      return JSON.stringify(rule);
    },
    behave: () => scripted.behave(),
    onCommand: (listener) => scripted.on('request', listener),
    quiet: () => scripted.until((journal) => journal.open === 0),
    [Symbol.asyncDispose]: () => scripted.close(),
  };
}

playWithKills(open);
