/** The only door into core: `loadCore` gives the facade that core/types.ts describes. */
import { Facade } from './facade.ts';
import type { Core } from './types.ts';
import type { WasmOptions } from './wasm.ts';

export { FRESHNESS_KEY, KEYRING_KEY } from './facade.ts';
export type * from './types.ts';
export {
  LEAF_SIZE_MAX,
  PAYLOAD_SIZE_MAX,
  SEGMENT_COUNT_MAX,
  SEGMENT_SIZE_MAX,
} from './types.ts';
export { isCoreFault } from './wasm.ts';

/** @param options wasm: the compiled core or its bytes; random: fills the pool; onTrap: core trapped and is dead */
export function loadCore(options: WasmOptions): Core {
  return new Facade(options);
}
