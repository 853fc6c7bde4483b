import { openMemoryStore } from '../../../host/store/memory/memory.ts';
import { storeContract } from '../../contract/store.ts';

storeContract('the memory store', async (witness) => {
  const store = openMemoryStore(witness);
  return { store, dispose: () => store.close() };
});
