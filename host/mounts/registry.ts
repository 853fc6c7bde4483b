/** The engines that this box has, as core and the router know them. */
import type { Core, TypeDeclaration } from '../../core/types.ts';
import type { Engine } from '../ports/engine.ts';
import { Router } from './router.ts';

export class Registry {
  readonly engines: readonly Engine[];
  readonly #routers = new Map<string, Router>();

  /** Declares every operation in core, once and before the first unseal. */
  constructor(core: Core, engines: readonly Engine[]) {
    this.engines = engines;
    core.declare(engines.map(({ type, operations }): TypeDeclaration => ({ type, operations })));
    let first = 0;
    for (const engine of engines) {
      this.#routers.set(engine.type, new Router(engine, first));
      first += engine.operations.length;
    }
  }

  /** @param coreType `kv-v2` */
  router(coreType: string): Router {
    const router = this.#routers.get(coreType);
    if (router === undefined) throw new Error(`no engine of type ${coreType} is built in`);
    return router;
  }

  engine(coreType: string): Engine | undefined {
    return this.engines.find(({ type }) => type === coreType);
  }
}
