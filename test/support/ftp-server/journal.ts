/*
 * What happened on a scripted server, in order: every command received, every reply sent, and counters, so that a
 * test can assert "no data connection was opened" or wait for a moment instead of sleeping. Passwords are not kept.
 */

/** One command as it was received. */
export interface JournalCommand {
  /** Order of receipt over all connections, from 0. */
  readonly order: number;
  /** Control connection, counted from 1. */
  readonly connection: number;
  /** Which packet (read) of that connection the line's end came in, from 1: commands of one write share it. */
  readonly packet: number;
  /** In capitals. */
  readonly verb: string;
  /** As UTF-8 text, or as Latin-1 where it is no UTF-8. Empty for PASS and ACCT. */
  readonly argument: string;
  /** Milliseconds since the server started, by the monotonic clock. */
  readonly atMs: number;
  /** Every reply that was sent for it, without the last CRLF. */
  readonly replies: string[];
}

/** The record of one server; counters only ever grow, except `open`. */
export interface Journal {
  readonly commands: readonly JournalCommand[];
  /** Control connections accepted, and those open now, and the most there ever were at once. */
  readonly connections: number;
  readonly open: number;
  readonly peakOpen: number;
  /** Data connections made, passive and active. */
  readonly dataConnections: number;
  /** Data connections whose TLS resumed a session of their control connection. */
  readonly resumedDataConnections: number;
  /** Logins that succeeded. */
  readonly logins: number;
  /** LIST, NLST, MLSD, and STAT with a path, that were executed. */
  readonly listings: number;
  /** File content received by STOR and APPE, and sent by RETR. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** STOR and APPE whose data was received and kept up to its end. */
  readonly stored: number;
  /** The verbs in order, of one connection or of all. */
  verbs(connection?: number): string[];
  /** The commands with this verb, in order. */
  of(verb: string): readonly JournalCommand[];
}

type Counter =
  | 'connections'
  | 'dataConnections'
  | 'resumedDataConnections'
  | 'logins'
  | 'listings'
  | 'receivedBytes'
  | 'sentBytes'
  | 'stored';

interface Waiter {
  readonly test: () => void;
  readonly fail: (reason: Error) => void;
}

/** The writing side of a journal, with the conditions that wait on it. */
export class JournalBook implements Journal {
  readonly commands: JournalCommand[] = [];
  connections = 0;
  open = 0;
  peakOpen = 0;
  dataConnections = 0;
  resumedDataConnections = 0;
  logins = 0;
  listings = 0;
  receivedBytes = 0;
  sentBytes = 0;
  stored = 0;
  readonly #startMs = performance.now();
  readonly #waiters = new Set<Waiter>();

  verbs(connection?: number): string[] {
    return this.commands
      .filter((command) => connection === undefined || command.connection === connection)
      .map((command) => command.verb);
  }

  of(verb: string): readonly JournalCommand[] {
    return this.commands.filter((command) => command.verb === verb);
  }

  received(command: Pick<JournalCommand, 'connection' | 'packet' | 'verb' | 'argument'>): JournalCommand {
    const secret = command.verb === 'PASS' || command.verb === 'ACCT';
    const entry: JournalCommand = {
      ...command,
      argument: secret ? '' : command.argument,
      order: this.commands.length,
      atMs: performance.now() - this.#startMs,
      replies: [],
    };
    this.commands.push(entry);
    this.#changed();
    return entry;
  }

  replied(entry: JournalCommand | undefined, text: string): void {
    entry?.replies.push(text);
    this.#changed();
  }

  count(counter: Counter, by = 1): void {
    this[counter] += by;
    this.#changed();
  }

  opened(): void {
    this.connections += 1;
    this.open += 1;
    this.peakOpen = Math.max(this.peakOpen, this.open);
    this.#changed();
  }

  closed(): void {
    this.open -= 1;
    this.#changed();
  }

  /** Resolves as soon as the condition holds; rejects after `timeoutMs` with what the journal held by then. */
  until(condition: (journal: Journal) => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiter.fail(new Error(`The scripted server waited ${timeoutMs} ms in vain; ${this.#summary()}`));
      }, timeoutMs);
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        test: () => {
          try {
            if (!condition(this)) return;
          } catch (error) {
            waiter.fail(error instanceof Error ? error : new Error(String(error)));
            return;
          }
          finish();
          resolve();
        },
        fail: (reason) => {
          finish();
          reject(reason);
        },
      };
      this.#waiters.add(waiter);
      waiter.test();
    });
  }

  /** Fails everything that still waits: the server is closing. */
  end(): void {
    for (const waiter of [...this.#waiters])
      waiter.fail(new Error(`The scripted server closed; ${this.#summary()}`));
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) waiter.test();
  }

  #summary(): string {
    const last = this.commands
      .slice(-12)
      .map((c) => `#${c.connection} ${c.verb} ${c.argument} -> ${c.replies.join(' | ')}`);
    return `${this.connections} connections, ${this.dataConnections} data connections, last commands:\n${last.join('\n')}`;
  }
}
