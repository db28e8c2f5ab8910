/*
 * What the accounts of all transports have in common: the pool of their connections, how the first of them is opened,
 * and how many the server is remembered to let in. Knows nothing of what a connection speaks.
 */
import type { Server } from '../job/job.js';
import { isTooMany, isTurnedAway, judge } from './failure.js';
import { Pool, type Pooled } from './pool.js';
import type { Profile } from './profile.js';

/** What an account tells while it works. All sentences are safe to print. */
export interface AccountListener {
  readonly onOpened: (message: string) => void;
  readonly onLearned: (message: string) => void;
  readonly onWire: ((line: string) => void) | undefined;
}

/** A connection of an account. */
export interface Berthed extends Pooled {
  /** Host and port, for messages. */
  readonly where: string;
}

/** How a connection is to be opened. */
export interface Opening {
  /** True where this account has had a connection before: the secrets are right. */
  readonly workedBefore: boolean;
  /** Aborted when the pool is closed: the opening must then end at once. */
  readonly signal: AbortSignal;
}

export interface AccountPoolOptions<C extends Berthed> {
  readonly server: Pick<Server, 'name' | 'user' | 'connections'>;
  readonly profile: Profile;
  readonly listener: Pick<AccountListener, 'onOpened'>;
  /** How many users one connection has at once; 1 unless told. */
  readonly share?: number;
  readonly open: (opening: Opening) => Promise<C>;
}

/** The pool of an account's connections. */
export function accountPool<C extends Berthed>(options: AccountPoolOptions<C>): Pool<C> {
  const { server, profile, listener, share = 1, open } = options;
  const scout = new Scout<C>();
  let sessions = 0;
  return new Pool<C>({
    limit: server.connections,
    share,
    ceiling: rememberedCeiling(profile, server.connections),
    isTooMany: (error) => isTooMany(judge(error)),
    isTurnedAway,
    onCeiling: (connections) => noteCeiling(profile, server, connections),
    open: async (signal) => {
      const connection = await scout.open(() => open({ workedBefore: sessions > 0, signal }));
      sessions += 1;
      listener.onOpened(`connected to ${connection.where} as ${server.user}`);
      return connection;
    },
  });
}

/**
 * While no connection stands, one is opened alone, and the others wait for what it meets: a wrong password is then
 * tried once, and not once by every worker until the account is locked.
 */
class Scout<C extends Pooled> {
  readonly #standing = new Set<C>();
  #first: Promise<C> | undefined;

  async open(open: () => Promise<C>): Promise<C> {
    for (const connection of this.#standing) if (!connection.usable) this.#standing.delete(connection);
    let opening: Promise<C>;
    if (this.#standing.size > 0) {
      opening = open();
    } else if (this.#first !== undefined) {
      await this.#first;
      opening = open();
    } else {
      opening = open();
      this.#first = opening;
      const done = (): void => {
        this.#first = undefined;
      };
      opening.then(done, done);
    }
    const connection = await opening;
    this.#standing.add(connection);
    return connection;
  }
}

/** What is known from an earlier process; the pool would have tried one more each minute since. */
function rememberedCeiling({ facts }: Profile, limit: number): number {
  const known = facts.connections;
  if (known === undefined) return limit;
  const minutes = Math.max(0, Math.floor((Date.now() - known.atMs) / 60_000));
  return Math.min(limit, known.count + minutes);
}

/** How many connections the server lets in, as the pool has found out. */
function noteCeiling(
  profile: Profile,
  server: Pick<Server, 'name' | 'connections'>,
  connections: number,
): void {
  const before = profile.facts.connections?.count ?? server.connections;
  const known = { count: connections, atMs: Date.now() };
  if (connections >= server.connections) profile.note('connections', undefined);
  else if (connections > before) profile.note('connections', known);
  else
    profile.learn(
      'connections',
      known,
      `${server.name} takes no more connections: ${connections} ${connections === 1 ? 'is' : 'are'} used.`,
    );
}
