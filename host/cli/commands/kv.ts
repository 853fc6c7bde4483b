/** `holdfast kv …`: secrets by the path that people use; the version of the engine is asked of the server. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError, RemoteError } from '../environment.ts';
import { readData } from '../input.ts';
import { cell, fieldText, formatOf, pairs, printAnswer } from '../output.ts';
import { pathOf, printKeys, wrapOf } from './generic.ts';

interface Place {
  readonly mount: string;
  /** Below the mount, without slashes at its ends; '' for the mount itself. */
  readonly path: string;
  readonly versioned: boolean;
}

const MOUNT: FlagDeclaration = {
  name: 'mount',
  type: 'text',
  value: 'NAME',
  help: 'The mount; the path is then below it.',
};
const VERSIONS: FlagDeclaration = { name: 'versions', type: 'texts', value: 'N,…', help: 'Numbers of the versions.' };
const CAS: FlagDeclaration = {
  name: 'cas',
  type: 'text',
  value: 'N',
  help: 'Write only over this version; 0: only if there is none.',
};

async function find(invocation: Invocation, least = 1, most = 1): Promise<Place> {
  const { parsed, api, usage } = invocation;
  expectPositional(parsed, parsed.text('mount') === undefined ? least : Math.min(least, 1), most, usage);
  const mountFlag = parsed.text('mount');
  const given = (parsed.positional[0] ?? '').replace(/^\/+|\/+$/g, '');
  const whole =
    mountFlag === undefined ? pathOf(given) : [mountFlag.replace(/^\/+|\/+$/g, ''), given].filter(Boolean).join('/');
  const { json } = await api().call('GET', `sys/internal/ui/mounts/${whole}`);
  const data = (json?.['data'] ?? {}) as ValueMap;
  const mount = String(data['path'] ?? '').replace(/\/$/, '');
  const options = (data['options'] ?? {}) as ValueMap;
  if (mount === '' || (whole !== mount && !whole.startsWith(`${mount}/`)))
    throw new LocalError('the server named no mount for this path');
  return { mount, path: whole.slice(mount.length + 1), versioned: options['version'] === '2' };
}

const at = ({ mount, path }: Place, kind: string): string => [mount, kind, path].filter(Boolean).join('/');
const plain = ({ mount, path }: Place): string => [mount, path].filter(Boolean).join('/');

function needVersions(place: Place): void {
  if (!place.versioned) throw new LocalError(`${place.mount}/ has no versions: it is a KV version 1 engine`);
}

function versionList(invocation: Invocation): string[] {
  const numbers = invocation.parsed.texts('versions').flatMap((text) => text.split(','));
  if (!numbers.every((number) => /^\d{1,9}$/.test(number.trim())))
    throw new LocalError('-versions takes whole numbers with commas');
  return numbers.map((number) => number.trim());
}

function casOf(invocation: Invocation): ValueMap {
  const cas = invocation.parsed.text('cas');
  if (cas === undefined) return {};
  if (!/^\d{1,9}$/.test(cas)) throw new LocalError('-cas is the number of a version');
  return { options: { cas: Number(cas) } };
}

const put: Command = {
  words: 'kv put',
  arguments: 'PATH name=@FILE | name=- | - | name=value …',
  summary: 'Write a secret (a new version of it).',
  details:
    'Values on the command line can be read by every user of this machine and stay in the history of the shell.\n' +
    'Better: name=@FILE takes the text of a file, name=- takes standard input, - takes a whole JSON object from it.',
  flags: [MOUNT, CAS],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const place = await find(invocation, 2, 1024);
    const data = await readData(environment, parsed.positional.slice(1));
    if (Object.keys(data).length === 0) throw new LocalError('no data was given');
    if (!place.versioned) {
      const { json } = await api().call('PUT', plain(place), { body: data, ...wrapOf(invocation) });
      printAnswer(environment, parsed, json, `Success! Data written to: ${plain(place)}`);
      return EXIT.ok;
    }
    const { json } = await api().call('PUT', at(place, 'data'), {
      body: { data, ...casOf(invocation) },
      ...wrapOf(invocation),
    });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const patch: Command = {
  words: 'kv patch',
  arguments: 'PATH name=@FILE | name=- | - | name=value …',
  summary: 'Change some names of a secret and keep the others (a new version of it).',
  flags: [MOUNT, CAS],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const place = await find(invocation, 2, 1024);
    needVersions(place);
    const data = await readData(environment, parsed.positional.slice(1));
    const { json } = await api().call('PATCH', at(place, 'data'), {
      body: { data, ...casOf(invocation) },
      ...wrapOf(invocation),
    });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

function printSecret(invocation: Invocation, place: Place, json: ValueMap): void {
  const { environment, parsed } = invocation;
  const outer = (json['data'] ?? {}) as ValueMap;
  const values = (place.versioned ? outer['data'] : outer) as ValueMap | null;
  const field = parsed.text('field');
  if (field !== undefined) {
    environment.out(`${fieldText(values ?? {}, field)}${environment.interactive ? '\n' : ''}`);
    return;
  }
  if (place.versioned) {
    environment.out(`======= Metadata =======\n${pairs((outer['metadata'] ?? {}) as ValueMap)}\n`);
    if (values === null) return;
    environment.out('\n======= Data =======\n');
  }
  environment.out(`${pairs(values ?? {})}\n`);
}

const get: Command = {
  words: 'kv get',
  arguments: 'PATH',
  summary: 'Read a secret.',
  flags: [MOUNT, { name: 'version', type: 'text', value: 'N', help: 'Which version; the current one without it.' }],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const place = await find(invocation);
    const version = parsed.text('version');
    if (version !== undefined) needVersions(place);
    const query = version === undefined ? '' : `?version=${encodeURIComponent(version)}`;
    const target = place.versioned ? at(place, 'data') : plain(place);
    const { status, json } = await api().call('GET', target, { accept: [404], ...wrapOf(invocation) }, query);
    // A deleted version is answered 404 with its metadata: worth showing, and still an error to a script.
    if (status === 404 && json?.['data'] === undefined) throw new RemoteError(404, `No value found at ${target}`);
    if (json?.['wrap_info'] || formatOf(environment, parsed) === 'json') {
      if (parsed.text('field') === undefined || json?.['wrap_info']) printAnswer(environment, parsed, json);
      else printSecret(invocation, place, json ?? {});
    } else printSecret(invocation, place, json ?? {});
    return status === 404 ? EXIT.remote : EXIT.ok;
  },
};

const list: Command = {
  words: 'kv list',
  arguments: 'PATH',
  summary: 'List names of secrets below a path; folders end in a slash.',
  flags: [MOUNT],
  async run(invocation) {
    const place = await find(invocation);
    const target = place.versioned ? at(place, 'metadata') : plain(place);
    const { status, json } = await invocation.api().call('LIST', target, { accept: [404] });
    if (status === 404) throw new RemoteError(404, `No value found at ${target}`);
    printKeys(invocation, json);
    return EXIT.ok;
  },
};

/** delete, undelete and destroy of named versions. */
function onVersions(kind: 'delete' | 'undelete' | 'destroy', summary: string, latestWithout: boolean): Command {
  return {
    words: `kv ${kind}`,
    arguments: 'PATH',
    summary,
    flags: [MOUNT, VERSIONS],
    async run(invocation) {
      const { environment, parsed, api } = invocation;
      const place = await find(invocation);
      const versions = versionList(invocation);
      const done = `Success! Data ${kind === 'undelete' ? 'restored' : `${kind}${kind === 'destroy' ? 'ed' : 'd'}`} (if it existed) at: ${plain(place)}`;
      if (!place.versioned && kind === 'delete') {
        await api().call('DELETE', plain(place));
      } else {
        needVersions(place);
        if (versions.length > 0) await api().call('PUT', at(place, kind), { body: { versions } });
        else if (latestWithout) await api().call('DELETE', at(place, 'data'));
        else throw new LocalError('-versions is needed');
      }
      printAnswer(environment, parsed, undefined, done);
      return EXIT.ok;
    },
  };
}

const rollback: Command = {
  words: 'kv rollback',
  arguments: 'PATH',
  summary: 'Write an older version again as the newest.',
  flags: [MOUNT, { name: 'version', type: 'text', value: 'N', help: 'The version to write again.' }],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const version = parsed.text('version');
    if (version === undefined || !/^[1-9]\d{0,8}$/.test(version))
      throw new LocalError('-version is needed, the number of a version');
    const place = await find(invocation);
    needVersions(place);
    const metadata = await api().call('GET', at(place, 'metadata'));
    const old = await api().call('GET', at(place, 'data'), {}, `?version=${version}`);
    const body = {
      data: ((old.json?.['data'] ?? {}) as ValueMap)['data'] ?? {},
      // Written only if nobody wrote in between.
      options: { cas: ((metadata.json?.['data'] ?? {}) as ValueMap)['current_version'] ?? 0 },
    };
    const { json } = await api().call('PUT', at(place, 'data'), { body });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const metadataGet: Command = {
  words: 'kv metadata get',
  arguments: 'PATH',
  summary: 'Show the versions and settings of a secret.',
  flags: [MOUNT],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const place = await find(invocation);
    needVersions(place);
    const { json } = await api().call('GET', at(place, 'metadata'));
    const data = (json?.['data'] ?? {}) as ValueMap;
    if (formatOf(environment, parsed) === 'json' || parsed.text('field') !== undefined) {
      printAnswer(environment, parsed, json);
      return EXIT.ok;
    }
    const { versions, ...rest } = data;
    environment.out(`========== Metadata ==========\n${pairs(rest)}\n`);
    for (const [number, state] of Object.entries((versions ?? {}) as ValueMap)) {
      environment.out(`\n====== Version ${cell(number)} ======\n${pairs(state as ValueMap)}\n`);
    }
    return EXIT.ok;
  },
};

const METADATA_FLAGS: readonly FlagDeclaration[] = [
  MOUNT,
  { name: 'max-versions', type: 'text', value: 'N', help: 'Versions that are kept; 0 leaves it to the engine.' },
  {
    name: 'cas-required',
    type: 'text',
    value: 'true|false',
    help: 'Whether each write must name the version that it replaces.',
  },
  { name: 'delete-version-after', type: 'text', value: 'DURATION', help: 'Time after which a version is deleted.' },
  {
    name: 'custom-metadata',
    type: 'texts',
    value: 'name=value',
    help: 'A note for people, not secret; may be repeated.',
  },
];

function metadataWrite(words: string, method: 'PUT' | 'PATCH', summary: string): Command {
  return {
    words,
    arguments: 'PATH',
    summary,
    flags: METADATA_FLAGS,
    async run(invocation) {
      const { environment, parsed, api } = invocation;
      const place = await find(invocation);
      needVersions(place);
      const custom = await readData(environment, parsed.texts('custom-metadata'));
      const texts: [string, string | undefined][] = [
        ['max_versions', parsed.text('max-versions')],
        ['cas_required', parsed.text('cas-required')],
        ['delete_version_after', parsed.text('delete-version-after')],
      ];
      const body: ValueMap = {
        ...Object.fromEntries(texts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))),
        ...(Object.keys(custom).length === 0 ? {} : { custom_metadata: custom }),
      };
      const { json } = await api().call(method, at(place, 'metadata'), { body });
      printAnswer(environment, parsed, json, `Success! Data written to: ${at(place, 'metadata')}`);
      return EXIT.ok;
    },
  };
}

const metadataDelete: Command = {
  words: 'kv metadata delete',
  arguments: 'PATH',
  summary: 'Remove a secret with all its versions, for good.',
  flags: [MOUNT],
  async run(invocation) {
    const place = await find(invocation);
    needVersions(place);
    await invocation.api().call('DELETE', at(place, 'metadata'));
    printAnswer(
      invocation.environment,
      invocation.parsed,
      undefined,
      `Success! Data deleted (if it existed) at: ${at(place, 'metadata')}`,
    );
    return EXIT.ok;
  },
};

export const kv: readonly Command[] = [
  put,
  get,
  patch,
  list,
  onVersions('delete', 'Delete the current version, or those of -versions; they can be undeleted.', true),
  onVersions('undelete', 'Take back the deletion of versions.', false),
  onVersions('destroy', 'Remove the data of versions for good.', false),
  rollback,
  metadataGet,
  metadataWrite('kv metadata put', 'PUT', 'Set limits and notes of a secret.'),
  metadataWrite('kv metadata patch', 'PATCH', 'Change limits and add notes of a secret.'),
  metadataDelete,
];
