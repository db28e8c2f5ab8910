import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes longest comes first: begun last, it would keep one worker busy while the others have nothing left to do. */
const LONGEST = [
  'systemd/boot.test.ts',
  'crash/vsftpd.test.ts',
  'crash/scripted.test.ts',
  'remote/link.test.ts',
  'remote/real-servers.test.ts',
  'remote/ftp-contract.test.ts',
  'remote/faults/control.test.ts',
  'remote/faults/replies.test.ts',
  'e2e/network.test.ts',
  'e2e/modes.test.ts',
  'run/model.test.ts',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = LONGEST.findIndex((name) => moduleId.endsWith(`/test/${name}`));
      return place < 0 ? LONGEST.length : place;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    root: '.',
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real sockets and processes on two cores: more workers only make the deadlines lie.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
  },
});
