/*
 * A remote in memory that fails on demand: a trouble says before, behind or in the middle of which step something goes
 * wrong, how often, and what. A reply may be lost although what was asked for was done, bytes may stop on the way,
 * and a listing may be refused, cut or incomplete. Drawn by lot elsewhere; here it is data, so a sequence can be
 * played again.
 */
import { FtpError } from '../../../src/ftp/errors.js';
import type { RelativePath } from '../../../src/plan/entry.js';
import type {
  Delivered,
  DeliverOptions,
  Delivery,
  FetchOptions,
  ListOptions,
  OperationOptions,
  RemoteDirectory,
  Source,
} from '../../../src/remote/remote.js';
import { MemoryRemote, type MemoryTree, refusal, type Step } from '../../support/memory-remote.js';

/** `whole`: the operation as it is seen from outside, with all its steps done. */
export type Trouble =
  | {
      readonly kind: 'step';
      readonly what: 'later' | 'never' | 'full' | 'lost';
      readonly step: Step['step'];
      /** The first that strikes, counted from 1. */
      readonly nth: number;
      readonly times: number;
    }
  /** Done, and the reply is lost. */
  | {
      readonly kind: 'unheard';
      readonly operation: 'deliver' | 'remove' | 'move' | 'makeDirectory' | 'removeDirectory' | 'makeLink';
      readonly nth: number;
      readonly times: number;
    }
  /** The bytes of a transfer stop. */
  | {
      readonly kind: 'cut';
      readonly way: 'up' | 'down';
      readonly nth: number;
      readonly times: number;
      readonly atByte: number;
    }
  /** One directory, for the whole run. `unproven`: cut, with nothing to show for it, and every other name is missing. */
  | {
      readonly kind: 'listing';
      readonly directory: string;
      readonly what: 'refused' | 'unproven' | 'incomplete';
    };

/** What a run has to put up with. */
export class Weather {
  readonly #troubles: readonly Trouble[];
  readonly #met = new Map<Trouble, number>();
  /** How many steps were taken. */
  steps = 0;
  /** Called before each step with its number. */
  readonly #onStep: (step: number) => void;

  constructor(troubles: readonly Trouble[], onStep: (step: number) => void = () => {}) {
    this.#troubles = troubles;
    this.#onStep = onStep;
  }

  before({ step }: Step): void {
    this.steps += 1;
    this.#onStep(this.steps);
    for (const trouble of this.#troubles) {
      if (trouble.kind === 'step' && trouble.step === step && this.#isDue(trouble)) {
        throw errorOf(trouble.what, step);
      }
    }
  }

  unheard(operation: Extract<Trouble, { kind: 'unheard' }>['operation']): void {
    for (const trouble of this.#troubles) {
      if (trouble.kind === 'unheard' && trouble.operation === operation && this.#isDue(trouble)) {
        throw lost(operation);
      }
    }
  }

  cutAt(way: 'up' | 'down'): number | undefined {
    for (const trouble of this.#troubles) {
      if (trouble.kind === 'cut' && trouble.way === way && this.#isDue(trouble)) return trouble.atByte;
    }
    return undefined;
  }

  listing(directory: string): Extract<Trouble, { kind: 'listing' }>['what'] | undefined {
    for (const trouble of this.#troubles) {
      if (trouble.kind === 'listing' && trouble.directory === directory) return trouble.what;
    }
    return undefined;
  }

  #isDue(trouble: Exclude<Trouble, { kind: 'listing' }>): boolean {
    const met = (this.#met.get(trouble) ?? 0) + 1;
    this.#met.set(trouble, met);
    return met >= trouble.nth && met < trouble.nth + trouble.times;
  }
}

function lost(verb: string): FtpError {
  return new FtpError('lost', 'The connection ended without a word.', { phase: 'transfer', verb });
}

function errorOf(what: 'later' | 'never' | 'full' | 'lost', step: Step['step']): FtpError {
  const phase = step === 'store' || step === 'retrieve' || step === 'list' ? 'transfer' : 'command';
  switch (what) {
    case 'later':
      return refusal(step, phase, 451, 'Local error in processing.', 'nas');
    case 'never':
      return refusal(step, phase, 550, 'Permission denied.', 'nas');
    case 'full':
      return refusal(step, phase, 452, 'Insufficient storage space.', 'nas');
    case 'lost':
      return lost(step);
  }
}

export class WeatherRemote extends MemoryRemote {
  readonly #weather: Weather;

  constructor(tree: MemoryTree, weather: Weather) {
    super({ tree, label: 'nas:dumps', before: (step) => weather.before(step) });
    this.#weather = weather;
    const own = this.links;
    this.links = {
      ...own,
      make: async (making, options) => {
        const made = await own.make(making, options);
        weather.unheard('makeLink');
        return made;
      },
    };
  }

  override async deliver(delivery: Delivery, options?: DeliverOptions): Promise<Delivered> {
    const atByte = this.#weather.cutAt('up');
    const { source } = delivery;
    const given = atByte === undefined ? delivery : { ...delivery, source: cut(source, atByte) };
    const delivered = await super.deliver(given, options);
    this.#weather.unheard('deliver');
    return delivered;
  }

  override fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    options?: FetchOptions,
  ): Promise<number> {
    let left = this.#weather.cutAt('down');
    if (left === undefined) return super.fetch(path, sink, options);
    return super.fetch(
      path,
      async (chunk) => {
        const some = chunk.subarray(0, left);
        left = (left ?? 0) - some.length;
        await sink(some);
        if (some.length < chunk.length) throw lost('RETR');
      },
      options,
    );
  }

  override async list(directory: RelativePath | '', options?: ListOptions): Promise<RemoteDirectory> {
    const what = this.#weather.listing(directory);
    if (what === 'refused') throw refusal('MLSD', 'transfer', 550, 'Permission denied.', this.label);
    const listing = await super.list(directory, options);
    if (what === undefined) return listing;
    const some = <Item>(items: readonly Item[]): Item[] => items.filter((_, i) => i % 2 === 0);
    return {
      files: some(listing.files),
      directories: some(listing.directories),
      ...(listing.links === undefined ? {} : { links: some(listing.links) }),
      others: some(listing.others),
      complete: what === 'unproven',
      proven: false,
    };
  }

  override async remove(path: RelativePath, options?: OperationOptions): Promise<void> {
    await super.remove(path, options);
    this.#weather.unheard('remove');
  }

  override async move(
    from: RelativePath,
    to: RelativePath,
    options?: OperationOptions,
  ): Promise<'moved' | 'missing' | 'occupied'> {
    const moved = await super.move(from, to, options);
    this.#weather.unheard('move');
    return moved;
  }

  override async makeDirectory(path: RelativePath | '', options?: OperationOptions): Promise<void> {
    await super.makeDirectory(path, options);
    this.#weather.unheard('makeDirectory');
  }

  override async removeDirectory(
    path: RelativePath,
    options?: OperationOptions,
  ): Promise<'removed' | 'not-empty'> {
    const removed = await super.removeDirectory(path, options);
    this.#weather.unheard('removeDirectory');
    return removed;
  }
}

/** A source whose connection breaks at that byte. */
function cut(source: Source, atByte: number): Source {
  return {
    sizeBytes: source.sizeBytes,
    modifiedMs: source.modifiedMs,
    digestOf: (bytes, algorithm) => source.digestOf(bytes, algorithm),
    confirm: () => source.confirm(),
    async *chunks(reading) {
      let left = atByte;
      for await (const chunk of source.chunks(reading)) {
        const some = chunk.subarray(0, left);
        left -= some.length;
        yield some;
        if (some.length < chunk.length) throw lost('STOR');
      }
    },
  };
}
