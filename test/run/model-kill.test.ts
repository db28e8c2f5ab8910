/*
 * The randomised model test over FTP, with runs that are killed (support/model-socket.ts).
 */
import type { Fault, Rule } from '../support/ftp-server/fault.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { startFtpServer } from '../support/ftp-server.js';
import type { Lot } from './support/model-play.js';
import { type Harbour, playWithKills } from './support/model-socket.js';
import { PASSWORD, type World } from './support/voyage.js';

/** They tell times to the second, or else an edit of the same size in the same minute would be none. */
const SERVERS: readonly Partial<FtpServerOptions>[] = [
  {},
  { renameOverwrites: false },
  { fractionalTimes: true, missingListing: 'empty' },
  { maxConnections: 1, features: { 'REST-STOR': false, XSHA256: true } },
];

const VERBS = ['STOR', 'RNFR', 'RNTO', 'SIZE', 'MFMT', 'MLSD', 'RETR', 'DELE', 'MKD', 'RMD'] as const;

function ruleOf(lot: Lot): Rule {
  const on = lot.pick(VERBS);
  const isTransfer = on === 'STOR' || on === 'RETR' || on === 'MLSD';
  const transfer: readonly Fault[] = isTransfer
    ? [
        { kind: 'dataReset', atByte: lot.below(20) },
        { kind: 'controlEnd', atByte: lot.below(20), how: 'reset' },
      ]
    : [];
  const fault = lot.pick<Fault>([
    { kind: 'reply', text: '451 Local error in processing.' },
    { kind: 'reply', text: '550 Permission denied.' },
    { kind: 'reset' },
    // Done, and the reply is lost.
    { kind: 'reset', at: 'after' },
    { kind: 'close', at: 'final' },
    ...transfer,
  ]);
  return { on, nth: 1 + lot.below(5), times: lot.pick([1, 1, 2, 50]), do: fault ?? { kind: 'reset' } };
}

async function open(world: World, seed: number): Promise<Harbour> {
  const server = await startFtpServer({
    root: world.directory.join('remote'),
    users: { ferry: PASSWORD },
    ...SERVERS[Math.floor(seed / 3) % SERVERS.length],
  });
  return {
    server: { ...world.job.server, port: server.port, connections: 2 },
    replaces: 'in-two-steps',
    script: (lot) => {
      const rule = ruleOf(lot);
      server.script(rule);
      return JSON.stringify(rule);
    },
    behave: () => server.behave(),
    onCommand: (listener) => server.on('command', listener),
    quiet: () => server.until((journal) => journal.open === 0),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

playWithKills(open);
