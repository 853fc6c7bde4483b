/** sys/slots: the ways into the box, for its operators. A PIN comes in the body, never in the path, and is in no answer. */
import { Fault } from '../../fault.ts';
import type { KeyService, SlotInfo, SlotOffer } from '../../ports/appliance.ts';
import type { CounterStatus } from '../../ports/counter.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { SlotKind } from '../../ports/seal-slot.ts';
import type { ValueMap } from '../../ports/value.ts';
import { Secret } from '../../secret.ts';
import { timestampNanos } from '../../timestamp.ts';

const KINDS: readonly SlotKind[] = ['tpm2', 'pkcs11', 'keyfile'];
const PIN_SIZE_MAX = 255;

const ID: Field = { type: 'string', description: 'Id of the slot, as the list has it, or its first 8 digits or more.' };
const PIN: Field = {
  type: 'string',
  description: 'PIN of the slot: of the token, or what the TPM slot is to ask for. Without it the one of the PIN file.',
  secret: true,
};
const KEEP: Field = {
  type: 'bool',
  description: 'Keep the key file, which the first TPM or HSM slot takes away otherwise.',
};

function counterOf({ count, advisory, away, raised, budget }: CounterStatus): ValueMap {
  return { count, advisory, away: away ?? null, raised_this_year: raised, budget_a_year: budget };
}

function slotOf(slot: SlotInfo): ValueMap {
  return {
    id: slot.id,
    kind: slot.kind,
    created_time: timestampNanos(slot.createdMs, 0),
    threshold: slot.threshold,
    shares: slot.shares,
    automatic: slot.automatic,
    asks_pin: slot.asksPin,
    allowed: slot.allowed,
    weakest: slot.weakest,
    ...(slot.counter === undefined ? {} : { counter: counterOf(slot.counter) }),
  };
}

function kindOf(given: unknown): SlotKind {
  const kind = KINDS.find((one) => one === given);
  if (kind === undefined) throw new Fault('input.invalid', `kind must be one of ${KINDS.join(', ')}`);
  return kind;
}

/** Runs `work` with what the caller offers; the PIN is wiped after it. */
async function offering<T>({ fields }: OperationContext, work: (offer: SlotOffer) => Promise<T>): Promise<T> {
  const keepKeyfile = fields['keep_keyfile'] === true;
  const text = fields['pin'];
  if (text === undefined || text === '') return await work({ keepKeyfile });
  const bytes = Buffer.from(String(text), 'utf8');
  using pin = new Secret(bytes);
  if (bytes.length > PIN_SIZE_MAX || bytes.some((byte) => byte < 0x20 || byte === 0x7f))
    throw new Fault('input.invalid', `a PIN is one line of at most ${PIN_SIZE_MAX} bytes`);
  return await work({ pin, keepKeyfile });
}

const warned = (warnings: readonly string[]): Partial<Answer> => (warnings.length === 0 ? {} : { warnings });

export function slotOperations(keys: () => KeyService): readonly Operation[] {
  const id = ({ captures }: OperationContext): string => captures['id'] ?? '';
  return [
    {
      name: 'list-slots',
      pattern: 'slots',
      verb: 'list',
      sudo: true,
      summary: 'The ways into the box, the weakest one named.',
      fields: {},
      run: () => {
        const slots = keys().slots();
        const info = Object.fromEntries(slots.map((slot) => [slot.id, slotOf(slot)]));
        return { data: { keys: slots.map((slot) => slot.id), key_info: info } };
      },
    },
    {
      name: 'add-slot',
      pattern: 'slots',
      verb: 'write',
      root: true,
      summary: 'Add a way into the box.',
      fields: {
        kind: { type: 'string', description: `One of ${KINDS.join(', ')}.` },
        ...{ pin: PIN, keep_keyfile: KEEP },
      },
      run: (context) =>
        offering(context, async (offer) => {
          const added = await keys().addSlot(kindOf(context.fields['kind']), offer);
          return { data: { ...slotOf(added), removed: added.removed }, ...warned(added.warnings) };
        }),
    },
    {
      name: 'replace-slot',
      pattern: 'slots/+id/replace',
      verb: 'write',
      root: true,
      summary: 'A new slot in the place of an old one, in one change with a new root key.',
      fields: {
        id: ID,
        kind: { type: 'string', description: 'Kind of the new slot; that of the old one if absent.' },
        pin: PIN,
      },
      run: (context) =>
        offering(context, async (offer) => {
          const given = context.fields['kind'];
          const kind = given === undefined || given === '' ? undefined : kindOf(given);
          const added = await keys().replaceSlot(id(context), kind, offer);
          return { data: { ...slotOf(added), removed: added.removed }, ...warned(added.warnings) };
        }),
    },
    {
      name: 'test-slot',
      pattern: 'slots/+id/test',
      verb: 'write',
      sudo: true,
      summary: 'Recover the key of a slot and throw it away: whether the box would open by it now.',
      fields: { id: ID, pin: PIN },
      run: (context) =>
        offering(context, async (offer) => {
          await keys().testSlot(id(context), offer);
          return { data: { id: id(context), opens: true } };
        }),
    },
    {
      name: 'remove-slot',
      pattern: 'slots/+id',
      verb: 'delete',
      root: true,
      summary: 'Take a way into the box away: a new root key, so that who held it opens an old disk only.',
      fields: { id: ID },
      run: async (context) => {
        const warnings = await keys().removeSlot(id(context));
        return warnings.length === 0 ? undefined : { warnings };
      },
    },
    {
      name: 'remove-slot-by-pin',
      pattern: 'slots/+id/remove',
      verb: 'write',
      root: true,
      summary: 'As the deletion, with the PIN by which the key on the token is deleted too.',
      fields: { id: ID, pin: PIN },
      run: (context) =>
        offering(context, async (offer) => {
          const warnings = await keys().removeSlot(id(context), offer);
          return warnings.length === 0 ? undefined : { warnings };
        }),
    },
  ];
}
