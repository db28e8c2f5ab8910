/*
 * What the server says of a file that was stored: its size, its hash where it has a command for one that works, and
 * by the way how its clock goes. Whether that is what was sent, the lane decides.
 */
import type { Features, HashForm, HashRefusal, Proof, ProveStep } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { hashForms } from '../../ftp/hash.js';
import type { Digest } from '../../plan/digest.js';
import { wholeSeconds } from '../remote.js';
import type { Attributes } from './attributes.js';
import type { Line } from './line.js';
import { isMissingSize, lacksSize } from './refusal.js';
import type { FileStatus, Tree } from './tree.js';

/** What the server says of a file that was stored. */
export interface Held extends FileStatus {
  /** The server's own hash of it, where it told one. */
  readonly digest: Digest | undefined;
}

/** A slow disk reads so many bytes in a millisecond; and hashing needs a moment to begin. */
const HASHED_BYTES_PER_MS = 5_000;
const HASHING_BEGINS_MS = 10_000;

/** A clock that is off by less than this is nothing to talk about. */
const CLOCK_NOTICE_MS = 60_000;

export class Proofs {
  readonly #line: Line;
  readonly #tree: Tree;
  readonly #attributes: Attributes;

  constructor(line: Line, parts: { readonly tree: Tree; readonly attributes: Attributes }) {
    this.#line = line;
    this.#tree = parts.tree;
    this.#attributes = parts.attributes;
  }

  /** The algorithm in which the server will be asked for a hash, so that it can be computed on the way. */
  get hashAlgorithm(): HashForm['algorithm'] | undefined {
    return this.#hashForm?.algorithm;
  }

  /** True where a person has said that a file's size is proof enough. */
  get trustsSize(): boolean {
    return this.#line.verify === 'size';
  }

  /** True where a file counts as delivered only when a hash proves it. */
  get wantsHash(): boolean {
    return this.#line.verify === 'hash';
  }

  /** The step by which a file that was sent is proven. */
  proofOf(path: string, modifiedMs: number, sizeBytes: number, permissions?: number): ProveStep {
    const { setTime, chmod } = this.#line.profile.facts;
    return {
      path,
      modifiedMs,
      form: setTime === 'none' ? 'MFMT' : setTime,
      permissions: chmod === 'none' || permissions === undefined ? undefined : permissions & 0o777,
      hash: this.#hashForm,
      hashingMs: hashingMs(sizeBytes),
      clock: this.#asksClock() ? 'ask' : 'leave',
    };
  }

  /**
   * Asks what became of a file that was just stored, and sets its time.
   *
   * @returns its size, the time that the server took over, in whole seconds, and the server's hash of it
   */
  async prove(path: string, modifiedMs: number, sentBytes: number): Promise<Held> {
    const { facts } = this.#line.profile;
    if (facts.size === 'SIZE' && facts.setTime !== 'none') {
      const step = this.proofOf(path, modifiedMs, sentBytes);
      try {
        const proof = await this.#line.client.prove(step);
        return {
          sizeBytes: proof.sizeBytes,
          digest: this.hear(step, proof),
          modifiedMs: await this.#attributes.timeAfter(proof.timeReply, step.form, path, modifiedMs),
        };
      } catch (error) {
        this.sizeRefused(error, path);
      }
    }
    const sizeBytes = await this.#tree.size(path);
    if (sizeBytes === undefined) throw this.#vanished(path);
    const digest = await this.hash(path, sizeBytes);
    return { sizeBytes, digest, modifiedMs: await this.#attributes.setTime(path, modifiedMs) };
  }

  /** Takes down what a proof says besides the size; returns the server's hash, where it told one. */
  hear(step: ProveStep, proof: Proof): Digest | undefined {
    if (proof.storedMs !== undefined) this.#learnClock(proof.storedMs);
    if (step.hash === undefined || proof.digest === undefined) return undefined;
    if (typeof proof.digest === 'string') return { algorithm: step.hash.algorithm, hex: proof.digest };
    this.#hashRefused(step.hash, proof.digest);
    return undefined;
  }

  /** Returns where SIZE was refused because the server does not have it; throws what it means else. */
  sizeRefused(error: unknown, path: string): void {
    if (isMissingSize(error)) throw this.#vanished(path);
    if (!lacksSize(error)) throw error;
    this.#tree.noSize();
  }

  /** The server's hash of a file, or undefined where it tells none. */
  async hash(path: string, sizeBytes: number): Promise<Digest | undefined> {
    for (let form = this.#hashForm; form !== undefined; form = this.#hashForm) {
      try {
        const hex = await this.#line.client.hash(path, form, hashingMs(sizeBytes));
        return { algorithm: form.algorithm, hex };
      } catch (error) {
        if (!(error instanceof FtpError) || error.kind !== 'reply' || error.reply === undefined) throw error;
        if (!this.#hashRefused(form, { refused: error.reply })) return undefined;
      }
    }
    return undefined;
  }

  /** The server's hashes do not fit its own files. */
  distrustHashes(): void {
    this.#line.profile.learn(
      'hash',
      'none',
      `${this.#line.where} tells wrong hashes of files that it holds rightly: they are not asked for any more.`,
    );
  }

  get #hashForm(): HashForm | undefined {
    const { hash } = this.#line.profile.facts;
    return this.#line.verify === 'size' || hash === 'none' ? undefined : hash;
  }

  /** @returns true where another form is left to ask in */
  #hashRefused(form: HashForm, { refused }: HashRefusal): boolean {
    // Refused for now, or for this file, says nothing about the next one.
    if (refused.code >= 400 && ![500, 501, 502, 503, 504].includes(refused.code)) return false;
    const known = this.#line.profile.facts.hash;
    if (known === undefined || known === 'none' || known.verb !== form.verb) return true;
    const forms = hashForms(featureMap(this.#line.profile.facts.features ?? []));
    // A verb that was refused is not asked in another algorithm: else two of them would take turns for ever.
    const verbs = [...new Set(forms.map(({ verb }) => verb))];
    const nextVerb = verbs[verbs.indexOf(form.verb) + 1];
    const next = forms.find(({ verb }) => verb === nextVerb);
    this.#line.profile.learn(
      'hash',
      next ?? 'none',
      next === undefined
        ? `${this.#line.where} has no command for hashes that works: files are proven by their size.`
        : `${this.#line.where} does not do ${form.verb}: ${next.verb} is used.`,
    );
    return next !== undefined;
  }

  #asksClock(): boolean {
    if (this.#line.profile.facts.clockOffsetMs !== undefined || this.#line.profile.clock === 'asked')
      return false;
    this.#line.profile.clock = 'asked';
    return true;
  }

  #learnClock(storedMs: number): void {
    const offsetMs = wholeSeconds(storedMs - Date.now());
    const seconds = Math.round(Math.abs(offsetMs) / 1000);
    if (Math.abs(offsetMs) < CLOCK_NOTICE_MS) this.#line.profile.note('clockOffsetMs', offsetMs);
    else
      this.#line.profile.learn(
        'clockOffsetMs',
        offsetMs,
        `the clock of ${this.#line.where} is about ${seconds} s ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine's.`,
      );
  }

  #vanished(path: string): FtpError {
    return new FtpError('mismatch', `${this.#line.where} confirmed ${path} and does not have it.`, {
      phase: 'transfer',
    });
  }
}

function hashingMs(sizeBytes: number): number {
  return HASHING_BEGINS_MS + Math.ceil(sizeBytes / HASHED_BYTES_PER_MS);
}

function featureMap(features: readonly string[]): Features {
  return new Map(
    features.map((line) => {
      const space = line.indexOf(' ');
      return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    }),
  );
}
