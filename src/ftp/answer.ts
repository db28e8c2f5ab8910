/*
 * What a reply means for the command that was sent (RFC 959 section 4.2): consent, refusal, or a word that can
 * only belong to another command. The last ends the session, because the next "226" would vouch for another file.
 * The other two are values and errors; what to do about a refusal is not decided here.
 */
import type { ControlConnection } from './control.js';
import { FtpError, type Phase } from './errors.js';
import { type Reply, replyClass } from './reply.js';

/** What SIZE, PWD, a greeting and their like answer with, and no transfer ever does. */
const OF_OTHER_COMMANDS: readonly number[] = [211, 213, 214, 215, 220, 221, 227, 229, 230, 234, 257];

/** The phases in which a session is opened, where answers such as 332 have their place. */
const OPENING: readonly Phase[] = ['greeting', 'tls', 'login'];

/** Judges the replies on one control connection, and ends it where they are out of step. */
export class Answers {
  readonly #control: ControlConnection;

  constructor(control: ControlConnection) {
    this.#control = control;
  }

  /**
   * Returns the reply where its code's hundreds are the wanted ones.
   *
   * @param said what was asked for, in the words of a message; the verb where it is not told
   * @throws {FtpError} `reply` for a refusal; `malformed`, and the session is over, for a consent of a class that
   *   this verb cannot have
   */
  expect(reply: Reply, wanted: 2 | 3, phase: Phase, verb: string, said = verb): Reply {
    // 202, "superfluous here", is how some servers say that they do not know a feature.
    const lacking = phase === 'features' && reply.code === 202;
    if (replyClass(reply) === wanted && !lacking) return reply;
    if (replyClass(reply) >= 4 || OPENING.includes(phase) || lacking)
      throw this.unexpected(reply, phase, verb, said);
    throw this.outOfStep(reply, phase, verb, said);
  }

  /**
   * A 2yz to a command that moves no data: any, but not the 226 that only the end of a transfer has. It is the second
   * one of a server that says it twice, and would vouch for what was not done.
   *
   * @throws {FtpError} as `expect`
   */
  done(reply: Reply, phase: Phase, verb: string, said = verb): Reply {
    this.expect(reply, 2, phase, verb, said);
    if (reply.code === 226) throw this.outOfStep(reply, phase, verb, said);
    return reply;
  }

  /**
   * The first line of a reply that can only have this code; another one belongs to another command.
   *
   * @throws {FtpError} as `expect`
   */
  exactly(reply: Reply, code: number, phase: Phase, verb: string): string {
    this.expect(reply, 2, phase, verb);
    if (reply.code !== code) throw this.outOfStep(reply, phase, verb);
    return reply.lines[0] ?? '';
  }

  /**
   * The final reply of a transfer: any 2yz (250 is common), but none that only another command can have.
   *
   * @throws {FtpError} as `expect`
   */
  confirmed(reply: Reply, verb: string): void {
    this.expect(reply, 2, 'transfer', verb);
    if (OF_OTHER_COMMANDS.includes(reply.code)) throw this.outOfStep(reply, 'transfer', verb);
  }

  /**
   * The 2yz to RNTO: any, but none that only another command can have. In a pipeline, where a server swallows its own
   * reply, the size that the next command asks for would vouch for a rename that never was.
   *
   * @throws {FtpError} as `expect`
   */
  renamed(reply: Reply): void {
    this.done(reply, 'command', 'RNTO');
    if (OF_OTHER_COMMANDS.includes(reply.code)) throw this.outOfStep(reply, 'command', 'RNTO');
  }

  /**
   * The server's word on a data connection that broke: throws where it explains that.
   *
   * @throws {FtpError} `reply` for a refusal, `malformed` for a word that belongs to another command
   */
  explained(reply: Reply, verb: string): void {
    if (replyClass(reply) >= 4) throw this.unexpected(reply, 'transfer', verb);
    if (OF_OTHER_COMMANDS.includes(reply.code)) throw this.outOfStep(reply, 'transfer', verb);
  }

  /** A refusal, or a consent that cannot be read, as an error. */
  unexpected(reply: Reply, phase: Phase, verb: string, said = verb): FtpError {
    return new FtpError(
      'reply',
      `${this.#control.where} answered ${said} with ${reply.code} ${this.#control.words(reply)}`,
      { phase, verb, reply: this.#control.censored(reply) },
    );
  }

  /** A reply that belongs to another command, as an error; the session is over. */
  outOfStep(reply: Reply, phase: Phase, verb: string, said = verb): FtpError {
    this.#control.breakOff('its replies are out of step');
    return new FtpError(
      'malformed',
      `${this.#control.where} answered ${said} with ${reply.code} ${this.#control.words(reply)}, which belongs to another command: replies are out of step.`,
      { phase, verb, reply: this.#control.censored(reply) },
    );
  }
}
