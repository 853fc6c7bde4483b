/** `holdfast audit verify -data DIR`: the log of a box that is not running, with its lines where this machine opens it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadCore } from '../core/index.ts';
import type { Core } from '../core/types.ts';
import { coreOpener } from './audit/check.ts';
import { type FolderReport, verifyFolder } from './audit/index.ts';
import type { StoppedLog } from './cli/index.ts';
import type { Environment } from './ports/environment.ts';
import { KeyfileSlot } from './seal/keyfile/keyfile.ts';
import { KEYRING_KEY } from './seal/rows.ts';
import { openSlot, readSlots } from './seal/slots.ts';
import { openLmdbStore } from './store/lmdb/open.ts';
import { files } from './system/files.ts';
import { lockFolder } from './system/lock.ts';
import { systemRandom } from './system/random.ts';

const GRANT_MS = 24 * 3_600_000;

/** Opens the keyring by this machine's key file. @returns the sentence that says what was used, or why not */
async function openHere(
  core: Core,
  data: string,
  keyfile: string,
): Promise<{ readonly opened: boolean; readonly how: string }> {
  if (!existsSync(join(data, 'store.mdb'))) return { opened: false, how: 'there is no store beside the log' };
  const lock = lockFolder(data);
  try {
    const store = await openLmdbStore({ lock, files, witness: { fold: () => [] } });
    try {
      const slot = readSlots(store).find(({ header }) => header.kind === 'keyfile');
      const ring = store.get('keyring', KEYRING_KEY);
      if (slot === undefined || ring === undefined) return { opened: false, how: 'the box has no key file slot' };
      const row = Buffer.from(ring);
      await openSlot(core, new KeyfileSlot({ path: keyfile, random: systemRandom, files }), slot, {});
      core.openKeyring(row);
      return { opened: true, how: `opened by ${keyfile}` };
    } finally {
      await store.close();
    }
  } catch (thrown) {
    return { opened: false, how: thrown instanceof Error ? thrown.message : 'the box does not open here' };
  } finally {
    lock.release();
  }
}

function told(report: FolderReport, how: string): string {
  const { checkpoint, disagreement } = report;
  // What disagrees ends the walk: not every line was seen then.
  const lines = disagreement === undefined ? 'every line was' : 'lines were';
  const looked =
    report.frames === 'opened'
      ? `${lines} opened and hashed (${how})`
      : `lines were not opened (${how}): tiles, checkpoint and marks alone`;
  const head = `${report.leaves} leaves in ${report.segments} segments, ${report.tiles} tiles; ${looked}\n`;
  if (disagreement !== undefined) return `${head}The log does NOT agree: ${disagreement.sentence}\n`;
  const agrees = `The log agrees: checkpoint of ${checkpoint?.size ?? 0} leaves, root ${checkpoint?.root ?? 'none'}, ${report.origin ?? ''}\n`;
  const key =
    report.keyFrom === 'given'
      ? 'It is signed by the key that was given.\n'
      : 'It is signed by the key that lies beside it: hold it to one that was kept elsewhere with -key.\n';
  const kept = report.keptAgrees === true ? 'It still begins with the leaves of the kept checkpoint.\n' : '';
  return `${head}${agrees}${key}${kept}`;
}

/** @returns the exit code: 0 only if everything agrees */
export async function verifyStopped(
  data: string,
  environment: Environment,
  wasm: Uint8Array,
  { key, kept, json }: StoppedLog,
): Promise<number> {
  const folder = join(data, 'audit');
  if (!existsSync(folder)) {
    environment.error(`holdfast: there is no audit log in ${data}\n`);
    return 1;
  }
  const { variables, home } = environment;
  const config =
    variables['HOLDFAST_CONFIG'] || join(variables['XDG_CONFIG_HOME'] || join(home, '.config'), 'holdfast');
  const core = loadCore({ wasm, random: (length) => systemRandom.bytes(length) });
  const { opened, how } = await openHere(core, data, join(config, 'keyfile'));
  try {
    const grant = opened ? core.systemGrant('audit', undefined, 0, GRANT_MS) : 0;
    let shown = -1;
    const report = verifyFolder(folder, {
      ...(opened ? { open: coreOpener(core, grant) } : {}),
      ...(key === undefined ? {} : { key }),
      ...(kept === undefined ? {} : { kept }),
      progress: (done, total) => {
        const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
        if (!environment.interactive || percent === shown) return;
        shown = percent;
        environment.error(
          `\r[${'#'.repeat(Math.floor(percent / 4)).padEnd(25, '.')}] ${percent} %${percent === 100 ? '\n' : ''}`,
        );
      },
    });
    environment.out(json ? `${JSON.stringify({ ...report, how }, null, 2)}\n` : told(report, how));
    return report.ok ? 0 : 2;
  } finally {
    if (opened) core.seal();
  }
}
