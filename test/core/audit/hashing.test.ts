import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Box, NOW } from '../gate/box.ts';

test('groups of every size to nine requests hash each line as its leaf', () => {
  const box = new Box();
  const root = box.token();
  const job = box.core.systemGrant('audit', undefined, NOW, NOW + 1000);
  for (let requests = 1; requests <= 9; requests++) {
    for (let i = 0; i < requests; i++) box.put(root, `secret/${'a'.repeat(i * 13 + 1)}`, 'v');
    // A group of an odd number of lines, too.
    if (requests % 2 === 0) box.core.leaf(job, 'note', '2026-11-24T06:00:00.000000000Z', '"type":"note"}');
    const group = box.core.auditFlush();
    if (group === undefined) throw new Error('nothing was flushed');
    const { lines } = box.core.auditOpenFrame(job, group.bytes.subarray(0, -80));
    const hashes = Buffer.from(lines)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) =>
        createHash('sha256')
          .update(Buffer.from([0]))
          .update(line)
          .digest(),
      );
    expect(hashes.length).toBe(2 * requests + (requests % 2 === 0 ? 1 : 0));
    expect(Buffer.from(group.leafHashes)).toEqual(Buffer.concat(hashes));
  }
});
