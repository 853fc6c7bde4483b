/**
 * The bare servers that the appliance is measured against: `node rival.mjs http|hono|hono-sync PORT [FOLDER]`. Each answers
 * the same 450 bytes and reads the JSON body of a POST; `hono-sync` appends as many bytes as two audit lines have to a
 * preallocated file and waits for one fdatasync before it answers.
 */
import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { type Context, Hono } from 'hono';

const [kind, port, folder] = process.argv.slice(2);
const AUDIT_BYTES = 2400;
const FILE_BYTES = 64 * 1024 * 1024;
const answer = JSON.stringify({ data: { data: { value: 'x'.repeat(390) } }, padding: '0123456789' }).padEnd(450);

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString());
}

if (kind === 'http') {
  createServer(async (request, response) => {
    if (request.method === 'POST') await readJson(request);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
    response.end(answer);
  }).listen(Number(port), '127.0.0.1', () => console.log('ready'));
} else {
  const app = new Hono();
  const reply = (c: Context): Response => c.body(answer, 200, { 'content-type': 'application/json' });
  if (kind === 'hono-sync') {
    const file = openSync(join(folder ?? '.', 'append.log'), 'w');
    // Real blocks, as the log has them: a hole would be allocated at every sync.
    const zeros = Buffer.alloc(1024 * 1024);
    for (let done = 0; done < FILE_BYTES; done += zeros.length) writeSync(file, zeros, 0, zeros.length, done);
    process.on('exit', () => closeSync(file));
    const frame = Buffer.alloc(AUDIT_BYTES * 512, 0x61);
    let at = 0;
    let busy = false;
    let waiting: (() => void)[] = [];
    // Group commit, as the log does it: one write and one sync for all who wait.
    const flush = (): void => {
      if (busy || waiting.length === 0) return;
      busy = true;
      const group = waiting;
      waiting = [];
      const length = Math.min(AUDIT_BYTES * group.length, frame.length);
      if (at + length > FILE_BYTES) at = 0;
      writeSync(file, frame, 0, length, at);
      at += length;
      fdatasync(file, () => {
        busy = false;
        for (const done of group) done();
        flush();
      });
    };
    app.all('*', async (c) => {
      if (c.req.method === 'POST') await c.req.json();
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        queueMicrotask(flush);
      });
      return reply(c);
    });
  } else {
    app.get('*', (c) => reply(c));
    app.post('*', async (c) => {
      await c.req.json();
      return reply(c);
    });
  }
  serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' }, () => console.log('ready'));
}
