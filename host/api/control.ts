/**
 * What the service's own user may ask of the box on its machine, open or sealed, without a token: which slots there are, why
 * one did not open it, and to open it by one. A unix socket of mode 0600 in the configuration folder: who may connect to it
 * is decided by the kernel, and it never leaves the machine. A PIN goes over it and over nothing else.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Fault, isFault } from '../fault.ts';
import { parseJson, stringifyJson } from '../json.ts';
import type { Appliance } from '../ports/appliance.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import { Secret } from '../secret.ts';
import { listen } from './listener.ts';

const BODY_SIZE_MAX = 4096;
const LIMITS = { headBytes: 4096, connections: 8, headMs: 5000, requestMs: 120_000, idleMs: 1000 } as const;
const PIN_SIZE_MAX = 255;

export interface Control {
  close(): Promise<void>;
}

async function bodyOf(request: IncomingMessage): Promise<ValueMap> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_SIZE_MAX) throw new Fault('input.too-large', `more than ${BODY_SIZE_MAX} bytes`);
    chunks.push(chunk);
  }
  const whole = Buffer.concat(chunks);
  const value: Value = parseJson(whole.toString('utf8'));
  for (const chunk of [...chunks, whole]) chunk.fill(0);
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array)
    throw new Fault('input.invalid', 'the body must be an object');
  return value as ValueMap;
}

function ways(appliance: Appliance): ValueMap {
  const { initialized, sealed, marked, reasons } = appliance.status();
  return {
    ...{ initialized, sealed, marked, reasons: [...reasons] },
    slots: appliance.ways().map(({ trouble, ...way }) => ({ ...way, trouble: trouble ?? null })),
  };
}

async function unseal(appliance: Appliance, body: ValueMap): Promise<ValueMap> {
  const { slot, pin, ...rest } = body;
  const named = Object.keys(rest).length === 0 && typeof slot === 'string';
  if (!named || (pin !== undefined && typeof pin !== 'string'))
    throw new Fault('input.invalid', 'the body must name a slot, and a pin where it has one');
  using offered = pin === undefined || pin === '' ? undefined : new Secret(Buffer.from(pin, 'utf8'));
  if (offered !== undefined && (offered.length > PIN_SIZE_MAX || offered.bytes.some((byte) => byte < 0x20)))
    throw new Fault('input.invalid', `a PIN is one line of at most ${PIN_SIZE_MAX} bytes`);
  const { sealed } = await appliance.unsealBy(slot, offered);
  return { sealed };
}

async function answer(appliance: Appliance, request: IncomingMessage): Promise<readonly [number, ValueMap]> {
  try {
    const asked = `${request.method} ${request.url}`;
    if (asked === 'GET /v1/ways') return [200, ways(appliance)];
    if (asked === 'PUT /v1/unseal') return [200, await unseal(appliance, await bodyOf(request))];
    return [404, { errors: ['there is nothing at this path'] }];
  } catch (error) {
    if (isFault(error)) return [error.status, { errors: [error.message] }];
    return [500, { errors: ['internal error'] }];
  }
}

/** @throws Fault `input.invalid` where the system does not let us listen */
export async function startControl(path: string, appliance: Appliance): Promise<Control> {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [status, json] = await answer(appliance, request);
    const text = stringifyJson(json);
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      Connection: 'close',
    });
    response.end(text);
  };
  const { server } = await listen({ kind: 'unix', path }, LIMITS, (request, response) => {
    request.on('error', () => response.destroy());
    void handle(request, response).catch(() => response.destroy());
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
