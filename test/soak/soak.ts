/*
 * The soak: a real daemon with five jobs to a server that speaks FTPS and one that speaks SFTP, users who never rest,
 * and a world that is against it. For a while everything happens at once (kills, stops, servers that go and come, links
 * that cut, stall, refuse and forget); then, for the longer part, all but the kills, so that one process grows old enough
 * to be weighed. In the end all is quiet, and both sides have to be what their users made of them.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Chance } from './chance.js';
import { Contents } from './content.js';
import { type Carried, Counts, DaemonProcess, type Sample } from './daemon.js';
import { type Flatness, flatness } from './flat.js';
import { type Ground, grounds, type Shore, type Site } from './ground.js';
import { type Harbour, PASSWORD } from './harbour.js';
import { FtpsHarbour } from './harbour-ftps.js';
import { SftpHarbour } from './harbour-sftp.js';
import type { End, Ending } from './relay.js';
import { halves } from './tree.js';
import { type Owner, Workshop } from './workshop.js';

export interface SoakOptions {
  /** How long the world is against it; settling comes on top. */
  readonly lengthMs: number;
  readonly seed: number;
  /** Existing empty directory. */
  readonly directory: string;
  /** How to start ferryd. */
  readonly program: readonly string[];
  /** Aborted: the disturbance ends now, and the rest follows. */
  readonly signal: AbortSignal;
  /** Hears what happens, a line each. */
  readonly say: (line: string) => void;
}

/** What a soak comes to. */
export interface SoakResult {
  readonly seed: number;
  /** What each server had to do, under the name that the jobs know. */
  readonly servers: Readonly<Record<string, ServerResult>>;
  /** What is wrong, a line each; nothing where all is well. */
  readonly problems: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
  /** How often each event was told. */
  readonly events: Readonly<Record<string, number>>;
  readonly memory: Readonly<Record<'oneProcess' | 'youngProcesses', Flatness>>;
  readonly descriptors: Flatness;
}

/** One server, and what its jobs carried. */
export interface ServerResult extends Readonly<Carried> {
  readonly kind: Harbour['kind'];
  readonly jobs: readonly string[];
}

/** A deed of the world's. */
type Blow = () => Promise<void>;

/** Draws how long something lasts, in milliseconds. */
type Pause = (leastMs: number, mostMs: number) => number;

/** Of the whole: kills and stops of the daemon happen in this part of it. */
const KILLS_SHARE = 0.45;
const DEED_MS = { least: 40, most: 360 } as const;
const SAMPLE_MS = 2_000;
const LOOK_MS = 700;
const SETTLE_WITHIN_MS = 5 * 60_000;

/** A process is weighed against itself once it has seen everything. */
const WARM_MS = 120_000;
/** Killed processes are weighed at this age, the first of them against the last. */
const YOUNG_MS = { least: 8_000, most: 30_000 } as const;
const MEMORY_BOUND = { factor: 1.25, plus: 16 * 1024 } as const;
const DESCRIPTORS_BOUND = { factor: 1, plus: 6 } as const;

const run = promisify(execFile);

/** One soak. To be used once. */
export class Soak {
  readonly #options: SoakOptions;
  readonly #chance: Chance;
  readonly #counts = new Counts();
  readonly #problems = new Set<string>();
  readonly #young: number[] = [];
  readonly #old: Sample[] = [];
  readonly #tally = {
    ...{ kills: 0, stops: 0, cuts: 0, stalls: 0, refusals: 0, forsaken: 0, restarts: 0 },
    ...{ deeds: 0, looks: 0 },
  };
  readonly #grounds: readonly Ground[];
  readonly #harbours: readonly Harbour[];
  #daemon: DaemonProcess | undefined;
  #phase: 'kills' | 'one process' | 'settling' = 'kills';

  private constructor(
    options: SoakOptions,
    chance: Chance,
    harbours: readonly Harbour[],
    everyGround: readonly Ground[],
  ) {
    this.#options = options;
    this.#chance = chance;
    this.#harbours = harbours;
    this.#grounds = everyGround;
  }

  /** Runs a whole soak and takes away what it started; the directory stays. */
  static async run(options: SoakOptions): Promise<SoakResult> {
    const { directory, seed } = options;
    const chance = new Chance(seed);
    const harbours: Harbour[] = [];
    try {
      for (const name of ['here', 'there', 'workshop', 'jobs']) await mkdir(join(directory, name));
      await openAll(harbours, options, chance);
      const contents = new Contents(chance.fork());
      const { uid, gid } = userInfo();
      const here = await shore(directory, 'here', { uid, gid });
      const sites: Site[] = [];
      for (const { name, owner } of harbours) {
        const there = await shore(directory, `there/${name}`, owner);
        const links = name === 'vault' ? 'preserve' : 'skip';
        sites.push({ here, server: name, there, links, contents, chance: chance.fork() });
      }
      const soak = new Soak(options, chance, harbours, grounds(sites, chance.fork()));
      try {
        return await soak.#run();
      } finally {
        await soak.#daemon?.kill();
      }
    } finally {
      for (const harbour of harbours) await harbour[Symbol.asyncDispose]();
    }
  }

  async #run(): Promise<SoakResult> {
    const { lengthMs, say } = this.#options;
    const beganMs = performance.now();
    const cpu = process.cpuUsage();
    await this.#writeJobs();
    for (const ground of this.#grounds) await ground.plant();
    await this.#start();

    say(`Kills, cuts and restarts for ${seconds(lengthMs * KILLS_SHARE)} s.`);
    await this.#storm(lengthMs * KILLS_SHARE, 'kills');
    say(`One process, cuts and restarts for ${seconds(lengthMs * (1 - KILLS_SHARE))} s.`);
    await this.#storm(lengthMs * (1 - KILLS_SHARE), 'one process');
    this.#phase = 'settling';
    const stormMs = performance.now() - beganMs;
    say('All is quiet now; both sides have to agree.');
    const settledMs = await this.#settle();
    await this.#daemon?.stop();
    await this.#runAgain();
    for (const oddity of this.#counts.oddities) this.#problems.add(oddity);

    const { user, system } = process.cpuUsage(cpu);
    const allMs = performance.now() - beganMs;
    return this.#result({
      ...this.#tally,
      runs: this.#counts.runs,
      ...this.#carried([...this.#counts.carried.keys()]),
      failuresTold: Object.values(this.#counts.failures).reduce((sum, count) => sum + count, 0),
      stormSeconds: seconds(stormMs),
      settledSeconds: seconds(settledMs),
      driverCpuPercent: Math.round((user + system) / 10 / allMs),
    });
  }

  #result(figures: SoakResult['figures']): SoakResult {
    const weights = this.#old.map(({ rssKib }) => rssKib);
    const memory = {
      oneProcess: flatness(weights, MEMORY_BOUND),
      youngProcesses: flatness(this.#young, MEMORY_BOUND),
    };
    const descriptors = flatness(
      this.#old.map((sample) => sample.descriptors),
      DESCRIPTORS_BOUND,
    );
    for (const [what, { verdict, first, last, limit }] of Object.entries({ ...memory, descriptors })) {
      if (verdict === 'grew')
        this.#problems.add(`${what}: grew from ${first} to ${last}, and ${Math.round(limit)} is the limit`);
    }
    return {
      seed: this.#options.seed,
      servers: Object.fromEntries(this.#harbours.map((harbour) => [harbour.name, this.#served(harbour)])),
      problems: [...this.#problems],
      figures,
      outcomes: this.#counts.outcomes,
      failures: this.#counts.failures,
      events: this.#counts.events,
      memory,
      descriptors,
    };
  }

  #served({ name, kind }: Harbour): ServerResult {
    const jobs = this.#grounds.filter(({ server }) => server === name).map((ground) => ground.name);
    return { kind, jobs, ...this.#carried(jobs) };
  }

  #carried(jobs: readonly string[]): Carried {
    const sum: Carried = { uploaded: 0, downloaded: 0, deleted: 0, bytes: 0 };
    for (const job of jobs) {
      const { uploaded = 0, downloaded = 0, deleted = 0, bytes = 0 } = this.#counts.carried.get(job) ?? {};
      sum.uploaded += uploaded;
      sum.downloaded += downloaded;
      sum.deleted += deleted;
      sum.bytes += bytes;
    }
    return sum;
  }

  async #writeJobs(): Promise<void> {
    const jobs = join(this.#options.directory, 'jobs');
    const entries = Object.fromEntries(this.#harbours.map(({ name, entry }) => [name, entry]));
    await writeFile(join(jobs, 'servers.yaml'), JSON.stringify(entries));
    for (const { files } of this.#harbours)
      for (const [name, content] of Object.entries(files))
        await writeFile(join(jobs, name), content, { mode: 0o600 });
    for (const { name, job } of this.#grounds)
      await writeFile(join(jobs, `${name}.yaml`), JSON.stringify(job));
  }

  /** Users, watchers and the world, all at once, until the time is over. */
  async #storm(lengthMs: number, phase: 'kills' | 'one process'): Promise<void> {
    this.#phase = phase;
    const untilMs = performance.now() + lengthMs;
    const over = (): boolean => performance.now() >= untilMs || this.#options.signal.aborted;
    const chances = this.#grounds.map(() => this.#chance.fork());
    const users = this.#grounds.map(async (ground, at) => {
      const chance = chances[at] ?? this.#chance;
      while (!over()) {
        await ground.disturb();
        this.#tally.deeds += 1;
        await this.#rest(chance.between(DEED_MS.least, DEED_MS.most) * this.#grounds.length);
      }
    });
    await Promise.all([...users, ...this.#against(lengthMs, over), this.#weigh(over), this.#look(over)]);
  }

  /** What the world does to each server, and to the daemon: all of it in turn, each time in another order. */
  #against(lengthMs: number, over: () => boolean): Promise<void>[] {
    // A short soak sees everything as well.
    const pace = Math.min(1, lengthMs / 100_000);
    return this.#harbours.map(async (harbour, at) => {
      const chance = this.#chance.fork();
      const pause: Pause = (leastMs, mostMs) => chance.between(leastMs, mostMs) * pace;
      // The daemon dies once for all servers.
      const deaths = this.#phase === 'kills' && at === 0 ? this.#deaths(pause) : [];
      const blows = [...this.#network(harbour, chance, pause), ...deaths];
      while (!over()) {
        for (const blow of chance.shuffled(blows)) {
          await this.#rest(pause(1_000, 7_000));
          if (over()) break;
          await blow();
        }
      }
      harbour.relay.behave();
    });
  }

  #network(harbour: Harbour, chance: Chance, pause: Pause): readonly Blow[] {
    const { relay } = harbour;
    const ending = (): Ending => chance.pick(['reset', 'close']);
    const forsake = (left: End): void => {
      this.#tally.forsaken += relay.forsake((from) => chance.pick(from), left);
    };
    return [
      async () => {
        this.#tally.cuts += relay.cutAll(ending());
      },
      async () => {
        this.#tally.cuts += relay.cutOne((from) => chance.pick(from), ending());
      },
      async () => {
        this.#tally.cuts += 1;
        relay.trap(chance.between(0, 200_000), ending());
      },
      async () => forsake('client'),
      async () => forsake('server'),
      async () => {
        this.#tally.stalls += 1;
        relay.stall();
        // From a hiccup to longer than the daemon waits.
        await this.#rest(pause(200, 9_000));
        relay.behave();
      },
      async () => {
        this.#tally.refusals += 1;
        relay.refuse();
        await this.#rest(pause(500, 6_000));
        relay.behave();
      },
      async () => {
        this.#tally.restarts += 1;
        await harbour.down();
        await this.#rest(pause(0, 6_000));
        await harbour.up();
      },
      // Now and then it is left in peace.
      () => this.#rest(pause(5_000, 12_000)),
    ];
  }

  #deaths(pause: Pause): readonly Blow[] {
    return [
      async () => {
        this.#tally.kills += 1;
        await this.#daemon?.kill();
        await this.#rest(pause(0, 2_000));
        await this.#start();
      },
      async () => {
        this.#tally.kills += 1;
        await this.#daemon?.kill();
        await this.#start();
      },
      async () => {
        this.#tally.stops += 1;
        await this.#daemon?.stop();
        await this.#rest(pause(0, 2_000));
        await this.#start();
      },
    ];
  }

  async #weigh(over: () => boolean): Promise<void> {
    while (!over()) {
      const sample = await this.#daemon?.look();
      if (sample !== undefined) this.#keep(sample);
      await this.#rest(SAMPLE_MS);
    }
  }

  #keep(sample: Sample): void {
    if (this.#phase === 'one process') {
      if (sample.ageMs >= WARM_MS) this.#old.push(sample);
    } else if (sample.ageMs >= YOUNG_MS.least && sample.ageMs <= YOUNG_MS.most) {
      this.#young.push(sample.rssKib);
    }
  }

  /** Reads what stands under final names, as anybody might at any time. */
  async #look(over: () => boolean): Promise<void> {
    const chance = this.#chance.fork();
    while (!over()) {
      const directory = chance.pick(this.#grounds.flatMap(({ shown }) => shown));
      for (const line of await halves(directory, chance, 12)) this.#problems.add(line);
      this.#tally.looks += 12;
      await this.#rest(LOOK_MS);
    }
  }

  /** Waits until nothing differs any more. @returns how long that took, in milliseconds */
  async #settle(): Promise<number> {
    const [beganMs, quietMs] = [performance.now(), Date.now()];
    for (;;) {
      await sleep(1_000);
      const differing = [...this.#yetToRun(quietMs), ...(await this.#differences())];
      const tookMs = performance.now() - beganMs;
      if (differing.length === 0) return tookMs;
      if (tookMs < SETTLE_WITHIN_MS && this.#daemon?.over === false) continue;
      for (const line of differing.slice(0, 50)) this.#problems.add(line);
      if (differing.length > 50) this.#problems.add(`and ${differing.length - 50} more that differ`);
      return tookMs;
    }
  }

  /** A file that was merely touched differs nowhere, and is something to do all the same. */
  #yetToRun(quietMs: number): string[] {
    return this.#grounds
      .filter(({ name, runs }) => runs === 'by the clock' && !this.#counts.ranWellAfter(name, quietMs))
      .map(({ name }) => `${name} had no run that ended well since all is quiet`);
  }

  async #differences(): Promise<string[]> {
    const all = await Promise.all(this.#grounds.map((ground) => ground.differences()));
    return all.flat();
  }

  /** What was settled stays so: a further run of each job moves nothing, and the ledger agrees with both sides. */
  async #runAgain(): Promise<void> {
    const { program, directory } = this.#options;
    const [command = process.execPath, ...args] = program;
    const names = this.#grounds.map(({ name }) => name);
    const env = { PATH: process.env.PATH ?? '', ...this.#environment() };
    const { stdout } = await run(command, [...args, '--json', 'run', ...names], {
      cwd: directory,
      env,
    }).catch((error: { readonly stdout?: string }) => ({ stdout: error.stdout ?? '' }));
    const lines = stdout.split('\n').filter((line) => line !== '');
    if (lines.length !== names.length)
      this.#problems.add(`A further run of ${names.length} jobs told of ${lines.length}`);
    for (const line of lines) {
      const { job, outcome, uploaded, downloaded, deleted } = JSON.parse(line) as Record<string, unknown>;
      if (outcome !== 'ok' || uploaded !== 0 || downloaded !== 0 || deleted !== 0)
        this.#problems.add(`A further run of ${String(job)} should have found nothing to do: ${line}`);
    }
    for (const line of await this.#differences()) this.#problems.add(`After a further run: ${line}`);
  }

  async #start(): Promise<void> {
    const { program, directory } = this.#options;
    this.#daemon = new DaemonProcess({
      program,
      cwd: directory,
      environment: this.#environment(),
      logFile: join(directory, 'daemon.log'),
      counts: this.#counts,
    });
    // It may be killed before it has said a word, too.
    await this.#rest(this.#chance.between(0, 300));
  }

  #environment(): Record<string, string> {
    const { directory } = this.#options;
    return {
      HOME: directory,
      TZ: 'UTC',
      FERRYD_JOBS: join(directory, 'jobs'),
      FERRYD_LEDGER: join(directory, 'ledger.db'),
      NAS_PASSWORD: PASSWORD,
    };
  }

  /** Waits, but not beyond a call to stop. */
  async #rest(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }
}

/** Puts the servers there; each is in the list as soon as it has to be taken away. */
async function openAll(harbours: Harbour[], { directory, say }: SoakOptions, chance: Chance): Promise<void> {
  const root = async (name: Harbour['name']): Promise<string> => {
    const path = join(directory, 'there', name);
    await mkdir(path);
    return path;
  };
  harbours.push(await FtpsHarbour.open(await root('nas'), chance.fork()));
  if (SftpHarbour.possible) harbours.push(await SftpHarbour.open(await root('vault'), chance.fork()));
  else say('OpenSSH is missing, so all goes over FTPS: run .ci/servers, or install openssh-server.');
}

async function shore(directory: string, name: string, owner: Owner): Promise<Shore> {
  const workshop = join(directory, 'workshop', name.replaceAll('/', '-'));
  await mkdir(workshop);
  return { directory: join(directory, name), workshop: new Workshop(workshop, owner) };
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
