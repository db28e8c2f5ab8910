/*
 * How the tests run: in three processes, the long files first. Which files are long is written down here, for on a
 * fresh checkout vitest knows only how large they are, and would begin the longest ones last.
 */
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Half a minute and more on two idle cores. Whatever is not named comes behind them. */
const LONG_FIRST = [
  'systemd/boot',
  'crash/vsftpd',
  'crash/openssh',
  'crash/scripted',
  'remote/link',
  'remote/ftp-contract',
  'remote/sftp-contract',
  'remote/real-servers',
  'remote/real-sftp',
  'remote/faults/sftp-statuses',
  'remote/faults/control',
  'remote/faults/replies',
  'remote/faults/data',
  'e2e/modes',
  'e2e/journey',
  'run/model-kill',
  'run/model-kill-sftp',
  'run/model',
  'e2e/plan',
  'soak/soak',
  'e2e/network',
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = LONG_FIRST.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return found === -1 ? LONG_FIRST.length : found;
    };
    return (await super.sort(files)).sort((one, other) => place(one) - place(other));
  }
}

export default defineConfig({
  test: {
    root: '.',
    include: ['test/**/*.test.ts'],
    sequence: { sequencer: LongFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Made for two cores: about a third of the time a test waits, for a peer, a clock or the disk. With many more of
    // them the deadlines would lie.
    maxWorkers: 3,
  },
});
