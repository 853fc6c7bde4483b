/** Where a box can be killed: before and after every step that the code names. */
import { STEPS as ROTATION_STEPS, type RotationHook } from '../../../host/engines/database/steps.ts';
import { STEPS as LEASE_STEPS, type StepHook } from '../../../host/leases/steps.ts';

export type LeaseHook = StepHook & RotationHook;

export const STEPS: Readonly<Record<string, { readonly kind: 'durable' | 'outside'; readonly what: string }>> = {
  ...LEASE_STEPS,
  ...ROTATION_STEPS,
};

/** `issue.create before`, in the order of the code's tables. */
export const POINTS: readonly string[] = Object.keys(STEPS).flatMap((step) => [`${step} before`, `${step} after`]);
