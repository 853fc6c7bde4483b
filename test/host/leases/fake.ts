/** A fake server with logins, and the engine that makes them: what tests of leases talk to in place of a database. */
import { Fault } from '../../../host/fault.ts';
import type { Engine, OperationContext } from '../../../host/ports/engine.ts';
import type { BackendContext, Ended, LeaseBackend, Leases, Undo } from '../../../host/ports/leases.ts';
import type { MoreEngine } from '../../../host/services.ts';

/** What the fake does at a call; it may throw or never settle. */
export type Behaviour = (
  call: 'create' | 'end' | 'remains' | 'renew' | 'strangers',
  names: readonly string[],
) => void | Promise<void>;

/** What an engine prepares for a credential. */
export class Prepared implements Disposable {
  used = false;
  disposed = false;

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

export class FakeServer {
  /** Logins by name, with the end that the server was told (wall ms). */
  readonly logins = new Map<string, number>();
  readonly calls: { readonly call: string; readonly names: readonly string[]; readonly backend: string }[] = [];
  /** Before a call does its work. */
  before: Behaviour = () => {};
  /** After its work, before its answer. */
  after: Behaviour = () => {};
  /** Names whose ending the server refuses, with its sentence. */
  readonly refused = new Map<string, string>();
  /** Says that it ended these, and did not. */
  readonly liars = new Set<string>();
  count = 0;
  /** What was prepared for credentials, in order. */
  readonly prepared: Prepared[] = [];

  names(): string[] {
    return [...this.logins.keys()].sort((a, b) => (a < b ? -1 : 1));
  }
}

const nameOf = ({ undo }: Undo): string => String(undo['name']);

function backendOf(server: FakeServer, batchMax: number): LeaseBackend {
  const told = async <T>(
    call: Parameters<Behaviour>[0],
    backend: string,
    names: readonly string[],
    work: () => T,
  ): Promise<T> => {
    server.calls.push({ call, names, backend });
    await server.before(call, names);
    const result = work();
    await server.after(call, names);
    return result;
  };
  return {
    batchMax,
    end: ({ backend }: BackendContext, items) =>
      told('end', backend, items.map(nameOf), () =>
        items.map((item): Ended => {
          const name = nameOf(item);
          const fault = server.refused.get(name);
          if (fault !== undefined) return { done: false, fault };
          if (!server.liars.has(name)) server.logins.delete(name);
          return { done: true };
        }),
      ),
    remains: ({ backend }, items) =>
      told('remains', backend, items.map(nameOf), () => items.map((item) => server.logins.has(nameOf(item)))),
    renew: ({ backend }, item, expireWallMs) =>
      told('renew', backend, [nameOf(item)], () => {
        if (!server.logins.has(nameOf(item))) throw new Fault('database.absent', 'there is no such login');
        server.logins.set(nameOf(item), expireWallMs);
      }),
    async strangers({ backend }, known) {
      const left = new Set(server.names().filter((name) => name.startsWith('v-')));
      for await (const one of known) left.delete(nameOf(one));
      return await told('strangers', backend, [], () => [...left]);
    },
    backends: () => ['one'],
  };
}

/** Fields of a read of creds: the role, as it were. */
const FIELDS = {
  ttl: { type: 'duration', description: 'Of the role.' },
  max_ttl: { type: 'duration', description: 'Of the role.' },
  renewable: { type: 'bool', description: 'Whether the lease is.' },
  backend: { type: 'string', description: 'Name of the server.' },
  name: { type: 'string', description: 'A chosen name.' },
  like: { type: 'string', description: 'What makes it like others; absent: nothing does.' },
  pad: { type: 'string', description: 'What makes the row that undoes it larger.' },
} as const;

/** @param batchMax  what the fake ends in one call */
export function fakeEngine(server: FakeServer, batchMax = 50) {
  return ({ leases }: { readonly leases: Leases }): readonly MoreEngine[] => {
    leases.backend('fake', backendOf(server, batchMax));
    const creds = async (context: OperationContext) => {
      const { fields } = context;
      const backend = String(fields['backend'] ?? 'one');
      const { lease, made } = await leases.issue({
        context,
        ttl: Number(fields['ttl'] ?? 0),
        maxTtl: Number(fields['max_ttl'] ?? 0),
        renewable: fields['renewable'] !== false,
        backend,
        ...(fields['like'] === undefined ? {} : { like: String(fields['like']) }),
        undo: () => {
          const name = String(fields['name'] ?? `v-${server.count++}`);
          return fields['pad'] === undefined ? { name } : { name, pad: fields['pad'] };
        },
        ...(fields['like'] === undefined
          ? {}
          : {
              prepare: () => {
                const prepared = new Prepared();
                server.prepared.push(prepared);
                return prepared;
              },
            }),
        create: async ({ undo, prepared, expireWallMs }) => {
          const name = String(undo['name']);
          if (prepared?.used === true || prepared?.disposed === true)
            throw new Error('it was prepared for another one');
          if (prepared !== undefined) prepared.used = true;
          server.calls.push({ call: 'create', names: [name], backend });
          await server.before('create', [name]);
          if (server.logins.has(name)) throw new Fault('database.exists', 'a login of that name is there already');
          server.logins.set(name, expireWallMs);
          await server.after('create', [name]);
          return name;
        },
      });
      return { data: { username: made }, lease };
    };
    const engine: Engine = {
      type: 'fake',
      help: 'A fake of an engine with leases.',
      operations: [
        { name: 'creds', pattern: 'creds/*role', verb: 'read', summary: 'Make a login.', fields: FIELDS, run: creds },
      ],
    };
    return [{ engine, mountable: { type: 'fake', coreType: () => 'fake' } }];
  };
}
