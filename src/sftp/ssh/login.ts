/*
 * How somebody logs in (RFC 4252): which way is tried next, by what the server offers, and what is said when all are
 * refused. Keys come first, then the password, then a question that only the password can answer (RFC 4256). Each is
 * shown once, so that no mistake of ours locks an account. Pure: ssh.ts carries the steps out.
 */
import { printable } from '../printable.js';

/** A way that can be tried; keys by their place in `keys`. */
export type LoginStep =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly index: number }
  | { readonly kind: 'password' }
  | { readonly kind: 'questions' };

/** A key that can be shown. */
export interface LoginKey {
  /** How it is called in a message: `the private key (ED25519 SHA256:...)`. */
  readonly label: string;
  /** What comes of an `agent`'s key is not told, so it has to be asked for. */
  readonly from: 'file' | 'agent';
}

/** What a server asks in keyboard-interactive. */
export interface Question {
  readonly prompt: string;
  /** True where the answer may be seen: no password then. */
  readonly echo?: boolean | undefined;
}

export type Answers =
  | { readonly kind: 'answers'; readonly answers: readonly string[] }
  | { readonly kind: 'refused'; readonly message: string };

/** What there is to log in with, and what was found out about it before. */
export interface LoginOptions {
  readonly where: string;
  readonly user: string;
  readonly password: string | undefined;
  readonly keys: readonly LoginKey[];
  /** What could not be had (an agent that is gone), in sentences. */
  readonly troubles: readonly string[];
}

/** An OpenSSH server ends the connection at the sixth refusal; the password wants to be one of them. */
const MOST_KEYS = 5;

/** What a one-time code is asked for with: a password is no answer to that, though nobody sees it. */
const ONE_TIME =
  /one.?time|\botp\b|token|verification|passcode|authenticator|two.?factor|2fa|\bpin\b|challenge|yubi|duo\b/i;

/** One login, from the first step to the sentence that says why there is no next one. */
export class Login {
  readonly #options: LoginOptions;
  #offered: readonly string[] | undefined;
  #last: LoginStep | undefined;
  #nextKey = 0;
  #password: 'untried' | 'shown' | 'taken' = 'untried';
  #questions: 'unasked' | 'asked' | 'answered' = 'unasked';
  #asked: 'once' | 'again' = 'once';
  #steps = 0;
  readonly #tried: string[] = [];
  readonly #remarks: string[] = [];

  constructor(options: LoginOptions) {
    this.#options = options;
  }

  /** How many ways were tried; the first only asks what there is. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * The next way to try, undefined where there is none left.
   *
   * @param offered what the server says can go on; undefined before it was asked
   * @param last `partial`: the way before was right, and the server wants another one besides
   */
  next(offered: readonly string[] | undefined, last: 'refused' | 'partial'): LoginStep | undefined {
    if (offered === undefined) return this.#go({ kind: 'none' });
    const before = this.#last;
    this.#offered = offered;
    if (last === 'partial' && before?.kind === 'password') this.#password = 'taken';
    if (last === 'partial' && this.#tried.length > 0)
      this.#tried.push(`${this.#tried.pop()} (right, but not enough)`);
    const { keys, password } = this.#options;
    if (offered.includes('publickey') && this.#nextKey < Math.min(keys.length, this.#mostKeys())) {
      const index = this.#nextKey++;
      this.#tried.push(keys[index]?.label ?? 'a key');
      return this.#go({ kind: 'key', index });
    }
    if (password !== undefined && this.#password === 'untried' && offered.includes('password')) {
      this.#password = 'shown';
      this.#tried.push('the password');
      return this.#go({ kind: 'password' });
    }
    // A password that was refused is refused here too, and would count twice.
    const mayAnswer = password !== undefined && this.#password !== 'shown' && this.#questions === 'unasked';
    if (mayAnswer && offered.includes('keyboard-interactive')) {
      this.#questions = 'asked';
      return this.#go({ kind: 'questions' });
    }
    // Whether an agent's key was half of what it takes is not told, and what else is wanted neither.
    const isAgents = before?.kind === 'key' && keys[before.index]?.from === 'agent';
    if (isAgents && mayAnswer && this.#asked === 'once') {
      this.#asked = 'again';
      return this.#go({ kind: 'none' });
    }
    return undefined;
  }

  #go(step: LoginStep): LoginStep {
    this.#last = step;
    this.#steps += 1;
    return step;
  }

  #mostKeys(): number {
    return this.#options.password === undefined ? MOST_KEYS : MOST_KEYS - 1;
  }

  /** The answers to what a server asks. Only a single hidden prompt is answered, once, with the password. */
  answer(questions: readonly Question[]): Answers {
    const { where, user, password } = this.#options;
    if (questions.length === 0) return { kind: 'answers', answers: [] };
    const [question] = questions;
    const isPassword =
      question !== undefined &&
      questions.length === 1 &&
      question.echo !== true &&
      !ONE_TIME.test(question.prompt) &&
      this.#questions !== 'answered' &&
      this.#password === 'untried';
    if (isPassword && password !== undefined) {
      this.#questions = 'answered';
      this.#password = 'shown';
      this.#tried.push('the password (as the answer to a question)');
      return { kind: 'answers', answers: [password] };
    }
    const asked = questions
      .slice(0, 3)
      .map(({ prompt }) => `"${printable(prompt, password === undefined ? [] : [password])}"`);
    const again =
      this.#questions === 'answered' && question?.echo !== true && !ONE_TIME.test(question?.prompt ?? '')
        ? ' It may be that the password is wrong.'
        : '';
    return {
      kind: 'refused',
      message: `${where} asks ${user} for ${asked.join(' and ')}, which nobody is there to answer.${again} Log in with a key instead (privateKey:), or have the server not ask this account.`,
    };
  }

  /** Something to say where the login fails: `the agent refuses to sign`. Cleaned by the caller. */
  remark(sentence: string): void {
    if (this.#remarks.length < 3 && sentence !== '') this.#remarks.push(sentence);
  }

  /** What was tried, what the server offers, and what to do. */
  refusal(): string {
    const { where, user, keys, password, troubles } = this.#options;
    const offered = this.#offered ?? [];
    const tried =
      this.#tried.length === 0
        ? 'there was nothing to try that it offers'
        : `tried: ${this.#tried.join(', ')}`;
    const offers =
      offered.length === 0
        ? ''
        : ` It offers: ${offered
            .slice(0, 8)
            .map((way) => printable(way))
            .join(', ')}.`;
    const untriedKeys = keys.length - this.#nextKey;
    const more =
      offered.includes('publickey') && untriedKeys > 0
        ? ` ${untriedKeys} more ${untriedKeys === 1 ? 'key was' : 'keys were'} not shown, since servers end the connection after a few: write the right one as privateKey.`
        : '';
    const remarks = [...troubles, ...this.#remarks].map((remark) => ` ${remark}`).join('');
    return `${where} does not let ${printable(user)} in; ${tried}.${offers}${remarks}${more} ${this.#advice(offered, { keys: keys.length > 0, password: password !== undefined })}`;
  }

  #advice(offered: readonly string[], has: { readonly keys: boolean; readonly password: boolean }): string {
    const takesKeys = offered.includes('publickey');
    const takesPassword = offered.includes('password') || offered.includes('keyboard-interactive');
    if (has.password && !has.keys && takesKeys && !takesPassword)
      return 'This account needs a key: write privateKey.';
    if (has.keys && !has.password && takesPassword && !takesKeys)
      return 'This account needs a password: write password.';
    if (has.keys && takesKeys)
      return `Is the user right, and is the public key in its authorized_keys there?${has.password ? ' Is the password right?' : ''}`;
    return 'Are user and password right?';
  }
}
