import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

/** The papers name code and tests that are there. */
const rows = readFileSync('THREAT-MODEL.md', 'utf8')
  .split('\n')
  .filter((line) => /^\| T\d+ \|/.test(line));

describe('THREAT-MODEL.md', () => {
  test('numbers its threats without a gap', () => {
    expect(rows.map((row) => row.split('|')[1]?.trim())).toEqual(rows.map((_, index) => `T${index + 1}`));
    expect(rows.length).toBeGreaterThan(10);
  });

  test.each(rows.map((row) => [row.split('|')[1]?.trim() ?? '', row]))(
    '%s names code and a test that are there',
    (_id, row) => {
      const files = [...row.matchAll(/`([\w./-]+\.ts)`/g)].map(([, file = '']) => file);
      expect(files.length).toBe(2);
      for (const file of files) expect([file, existsSync(file)]).toEqual([file, true]);
    },
  );
});

test('every paper that others look for is there', () => {
  for (const paper of ['README.md', 'ARCHITECTURE.md', 'THREAT-MODEL.md', 'SECURITY.md', 'CHANGELOG.md', 'LICENSE']) {
    expect([paper, existsSync(paper)]).toEqual([paper, true]);
  }
});
