/** KV version 2: secrets with versions, check-and-set, soft deletion and metadata. */
import type { Engine, Operation } from '../../ports/engine.ts';
import { readConfigOperation, writeConfigOperation } from './config.ts';
import { deleteData, patchData, readData, readSubkeys, writeData } from './data.ts';
import {
  deleteMetadata,
  listDetailedMetadata,
  listMetadata,
  patchMetadata,
  readMetadata,
  writeMetadata,
} from './secrets.ts';
import { deleteVersions, destroyVersions, undeleteVersions } from './versions.ts';

/**
 * People who know version 1 ask for `secret/x`, which is no path of version 2: the warning names the command that puts
 * the path right.
 */
function misdirected(verb: Operation['verb'], command: string): Operation {
  return {
    name: `misdirected-${verb}`,
    pattern: '*path',
    verb,
    summary: 'No path of a versioned engine: answers which command to use.',
    fields: {},
    body: 'free',
    run: () => ({
      status: 404,
      data: null,
      warnings: [
        'Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. ' +
          `If using the Vault CLI, use 'vault kv ${command}' for this operation.`,
      ],
    }),
  };
}

/** Secrets with versions. */
export const kvV2: Engine = {
  type: 'kv-v2',
  help: 'Stores secrets by path with their versions, check-and-set, soft deletion and metadata.',
  operations: [
    readData,
    writeData,
    patchData,
    deleteData,
    readSubkeys,
    deleteVersions,
    undeleteVersions,
    destroyVersions,
    readMetadata,
    writeMetadata,
    patchMetadata,
    deleteMetadata,
    listMetadata,
    listDetailedMetadata,
    readConfigOperation,
    writeConfigOperation,
    misdirected('read', 'get'),
    misdirected('write', 'put'),
    misdirected('patch', 'patch'),
    misdirected('delete', 'delete'),
    misdirected('list', 'list'),
  ],
};
