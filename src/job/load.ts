/*
 * Loads a jobs directory: servers.yaml, agent.yaml, and one job from each other *.yaml or *.yml. One bad file never
 * keeps the others from loading; whatever is wrong comes back as problems, and nothing here throws.
 * Bounded: size and number of the files. Reads no secret, and nothing outside the directory.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { readAgent } from './agent.js';
import { codeOf, readBoundedFile } from './bounded-file.js';
import { type DocumentReading, readDocument, type WrittenDocument } from './document.js';
import type { AgentSettings, Job } from './job.js';
import type { ServerLookup } from './lookup.js';
import { error, type Mistake, warning } from './mistake.js';
import { type Problem, quoted } from './problem.js';
import { type CronCheck, readJob } from './read-job.js';
import { type Reading, read, wrong } from './reading.js';
import { brokenFile, readServers } from './servers.js';
import { checkShape } from './shape.js';
import { closest } from './suggest.js';

/** What a jobs directory says. */
export interface Configuration {
  /** The jobs that can run, by name. */
  readonly jobs: readonly Job[];
  /** The defaults where agent.yaml is missing or mistaken. */
  readonly agent: AgentSettings;
  /** By file, line and column. Errors and warnings. */
  readonly problems: readonly Problem[];
  /** Absolute path of the jobs directory. */
  readonly directory: string;
}

/** Checks that need packages which this folder does not import. */
export interface Checks {
  readonly cron: CronCheck;
}

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_JOB_FILES = 1000;
const MAX_NAME_LENGTH = 100;
const JOB_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Loads everything in the directory. Never throws: what cannot be read is a problem. */
export async function loadConfiguration(directory: string, checks: Checks): Promise<Configuration> {
  const loader = new Loader(path.resolve(directory), checks);
  return loader.load();
}

/** What servers.yaml says about a name, whatever is wrong with the jobs. Never throws. */
export async function lookUpServer(directory: string, name: string, checks: Checks): Promise<ServerLookup> {
  return new Loader(path.resolve(directory), checks).server(name);
}

/** A YAML file of the directory. */
interface YamlFile {
  readonly path: string;
  readonly fileName: string;
  /** The name without its ending. */
  readonly name: string;
}

class Loader {
  readonly #directory: string;
  readonly #checks: Checks;
  readonly #problems: Problem[] = [];

  constructor(directory: string, checks: Checks) {
    this.#directory = directory;
    this.#checks = checks;
  }

  async load(): Promise<Configuration> {
    const files = await this.#list();
    const findServer = await this.#loadServers(files.servers);
    const agent = await this.#loadAgent(files.agent);
    const jobs: Job[] = [];
    for (const file of files.jobs) {
      const job = await this.#loadJob(file, findServer);
      if (job !== undefined) jobs.push(job);
    }
    const problems = this.#problems.toSorted(
      (a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column,
    );
    return { jobs, agent, problems, directory: this.#directory };
  }

  async server(name: string): Promise<ServerLookup> {
    const files = await this.#list();
    return (await this.#loadServers(files.servers))(name);
  }

  /** Finds the files, one for each name. */
  async #list(): Promise<{ servers: YamlFile | undefined; agent: YamlFile | undefined; jobs: YamlFile[] }> {
    const none = { servers: undefined, agent: undefined, jobs: [] };
    let names: string[];
    try {
      names = await readdir(this.#directory);
    } catch (thrown) {
      this.#add(this.#directory, error('', explainDirectory(thrown)));
      return none;
    }
    const byName = new Map<string, YamlFile[]>();
    for (const fileName of names.sort(compareText)) {
      const match = /^([^.].*)\.ya?ml$/is.exec(fileName);
      if (match === null) continue;
      const name = match[1] ?? '';
      const file = { path: path.join(this.#directory, fileName), fileName, name };
      byName.set(name, [...(byName.get(name) ?? []), file]);
    }
    /** Neither of two is read: the choice would be a guess. */
    const single = (name: string, job?: string): YamlFile | undefined => {
      const [first, second] = byName.get(name) ?? [];
      byName.delete(name);
      if (first !== undefined && second !== undefined) {
        this.#add(
          second.path,
          error(
            '',
            `there is ${quoted(first.fileName)} as well; ferryd reads one of them and cannot know which, so take one away`,
          ),
          job,
        );
        return undefined;
      }
      return first;
    };
    const servers = single('servers');
    const agent = single('agent');
    const jobs: YamlFile[] = [];
    for (const name of [...byName.keys()]) {
      const file = single(name, name);
      if (file !== undefined) jobs.push(file);
    }
    if (jobs.length === 0 && this.#problems.length === 0) {
      const message =
        'there is no job here; write one such as nightly-backup.yaml, with from: /var/backups and to: ftpes://HOST/PATH';
      this.#add(this.#directory, error('', message));
    }
    if (jobs.length > MAX_JOB_FILES) {
      const message = `there are ${jobs.length} job files, and only the first ${MAX_JOB_FILES} are read; divide them among several directories`;
      this.#add(this.#directory, error('', message));
    }
    return { servers, agent, jobs: jobs.slice(0, MAX_JOB_FILES) };
  }

  async #loadServers(file: YamlFile | undefined): Promise<(name: string) => ServerLookup> {
    const unknownBecause = (reason: string, names: readonly string[]) => {
      return (name: string): ServerLookup => ({
        kind: 'unknown',
        message: `no server is named ${quoted(name)} ${reason}`,
        suggestion: closest(name, names),
      });
    };
    if (file === undefined) {
      const reason = `in servers.yaml, which is missing in this directory; write one, or write ./ in front of a local path with a colon`;
      const broken = this.#problems.find(({ file: at }) => /^servers\.ya?ml$/i.test(path.basename(at)));
      return broken === undefined ? unknownBecause(reason, []) : () => brokenFile(path.basename(broken.file));
    }
    const document = await this.#read(file, undefined);
    if (document === 'empty') {
      this.#add(file.path, warning('', 'the file is empty, so there are no servers to name in jobs'));
      return unknownBecause(`in ${file.fileName}, which is empty`, []);
    }
    if (document === undefined) return () => brokenFile(file.fileName);
    const servers = readServers(document, { fileName: file.fileName, directory: this.#directory });
    this.#place(file, document, servers.mistakes, undefined);
    const unknown = unknownBecause(`in ${file.fileName}`, [...servers.byName.keys()]);
    return (name) => servers.byName.get(name) ?? servers.fallback ?? unknown(name);
  }

  async #loadAgent(file: YamlFile | undefined): Promise<AgentSettings> {
    const document = file === undefined ? undefined : await this.#read(file, undefined);
    if (file !== undefined && document === 'empty') {
      this.#add(file.path, warning('', 'the file is empty, so the defaults hold'));
    }
    const where = { directory: this.#directory, mistakes: [] };
    if (file === undefined || document === undefined || document === 'empty') return readAgent({}, where);
    const { mistakes } = checkShape('agent', document.data);
    const agent = readAgent(document.mistakes.length === 0 ? document.data : {}, where);
    this.#place(file, document, [...mistakes, ...where.mistakes], undefined);
    return agent;
  }

  async #loadJob(file: YamlFile, findServer: (name: string) => ServerLookup): Promise<Job | undefined> {
    const { name } = file;
    if (!JOB_NAME.test(name) || name.length > MAX_NAME_LENGTH) {
      const message = `a job's name is the file's name: letters, digits, - _ and ., the first a letter or digit, at most ${MAX_NAME_LENGTH}; rename the file`;
      this.#add(file.path, error('', message), name);
      return undefined;
    }
    const document = await this.#read(file, name);
    if (document === undefined) return undefined;
    if (document === 'empty') {
      this.#add(file.path, error('', 'the file is empty; write the job: from, to and triggers'), name);
      return undefined;
    }
    const { job, mistakes } = readJob(document.data, {
      name,
      file: file.path,
      directory: this.#directory,
      findServer,
      checkCron: this.#checks.cron,
    });
    this.#place(file, document, mistakes, name);
    return document.mistakes.length === 0 ? job : undefined;
  }

  /** The file's document; undefined where it cannot be read, which is a problem then. */
  async #read(file: YamlFile, job: string | undefined): Promise<WrittenDocument | 'empty' | undefined> {
    const text = await readText(file.path);
    if (!text.ok) {
      this.#add(file.path, error('', text.wrong), job);
      return undefined;
    }
    const reading: DocumentReading = readDocument(text.value);
    if (reading.kind === 'empty') return 'empty';
    const mistakes = reading.kind === 'broken' ? reading.mistakes : reading.document.mistakes;
    for (const mistake of mistakes) this.#add(file.path, mistake, job, mistake);
    return reading.kind === 'broken' ? undefined : reading.document;
  }

  #place(
    file: YamlFile,
    document: WrittenDocument,
    mistakes: readonly Mistake[],
    job: string | undefined,
  ): void {
    for (const mistake of mistakes) this.#add(file.path, mistake, job, document.place(mistake));
  }

  #add(
    file: string,
    mistake: Mistake,
    job?: string,
    place: { readonly line: number; readonly column: number } = { line: 1, column: 1 },
  ): void {
    const { severity, pointer: key, message } = mistake;
    const { line, column } = place;
    this.#problems.push({ severity, file, line, column, key, message, job });
  }
}

/** Reads a file as UTF-8. */
async function readText(file: string): Promise<Reading<string>> {
  const found = await readBoundedFile(file, MAX_FILE_BYTES);
  switch (found.kind) {
    case 'irregular':
      return wrong('is not a regular file; take it away, or rename it');
    case 'too-long':
      return wrong('the file is larger than 1 MiB, which no settings of ferryd are');
    case 'failed':
      return wrong(explainFile(found.code));
    case 'content':
      try {
        return read(new TextDecoder('utf-8', { fatal: true }).decode(found.bytes));
      } catch {
        return wrong('the file is not UTF-8 text; save it as UTF-8');
      }
  }
}

function explainFile(code: string): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'the file may not be read by the user that ferryd runs as; give it the right to (chmod, chown)';
    case 'ENOENT':
      return 'the file is a link to nothing, or was taken away just now';
    case 'ELOOP':
      return 'the file is a link that leads in a circle; take it away';
    default:
      return `the file cannot be read (${code}); look at the disk it is on`;
  }
}

function explainDirectory(thrown: unknown): string {
  switch (codeOf(thrown)) {
    case 'ENOENT':
      return 'there is no such directory; make it and put job files in it, or name another one with --jobs or $FERRYD_JOBS';
    case 'ENOTDIR':
      return 'is not a directory; name the directory that holds the job files with --jobs or $FERRYD_JOBS';
    case 'EACCES':
    case 'EPERM':
      return 'the directory may not be read by the user that ferryd runs as; give it the right to (chmod, chown)';
    default:
      return `the directory cannot be read (${codeOf(thrown)}); look at the disk it is on`;
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
