/** What somebody with the PIN could do to a token behind the box's back: calls of the module, in a process of their own. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { PIN, type TokenBench } from './tokens.ts';

/** CKA_ numbers and their values. */
export type Attributes = Readonly<Record<number, boolean | number | string>>;

/**
 * Steps, in order: `destroy` every object with the slot's id; `generate` an AES key; `create` one from bytes; `copy` the key
 * with other attributes; `set` attributes of the key.
 */
export type Step =
  | { readonly do: 'destroy' }
  | { readonly do: 'generate' | 'create' | 'copy' | 'set'; readonly attributes: Attributes };

const SCRIPT = `
  const { PKCS11 } = require(${JSON.stringify(resolve('node_modules/pkcs11js'))});
  const { module: path, parameters, token, pin, id, steps } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
  const module = new PKCS11();
  module.load(path);
  module.C_Initialize(parameters === '' ? { flags: 2 } : { libraryParameters: parameters });
  const slot = module.C_GetSlotList(true).find((one) => module.C_GetTokenInfo(one).label.trimEnd() === token);
  const session = module.C_OpenSession(slot, 6);
  module.C_Login(session, 1, pin);
  const list = (attributes) => [
    { type: 0x102, value: Buffer.from(id, 'hex') },
    ...Object.entries(attributes).map(([type, value]) => ({
      type: Number(type),
      value: typeof value === 'string' ? Buffer.from(value, 'hex') : value,
    })),
  ];
  const find = () => {
    module.C_FindObjectsInit(session, list({}));
    const found = module.C_FindObjects(session, 9);
    module.C_FindObjectsFinal(session);
    return found;
  };
  const first = find()[0];
  const codes = steps.map((step) => {
    try {
      if (step.do === 'destroy') for (const one of find()) module.C_DestroyObject(session, one);
      if (step.do === 'generate') module.C_GenerateKey(session, { mechanism: 0x1080 }, list(step.attributes));
      if (step.do === 'create') module.C_CreateObject(session, list(step.attributes));
      if (step.do === 'copy') module.C_CopyObject(session, first, list(step.attributes).slice(1));
      if (step.do === 'set') module.C_SetAttributeValue(session, first, list(step.attributes).slice(1));
      return 0;
    } catch (error) {
      return error.code;
    }
  });
  module.C_Finalize();
  process.stdout.write(JSON.stringify(codes));`;

/** @returns the return code of each step, 0 for done */
export function tamper({ options }: TokenBench, id: Uint8Array, steps: readonly Step[]): number[] {
  const { module, parameters, token, environment } = options;
  const input = JSON.stringify({ module, parameters, token, pin: PIN, id: Buffer.from(id).toString('hex'), steps });
  const env = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined));
  return JSON.parse(execFileSync(process.execPath, ['-e', SCRIPT], { input, env, encoding: 'utf8' })) as number[];
}
