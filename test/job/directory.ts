/*
 * A jobs directory for one test, on the real disk, removed when the test ends; and what loading it says, as the
 * lines that a person sees, with the directory left out.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type Configuration, loadConfiguration } from '../../src/job/load.js';
import { formatProblem } from '../../src/job/problem.js';

export type Files = Readonly<Record<string, string | Uint8Array>>;

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'ferryd-job-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Writes the files and loads them; a cron expression that holds `bad` is wrong. */
export async function load(files: Files): Promise<Configuration & { readonly lines: string[] }> {
  const directory = await temporaryDirectory();
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(directory, name)), { recursive: true });
    await writeFile(path.join(directory, name), content);
  }
  return loadDirectory(directory);
}

export async function loadDirectory(
  directory: string,
): Promise<Configuration & { readonly lines: string[] }> {
  const configuration = await loadConfiguration(directory, {
    cron: (expression, timezone) =>
      expression.includes('bad') ? `is no schedule in ${timezone ?? 'local time'}` : undefined,
  });
  const lines = configuration.problems.map((problem) =>
    formatProblem(problem)
      .replace(`${path.relative(process.cwd(), directory)}`, directory)
      .replace(`${directory}${path.sep}`, '')
      .replace(directory, '.'),
  );
  return { ...configuration, lines };
}
