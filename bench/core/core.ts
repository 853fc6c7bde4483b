/** `npm run bench -- core`: the primitives against their rivals. */
import { createHash } from 'node:crypto';
import { type BenchOptions, type BenchResult, benchResult } from '../result.ts';
import { aead } from './aead.ts';
import { hashes } from './hash.ts';

export async function run(options: BenchOptions): Promise<BenchResult> {
  const sealed = await aead(options);
  const hashed = hashes(options);
  const digest = createHash('sha256').update(sealed.digest).update(hashed.digest).digest('hex');
  return benchResult('core', [...sealed.rows, ...hashed.rows], digest);
}
