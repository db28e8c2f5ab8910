/*
 * A control connection that is logged in and in binary mode, for tests of what lies below the client: they send the
 * commands of a data connection themselves. Meant for `await using`, behind its stage.
 */
import { ControlConnection } from '../../src/ftp/control.js';
import { DataConnection, type DataOptions, type Route } from '../../src/ftp/data.js';
import { extendedPassivePort } from '../../src/ftp/passive.js';
import type { Reply } from '../../src/ftp/reply.js';
import type { TlsTrust } from '../../src/ftp/tls.js';
import type { Stage } from './stage.js';

export class Line implements AsyncDisposable {
  readonly control: ControlConnection;
  readonly #stage: Stage;
  readonly #trust: TlsTrust;

  private constructor(control: ControlConnection, stage: Stage, trust: TlsTrust) {
    this.control = control;
    this.#stage = stage;
    this.#trust = trust;
  }

  static async open(stage: Stage, changes: Partial<TlsTrust> = {}): Promise<Line> {
    const options = stage.options();
    const trust = { ...options.trust, ...changes };
    const control = await ControlConnection.connect(options);
    const line = new Line(control, stage, trust);
    try {
      await control.greeting();
      if (options.security === 'explicit') {
        await control.send({ verb: 'AUTH', argument: 'TLS', next: 'tls' });
        await control.secure(trust);
        await line.say('PBSZ 0');
        await line.say('PROT P');
      }
      await line.say('USER ferry');
      await line.say('PASS secret');
      await line.say('TYPE I');
    } catch (error) {
      control.reset('the line could not be opened');
      throw error;
    }
    return line;
  }

  /** Sends one command; resolves with its final reply, which must not be a refusal. */
  async say(line: string): Promise<Reply> {
    const [verb = '', ...rest] = line.split(' ');
    const reply = await this.control.send({ verb, argument: rest.length > 0 ? rest.join(' ') : undefined });
    if (reply.code >= 400) throw new Error(`${line}: ${reply.lines.join(' ')}`);
    return reply;
  }

  async passive(): Promise<Route> {
    const port = extendedPassivePort(await this.say('EPSV'));
    if (port === undefined) throw new Error('no port');
    return { kind: 'passive', address: this.control.peerAddress, port };
  }

  data(route: Route, changes: Partial<DataOptions> = {}): DataConnection {
    const options = this.#stage.options();
    return new DataConnection({
      host: options.host,
      route,
      flow: 'in',
      connectTimeoutMs: 5_000,
      stallTimeoutMs: 5_000,
      deadlineMs: 60_000,
      goodbye: 'ignored',
      signal: undefined,
      tls: this.control.isSecure
        ? { trust: this.#trust, session: this.control.session, onSession: () => {} }
        : undefined,
      ...changes,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.control.reset('the test is over');
  }
}
