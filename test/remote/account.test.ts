/*
 * What accounts of all transports have in common: by what they are known, how the first of their connections is
 * opened, and what is remembered of a server that lets in only so many. The connections are nothing but names.
 */
import { describe, expect, test } from 'vitest';
import type { SftpServer } from '../../src/job/job.js';
import { openAccount, profileIdentity, serverIdentity, settingsIdentity } from '../../src/remote/account.js';
import { accountPool, type Berthed, type Opening } from '../../src/remote/account-pool.js';
import { FtpAccount } from '../../src/remote/ftp/account.js';
import { type Facts, FIRST_FACTS, Profile, type ProfileStore } from '../../src/remote/profile.js';
import { SftpAccount } from '../../src/remote/sftp/account.js';
import { SftpError } from '../../src/sftp/errors.js';
import { credentialsOf, serverSettings } from './berth.js';
import { sftpCredentials } from './sftp-berth.js';

const nas: SftpServer = {
  name: 'nas',
  protocol: 'sftp',
  host: 'NAS.example.net',
  port: 22,
  user: 'backup',
  password: { kind: 'env', name: 'UNUSED' },
  privateKey: undefined,
  passphrase: undefined,
  agent: undefined,
  hostKeys: [],
  knownHosts: ['/nowhere/known_hosts'],
  via: undefined,
  connections: 3,
  charset: 'utf-8',
  verify: 'auto',
  timeouts: { connectMs: 1_000, replyMs: 1_000, stallMs: 1_000, transferMs: 1_000 },
};
const quiet = { onOpened: () => {}, onLearned: () => {}, onWire: undefined };

describe('an account', () => {
  test('speaks what its server does, and connects to nothing before it is asked', async () => {
    const ftp = serverSettings({ address: '127.0.0.1', port: 9 }, 'plain');
    const accounts = [
      openAccount({ protocol: 'ftp', server: ftp, credentials: credentialsOf({}) }, quiet),
      openAccount({ protocol: 'sftp', server: nas, credentials: sftpCredentials() }, quiet),
    ];
    expect(accounts[0]).toBeInstanceOf(FtpAccount);
    expect(accounts[1]).toBeInstanceOf(SftpAccount);
    for (const account of accounts) {
      expect(account.remote({ path: 'dumps', absolute: false }).label).toBe('nas:dumps');
      expect(account.connections).toBe(0);
      await account.close();
    }
  });

  test('goes past no server that the way leads through', () => {
    const server = { ...nas, via: { ...nas, name: 'gate', host: 'gate.example.net' } };
    const credentials = sftpCredentials();
    expect(() => openAccount({ protocol: 'sftp', server, credentials }, quiet)).toThrow('do not fit the way');
  });

  test('is known by protocol, user, host, port and the way to it; the rest are settings', () => {
    const gate = { ...nas, name: 'gate', host: 'gate.example.net' };
    const through = { ...nas, via: gate };
    const keyed = { ...nas, hostKeys: ['SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'] };
    expect(serverIdentity(nas)).toBe('sftp://backup@nas.example.net:22');
    // Behind two gates two servers may have one and the same address.
    expect(serverIdentity(through)).toBe(
      'sftp://backup@nas.example.net:22 through sftp://backup@gate.example.net:22',
    );
    expect(serverIdentity(keyed)).toBe(serverIdentity(nas));
    expect(profileIdentity(through)).not.toBe(profileIdentity(nas));
    const settings = [nas, through, keyed, { ...nas, via: { ...gate, port: 2222 } }].map(settingsIdentity);
    expect(new Set(settings).size).toBe(4);
    expect(settingsIdentity({ ...nas, knownHosts: ['/elsewhere/known_hosts'] })).toBe(settings[0]);
    const ftp = serverSettings({ address: nas.host, port: 22 }, 'explicit');
    expect(serverIdentity({ ...ftp, user: 'backup' })).not.toBe(serverIdentity(nas));
  });
});

class Connection implements Berthed {
  readonly where = 'nas:22';
  usable = true;

  async close(): Promise<void> {
    this.usable = false;
  }

  reset(): void {
    this.usable = false;
  }
}

function shelf(json?: string): ProfileStore & { json: string | undefined } {
  const made = {
    json,
    load: () => made.json,
    save: (saved: string) => {
      made.json = saved;
    },
  };
  return made;
}

function harness(
  open: (opening: Opening, asked: number) => Promise<Connection>,
  { share = 1, store = shelf() }: { readonly share?: number; readonly store?: ProfileStore } = {},
) {
  const told: string[] = [];
  const profile = new Profile<Facts>(FIRST_FACTS, {
    store,
    onLearned: (message) => told.push(message),
    now: Date.now,
  });
  let asked = 0;
  const pool = accountPool<Connection>({
    server: nas,
    profile,
    listener: { onOpened: (message) => told.push(message) },
    share,
    open: (opening) => {
      asked += 1;
      return open(opening, asked);
    },
  });
  return { pool, profile, told, asked: () => asked };
}

const wrong = new SftpError('authentication', 'nas:22 refused the password.', { phase: 'login' });
const away = new SftpError('lost', 'nas:22 hung up.', { phase: 'handshake', code: 'TURNED-AWAY' });

describe('the connections of an account', () => {
  test.each([1, 32])(
    'a wrong password is shown once, however many want one of them (share %i)',
    async (share) => {
      const { pool, asked } = harness(() => Promise.reject(wrong), { share });
      const users = Array.from({ length: 3 }, () => pool.use(undefined, async () => {}));
      for (const end of await Promise.allSettled(users))
        expect(end).toEqual({ status: 'rejected', reason: wrong });
      expect(asked()).toBe(1);
      await pool.close();
    },
  );

  test('once the first stands, the others are opened side by side', async () => {
    let opening = 0;
    let most = 0;
    const workedBefore: boolean[] = [];
    const { pool, told } = harness(async (how) => {
      workedBefore.push(how.workedBefore);
      opening += 1;
      most = Math.max(most, opening);
      await new Promise((turn) => setImmediate(turn));
      opening -= 1;
      return new Connection();
    });
    let all = (): void => {};
    const together = new Promise<void>((resolve) => {
      all = resolve;
    });
    let users = 0;
    const work = async (): Promise<void> => {
      users += 1;
      if (users === 3) all();
      await together;
    };
    await Promise.all([pool.use(undefined, work), pool.use(undefined, work), pool.use(undefined, work)]);
    expect(most).toBe(2);
    expect(workedBefore[0]).toBe(false);
    expect(told).toEqual(Array.from({ length: 3 }, () => 'connected to nas:22 as backup'));
    for (let left = 3; left > 0; left -= 1)
      await pool.use(undefined, async (connection) => connection.reset());
    await pool.use(undefined, async () => {});
    expect(workedBefore.slice(3)).toEqual([true]);
    await pool.close();
  });

  test('how many the server lets in is learned, said once, and remembered', async () => {
    const store = shelf();
    const { pool, profile, told } = harness(
      async (_how, asked) => {
        if (asked > 1) throw away;
        return new Connection();
      },
      { store },
    );
    const work = (): Promise<void> => new Promise((turn) => setImmediate(turn));
    await Promise.all(Array.from({ length: 5 }, () => pool.use(undefined, work)));
    expect(profile.facts.connections?.count).toBe(1);
    expect(told.at(-1)).toBe('nas takes no more connections: 1 is used.');
    await pool.close();
    const next = harness(async () => new Connection(), { store });
    expect([next.pool.ceiling, next.pool.limit]).toEqual([1, 3]);
    await next.pool.close();
  });

  test('turned away with nothing of ours there, it is the caller’s failure', async () => {
    const { pool } = harness(() => Promise.reject(away));
    await expect(pool.use(undefined, async () => {})).rejects.toBe(away);
    await pool.close();
  });
});
