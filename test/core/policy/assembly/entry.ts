/** The policy module alone, with memory of its own, for its tests and its bench. */
export {
  policyAdd,
  policyBegin,
  policyCapabilities,
  policyCapabilitiesFor,
  policyClear,
  policyCommit,
  policyDecide,
  policyFind,
  policyGeneration,
  policyGranting,
  policyMemory,
  policyParameters,
} from '../../../../core/assembly/policy/index';
