/** What must hold of a whole box after a power cut: it opens, its log verifies, and nothing acknowledged is lost. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyFolder } from '../../../host/audit/index.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { assemble, sender, type WholeBox } from '../../host/whole/box.ts';
import { serveChecks } from '../checker.ts';

interface History {
  acked: number | undefined;
  tried: (number | undefined)[];
}

/** @param marks `try N KIND NAME` and `ack N KIND NAME [REQUEST]`, in order; N is `gone` where the name is to be there no more */
function historiesOf(marks: readonly string[]): Map<string, History> {
  const all = new Map<string, History>();
  for (const mark of marks) {
    const [word = '', n = '', kind = '', name = ''] = mark.split(' ');
    if (word !== 'try' && word !== 'ack') continue;
    const history = all.get(`${kind} ${name}`) ?? { acked: undefined, tried: [] };
    all.set(`${kind} ${name}`, history);
    const number = n === 'gone' ? undefined : Number(n);
    if (word === 'try') history.tried.push(number);
    else {
      history.acked = number;
      history.tried = [];
    }
  }
  return all;
}

/** The number that a name holds now; undefined: nothing is there. */
async function numberOf(send: WholeBox['send'], kind: string, name: string): Promise<number | undefined> {
  if (kind === 'token') {
    const found = await send('write', 'auth/token/lookup', { token: name });
    return found.kind === 'answer' ? Number(name.slice(1)) : undefined;
  }
  if (kind === 'wrap') {
    const opened = await send('write', 'sys/wrapping/unwrap', { token: name });
    return opened.kind === 'answer' ? Number(opened.answer.data?.['n']) : undefined;
  }
  const path = kind === 'kv' ? `secret/data/load/${name}` : `sys/policies/acl/${name}`;
  const outbound = await send('read', path);
  if (outbound.kind === 'error') return undefined;
  const data = (outbound.answer.data ?? {}) as ValueMap;
  if (kind === 'kv') return Number((data['data'] as ValueMap)['n']);
  return Number(/n\/(\d+)/.exec(String(data['policy']))?.[1]);
}

/** Requests whose response leaf is in the log of an open box. */
async function answeredIn(send: WholeBox['send'], size: number): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (let from = 0; from < size; ) {
    const outbound = await send('read', 'sys/audit-log/entries', { from: String(from) });
    const raw = outbound.kind === 'answer' ? outbound.answer.raw : undefined;
    const lines = raw !== undefined && 'body' in raw ? String(raw.body).split('\n').slice(0, -1) : [];
    if (lines.length === 0) throw new Error(`the log gives no line ${from}`);
    for (const line of lines) {
      const { type, request } = JSON.parse(line) as {
        readonly type?: string;
        readonly request?: { readonly id?: string };
      };
      if (type === 'response' && request?.id !== undefined) found.add(request.id);
    }
    from += lines.length;
  }
  return found;
}

/** Of the sealed rows that marks of this kind name, how many lie in files of the store. */
function unerased(folder: string, marks: readonly string[], kind: 'asked' | 'erased'): number {
  const rows = marks.flatMap((mark) => (mark.startsWith(`${kind} `) ? mark.slice(kind.length + 1).split(',') : []));
  if (rows.length === 0) return 0;
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  const bytes = files.map(({ name }) => readFileSync(join(folder, name)));
  return rows.filter((row) => bytes.some((one) => one.includes(Buffer.from(row, 'hex')))).length;
}

async function checkBox(folder: string, marks: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  const [keyfile = '', rootFile = ''] = [process.env['BOX_KEYFILE'], process.env['BOX_ROOT']];
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-check-'));
  const ownKey = join(scratch, 'keyfile');
  copyFileSync(keyfile, ownKey);
  const early = unerased(folder, marks, 'erased');
  if (early > 0) wrong.push(`${early} rows lie in a store that had said that they were erased`);
  try {
    const { box, services, audit, stop } = await assemble(folder, ownKey);
    try {
      if (!(await box.unsealAutomatically())) return [`it does not open: ${box.status().reasons.join('; ')}`];
      const root = readFileSync(rootFile, 'utf8').trim();
      const send = sender(services, () => root);
      for (const [what, { acked, tried }] of historiesOf(marks)) {
        const [kind = '', name = ''] = what.split(' ');
        const value = await numberOf(send, kind, name);
        const possible = [acked, ...tried];
        if (!possible.includes(value))
          wrong.push(`${what} is ${value}, acknowledged ${acked}, tried ${tried.join(', ')}`);
      }
      const acknowledged = marks.flatMap((mark) => {
        const [word, , , , request] = mark.split(' ');
        return word === 'ack' && request !== undefined ? [request] : [];
      });
      if (acknowledged.length > 0) {
        const answered = await answeredIn(send, audit.size);
        for (const request of acknowledged)
          if (!answered.has(request)) wrong.push(`${request} was answered before its leaf was on disk`);
      }
      const more = await send('write', 'secret/data/after', { data: { the: 'cut' } });
      if (more.kind === 'error') wrong.push(`a write after the cut was answered ${more.status}`);
      // What was asked for before the cut is done after it.
      while (box.keys.progress.erase !== 'none' || box.keys.progress.running)
        await new Promise((resolve) => setTimeout(resolve, 1));
      const late = unerased(folder, marks, 'asked');
      if (late > 0) wrong.push(`${late} rows lie in the store after the erase that was asked for`);
    } finally {
      await stop();
    }
    const report = verifyFolder(join(folder, 'audit'));
    if (!report.ok) wrong.push(`the log does not verify: ${report.disagreement?.sentence}`);
  } catch (error) {
    wrong.push(`it does not start: ${String(error)}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return wrong;
}

serveChecks(checkBox);
