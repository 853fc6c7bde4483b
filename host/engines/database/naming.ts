/** Names of logins that the box makes. */
import { Fault } from '../../fault.ts';
import type { DatabaseAdapter } from '../../ports/database.ts';
import { Remembered } from '../../remembered.ts';
import { boxIdOf, type DatabaseParts } from './parts.ts';
import type { ConnectionRecord } from './records.ts';
import { NameTemplate, type RenderedName } from './template.ts';

/** Random bits in a name, at least: two names that meet are not to be expected. */
export const NAME_BITS_MIN = 80;
/** A name whose characters a `replace` took away is drawn again so often. */
const DRAWS_MAX = 16;

type Parts = Pick<DatabaseParts, 'barrier' | 'random' | 'lease'>;

function drawn({ random, lease }: Parts) {
  return { bytes: (length: number) => random.bytes(length), nowMs: lease.wallOf(lease.nowMs()) };
}

/** A template is read once, not for each name. */
const TEMPLATES_MAX = 64;
const templates = new Remembered<NameTemplate>(TEMPLATES_MAX);

function templateOf({ names: { defaultTemplate, lengthMax } }: DatabaseAdapter, given: string): NameTemplate {
  const source = given === '' ? defaultTemplate : given;
  return templates.get(`${lengthMax} ${source}`, () => new NameTemplate(source, lengthMax));
}

/** @throws Fault `input.invalid` a template that cannot be read, or whose names chance does not tell apart */
export function checkTemplate(parts: Parts, adapter: DatabaseAdapter, source: string): void {
  if (templateOf(adapter, source).leastBits(drawn(parts)) >= NAME_BITS_MIN) return;
  throw new Fault(
    'input.invalid',
    `username_template: its names can have fewer than ${NAME_BITS_MIN} random bits within ${adapter.names.lengthMax} bytes: put {{random 20}} into it, before what may be long`,
  );
}

/** All that a name is made of but chance and time: where it is the same, so are the names but for those. */
export interface NameSources {
  readonly plugin: string;
  /** '' the adapter's own. */
  readonly template: string;
  readonly displayName: string;
  readonly roleName: string;
  readonly boxId: string;
}

/** @throws Fault `engine.failed` a template whose names have too little chance in them: it was checked when it was written */
export function newName(parts: Parts, adapter: DatabaseAdapter, sources: NameSources): string {
  const template = templateOf(adapter, sources.template);
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const { name, bits } = template.render({ ...drawn(parts), ...sources });
    if (bits >= NAME_BITS_MIN) return name;
  }
  throw new Fault('engine.failed', `the username template gives names with fewer than ${NAME_BITS_MIN} random bits`);
}

/** What all names of this box on that server begin with. */
export function prefixOf(parts: Parts, adapter: DatabaseAdapter, record: ConnectionRecord): RenderedName['prefix'] {
  const template = templateOf(adapter, record.usernameTemplate);
  // Not empty: what stands behind an empty part would count as a part of the beginning.
  const names = { displayName: 'x', roleName: 'x' };
  return template.render({ ...drawn(parts), ...names, boxId: boxIdOf(parts.barrier) }).prefix;
}
