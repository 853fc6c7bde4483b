import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** The suite of core over the instrumented modules; `run.ts` starts it. */
export default defineConfig({
  test: {
    root: join(import.meta.dirname, '../../..'),
    include: ['test/core/**/*.test.ts'],
    exclude: ['test/core/branch-coverage/**'],
    setupFiles: ['test/core/branch-coverage/setup.ts'],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
