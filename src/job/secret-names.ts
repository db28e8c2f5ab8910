/*
 * An environment for programs that ferryd starts for a person (hooks), without the variables from which ferryd reads
 * secrets: such programs print their environment when they are in trouble. It is no wall, as they run as the same user.
 * Reads no value.
 */
import type { AgentSettings, Job } from './job.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** The environment without the variables that hold a secret of one of these. */
export function withoutSecrets(
  environment: Environment,
  settings: Iterable<Job | AgentSettings>,
): Record<string, string | undefined> {
  const names = new Set<string>();
  for (const one of settings) collect(one, names);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !names.has(name)));
}

function collect(value: unknown, names: Set<string>): void {
  if (typeof value !== 'object' || value === null) return;
  // As SecretSource has it; nothing else in there is of the kind `env`.
  if ('kind' in value && value.kind === 'env' && 'name' in value && typeof value.name === 'string') {
    names.add(value.name);
  }
  for (const part of Object.values(value)) collect(part, names);
}
