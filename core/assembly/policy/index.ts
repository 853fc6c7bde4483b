/** Policies: rules compiled to a byte trie, decided by `policyDecide`, which is total and says no by default. */
export { policyBegin, policyClear, policyCommit, policyFind, policyGeneration, policyMemory } from './arena';
export { policyAdd } from './compile';
export { policyCapabilities, policyCapabilitiesFor, policyDecide, policyGranting } from './decide';
export {
  CAPABILITY_CREATE,
  CAPABILITY_DELETE,
  CAPABILITY_DENY,
  CAPABILITY_LIST,
  CAPABILITY_PATCH,
  CAPABILITY_READ,
  CAPABILITY_ROOT,
  CAPABILITY_SUDO,
  CAPABILITY_UPDATE,
  POLICY_ARENA_SIZE,
  POLICY_COUNT_MAX,
  POLICY_FULL,
  POLICY_MALFORMED,
  POLICY_OK,
  POLICY_SET_COUNT_MAX,
  POLICY_SUDO,
  VERDICT_ALLOWED,
  VERDICT_DENIED,
  VERDICT_MALFORMED,
  VERDICT_NEEDS_PARAMETERS,
} from './layout';
export { policyParameters } from './parameters';
