/* For the vitest that link.test.ts runs at the near end of a slow link. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { root: '.', include: ['test/remote/link-contract.ts'], testTimeout: 60_000, maxWorkers: 1 },
});
