/**
 * The bare servers that the appliance is measured against: `node rival.mjs http|hono|hono-sync PORT [FOLDER]`. Each answers
 * the same 450 bytes; `hono-sync` appends as many bytes as two audit lines have to a preallocated file and waits for one
 * fdatasync before it answers.
 */
import { closeSync, fdatasync, ftruncateSync, openSync, write } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';

const [kind, port, folder] = process.argv.slice(2);
const AUDIT_BYTES = 2400;
const answer = JSON.stringify({ data: { data: { value: 'x'.repeat(390) } }, padding: '0123456789' }).padEnd(450);

if (kind === 'http') {
  createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
    response.end(answer);
  }).listen(Number(port), '127.0.0.1', () => console.log('ready'));
} else {
  const app = new Hono();
  const reply = (c: { body(text: string, status: 200, headers: Record<string, string>): Response }): Response =>
    c.body(answer, 200, { 'content-type': 'application/json' });
  if (kind === 'hono-sync') {
    const file = openSync(join(folder ?? '.', 'append.log'), 'w');
    ftruncateSync(file, 1 << 30);
    process.on('exit', () => closeSync(file));
    let at = 0;
    let busy = false;
    let waiting: (() => void)[] = [];
    // Group commit, as the log does it: one write and one sync for all who wait.
    const flush = (): void => {
      if (busy || waiting.length === 0) return;
      busy = true;
      const group = waiting;
      waiting = [];
      const bytes = Buffer.alloc(AUDIT_BYTES * group.length, 0x61);
      write(file, bytes, 0, bytes.length, at, () => {
        at = (at + bytes.length) % (1 << 29);
        fdatasync(file, () => {
          busy = false;
          for (const done of group) done();
          flush();
        });
      });
    };
    app.all('*', async (c) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        queueMicrotask(flush);
      });
      return reply(c);
    });
  } else {
    app.all('*', (c) => reply(c));
  }
  serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' }, () => console.log('ready'));
}
