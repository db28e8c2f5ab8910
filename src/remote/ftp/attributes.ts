/*
 * What is set on a file besides its content: the modification time, in the first form that the server takes, and the
 * permissions.
 */
import type { SetTimeForm } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { judge } from '../failure.js';
import { isRefusal } from '../refusal.js';
import { wholeSeconds } from '../remote.js';
import type { Line } from './line.js';

const SET_TIME_FORMS: readonly SetTimeForm[] = ['MFMT', 'MDTM', 'SITE UTIME'];

export class Attributes {
  readonly #line: Line;

  constructor(line: Line) {
    this.#line = line;
  }

  /**
   * What became of the time, after the server's reply to the setting; where it does not know the form, the others
   * are tried.
   *
   * @returns the time that the server took over, in whole seconds; undefined where it takes none
   */
  async timeAfter(
    reply: { readonly code: number },
    form: SetTimeForm,
    path: string,
    modifiedMs: number,
  ): Promise<number | undefined> {
    const { code } = reply;
    // 202 says that the command is superfluous here, so nothing was set.
    if (code >= 200 && code < 300 && code !== 202) return wholeSeconds(modifiedMs);
    // "Not now" is no reason to give the form up: it is asked again, and fails as it must.
    if (code >= 400 && code < 500) return this.setTime(path, modifiedMs);
    return this.#setTimeAfter(form, path, modifiedMs);
  }

  /** Sets a modification time in the first form that the server takes; undefined where it takes none. */
  async setTime(path: string, modifiedMs: number): Promise<number | undefined> {
    const form = this.#line.profile.facts.setTime;
    if (form === 'none') return undefined;
    try {
      await this.#line.client.setModified(path, modifiedMs, form);
      return wholeSeconds(modifiedMs);
    } catch (error) {
      if (judge(error).decision !== 'fallback') throw error;
      return this.#setTimeAfter(form, path, modifiedMs);
    }
  }

  /**
   * Asks for the permissions of a file by itself.
   *
   * @returns `refused` where the server said no for good, or was not asked since it said so before
   * @throws {FtpError} a refusal for now, and what is no word about permissions, such as a lost connection
   */
  async setPermissions(path: string, permissions: number): Promise<'set' | 'refused'> {
    if (this.#line.profile.facts.chmod === 'none') return 'refused';
    try {
      await this.#line.client.setPermissions(path, permissions & 0o777);
      return 'set';
    } catch (error) {
      // 202 says that the command is superfluous here, so nothing was set.
      if (isRefusal(error) || (error instanceof FtpError && error.reply?.code === 202)) return 'refused';
      throw error;
    }
  }

  /** Permissions were refused for a file that is there: they are not asked for any more. */
  noPermissions(): void {
    this.#line.profile.learn(
      'chmod',
      'none',
      `${this.#line.where} does not set permissions (SITE CHMOD): files have those that it gives them.`,
    );
  }

  async #setTimeAfter(failed: SetTimeForm, path: string, modifiedMs: number): Promise<number | undefined> {
    for (const form of SET_TIME_FORMS.slice(SET_TIME_FORMS.indexOf(failed) + 1)) {
      try {
        await this.#line.client.setModified(path, modifiedMs, form);
        this.#line.profile.learn(
          'setTime',
          form,
          `${this.#line.where} sets modification times with ${form}.`,
        );
        return wholeSeconds(modifiedMs);
      } catch (error) {
        if (judge(error).decision !== 'fallback') throw error;
      }
    }
    this.#line.profile.learn(
      'setTime',
      'none',
      `${this.#line.where} cannot set modification times: the ledger remembers them.`,
    );
    return undefined;
  }
}
