/** What a running server needs besides its parts: figures, the API's document, files that people look for. */

import type { Api } from './api/server.ts';
import type { AuditLog } from './audit/index.ts';
import type { Appliance } from './ports/appliance.ts';
import type { CounterStatus } from './ports/counter.ts';
import type { ValueMap } from './ports/value.ts';
import type { Services } from './services.ts';

export interface FigureParts {
  readonly services: Services;
  readonly audit: AuditLog;
  readonly appliance: Appliance;
  /** None while the box is sealed. */
  readonly counters: readonly CounterStatus[];
  readonly api: Api | undefined;
  readonly memoryBytes: number;
  readonly uptimeSeconds: number;
}

interface Figure {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'counter';
  readonly value: number;
  readonly label?: readonly [name: string, value: string];
}

function figures(parts: FigureParts): Figure[] {
  const { services, audit, appliance, api } = parts;
  const { usedBytes, mapBytes, rows } = services.barrier.store.statistics();
  const { sealed, verifying, reasons } = appliance.status();
  const { epochs, moved, erase } = appliance.keyService.progress();
  return [
    { name: 'holdfast_sealed', help: '1 while the box is sealed.', type: 'gauge', value: sealed ? 1 : 0 },
    {
      name: 'holdfast_verifying',
      help: '1 while the store is being verified.',
      type: 'gauge',
      value: verifying ? 1 : 0,
    },
    { name: 'holdfast_reasons', help: 'Sentences that health has to say.', type: 'gauge', value: reasons.length },
    { name: 'holdfast_requests_in_flight', help: 'Requests under way.', type: 'gauge', value: api?.inFlight() ?? 0 },
    { name: 'holdfast_store_used_bytes', help: 'Bytes of the store in use.', type: 'gauge', value: usedBytes },
    { name: 'holdfast_store_map_bytes', help: 'Bytes of the store mapped.', type: 'gauge', value: mapBytes },
    ...Object.entries(rows).map(
      ([table, value]): Figure => ({
        name: 'holdfast_store_rows',
        help: 'Rows of the store.',
        type: 'gauge',
        value,
        label: ['table', table],
      }),
    ),
    { name: 'holdfast_old_epochs', help: 'Older data keys that rows may use.', type: 'gauge', value: epochs.length },
    { name: 'holdfast_rewrapped_rows', help: 'Rows moved by the newest rotation.', type: 'gauge', value: moved },
    {
      name: 'holdfast_erase_pending',
      help: '1 until what was destroyed is overwritten, where that was asked for.',
      type: 'gauge',
      value: erase === 'none' ? 0 : 1,
    },
    ...counterFigures(parts.counters),
    { name: 'holdfast_audit_leaves_total', help: 'Leaves of the audit log.', type: 'counter', value: audit.size },
    {
      name: 'holdfast_expiry_stuck',
      help: 'What is due and could not be ended yet.',
      type: 'gauge',
      value: services.expiry.stuck,
    },
    {
      name: 'holdfast_leases_ending',
      help: 'Credentials queued to be ended, counted up to 10,000.',
      type: 'gauge',
      value: services.leases.ending,
    },
    {
      name: 'holdfast_leases_backends_failing',
      help: 'Backends whose credentials cannot be ended now.',
      type: 'gauge',
      value: services.leases.troubles,
    },
    ...services.engines.flatMap(({ engine, figures }) =>
      [...(figures?.() ?? [])].map(
        ([name, value]): Figure => ({
          name: `holdfast_${name}`,
          help: `Of the ${engine.type} engine: ${name.replaceAll('_', ' ')}.`,
          type: name.endsWith('_total') ? 'counter' : 'gauge',
          value,
        }),
      ),
    ),
    { name: 'process_resident_memory_bytes', help: 'Resident memory.', type: 'gauge', value: parts.memoryBytes },
    { name: 'process_uptime_seconds', help: 'Seconds since the start.', type: 'gauge', value: parts.uptimeSeconds },
  ];
}

/** Of each counter outside the disk. Grouped by name, as the format asks. */
function counterFigures(counters: readonly CounterStatus[]): Figure[] {
  const of = (name: string, help: string, value: (one: CounterStatus) => number): Figure[] =>
    counters.map((one) => ({ name, help, type: 'gauge', value: value(one), label: ['kind', one.kind] }));
  return [
    ...of('holdfast_counter_value', 'What the store counts by the counter outside the disk.', ({ count }) => count),
    ...of('holdfast_counter_away', '1 while the counter cannot be raised.', ({ away }) => (away === undefined ? 0 : 1)),
    ...of('holdfast_counter_raised', 'Times it was raised in the year under way.', ({ raised }) => raised),
    ...of('holdfast_counter_budget', 'Times a year that its flash is meant to bear.', ({ budget }) => budget),
  ];
}

/** Prometheus text (exposition format 0.0.4) and the same as JSON. */
export function metrics(parts: FigureParts): { readonly text: string; readonly json: ValueMap } {
  const all = figures(parts);
  const seen = new Set<string>();
  const lines = all.flatMap(({ name, help, type, value, label }) => {
    const head = seen.has(name) ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
    seen.add(name);
    return [...head, `${name}${label === undefined ? '' : `{${label[0]}="${label[1]}"}`} ${value}`];
  });
  const json = Object.fromEntries(
    all.map(({ name, value, label }) => [label === undefined ? name : `${name}.${label[1]}`, value]),
  );
  return { text: `${lines.join('\n')}\n`, json };
}
