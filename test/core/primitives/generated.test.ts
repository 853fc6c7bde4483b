import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

interface Generator {
  readonly generated: () => string;
}

test.each(['cipher', 'hash'])('core/assembly/%s/rounds.ts is what its script writes', async (folder) => {
  const path = join(process.cwd(), 'core/assembly', folder);
  const script = (await import(pathToFileURL(join(path, 'generate.mjs')).href)) as Generator;
  expect(readFileSync(join(path, 'rounds.ts'), 'utf8')).toBe(script.generated());
});
