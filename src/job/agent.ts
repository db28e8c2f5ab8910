/*
 * The settings of the daemon from agent.yaml, with every default filled in. A file with a mistake in it counts as
 * empty: half of the settings would be a guess.
 */
import type { AgentSettings, LogFile } from './job.js';
import { error, type Mistake } from './mistake.js';
import { readChannels } from './notice.js';
import { agentSchema, type Written } from './schema.js';
import { fits } from './shape.js';
import { resolvePath } from './source.js';
import { durationMs, sizeBytes } from './units.js';

/** A smaller log file would be exchanged all the time. */
const LEAST_LOG_BYTES = 4096;

/** @param data what the YAML holds, of any shape; `where.mistakes` takes what the schema cannot say */
export function readAgent(
  data: unknown,
  where: { readonly directory: string; readonly mistakes: Mistake[] },
): AgentSettings {
  const written = fits('agent', data) ? data : {};
  const { log, stop, runsAtOnce, history } = agentSchema.properties;
  return {
    log: {
      level: written.log?.level ?? log.properties.level.default,
      files: written.log?.files ?? log.properties.files.default,
      file: readLogFile(written.log?.file, where),
    },
    stop: { withinMs: durationMs(written.stop?.within ?? stop.properties.within.default) },
    runsAtOnce: written.runsAtOnce ?? runsAtOnce.default,
    history: { keepMs: durationMs(written.history?.keep ?? history.properties.keep.default) },
    notify: readChannels(written.notify, '/notify', where),
  };
}

function readLogFile(
  written: NonNullable<Written['agent']['log']>['file'],
  { directory, mistakes }: { readonly directory: string; readonly mistakes: Mistake[] },
): LogFile | undefined {
  if (written === undefined) return undefined;
  const { size, age, keep } = agentSchema.properties.log.properties.file.properties;
  const maxBytes = sizeBytes(written.size ?? size.default);
  if (maxBytes < LEAST_LOG_BYTES) mistakes.push(error('/log/file/size', 'must be at least 4K'));
  return {
    path: resolvePath(written.path, '/log/file/path', directory, mistakes),
    maxBytes,
    maxAgeMs: durationMs(written.age ?? age.default),
    keep: written.keep ?? keep.default,
  };
}
