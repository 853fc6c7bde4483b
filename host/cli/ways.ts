/** What is said of the ways into a box, for `operator diagnose`: each with what to do next. Of a running box or of a stopped one. */
import type { Finding, WayIn } from '../ports/appliance.ts';

const RUN = 'holdfast';

const short = ({ id }: WayIn): string => id.slice(0, 8);
const isDevice = ({ kind }: WayIn): boolean => kind === 'tpm2' || kind === 'pkcs11';

/** @param tried  each slot that opens by itself was tried just now */
function findingOf(way: WayIn, tried: boolean): Finding {
  const { kind, opens, trouble, threshold, shares } = way;
  const what = `slot ${kind} ${short(way)}`;
  switch (opens) {
    case 'shares':
      return { state: 'ok', what, sentence: `${threshold} of ${shares} shares open it: \`${RUN} unseal\`` };
    case 'not-allowed':
      return {
        state: 'bad',
        what,
        sentence: `is not allowed here (seal.allowed): remove it (\`${RUN} slot remove ${short(way)}\`), or allow its kind`,
      };
    case 'not-configured':
      return { state: 'bad', what, sentence: `is not configured here: name its device in the settings seal.${kind}.*` };
    case 'pin': {
      const next = `its PIN opens it: \`${RUN} unseal -slot=${short(way)}\``;
      return trouble === undefined
        ? { state: 'note', what, sentence: next }
        : { state: 'bad', what, sentence: `${trouble}; ${next}` };
    }
    case 'itself':
      if (trouble !== undefined) return { state: 'bad', what, sentence: trouble };
      return { state: 'ok', what, sentence: tried ? 'opens it' : 'opens it by itself, as far as the settings say' };
    default:
      return opens satisfies never;
  }
}

/**
 * @param sealed  the box is shut: say what opens it
 * @param marked  a person sealed it
 * @param barred  a slot gives the key, and a counter says that the store is another: that is told beside this
 */
export function findingsOf(
  ways: readonly WayIn[],
  {
    sealed,
    marked,
    tried,
    barred = false,
  }: { readonly sealed: boolean; readonly marked: boolean; readonly tried: boolean; readonly barred?: boolean },
): readonly Finding[] {
  const found = ways.map((way) => findingOf(way, tried));
  if (!sealed) return found;
  if (barred) {
    const sentence = 'a slot gives the key, and the box stays shut all the same for what its counter says';
    return [...found, { state: 'bad', what: 'opening', sentence }];
  }
  const alone = ways.some(({ opens, trouble }) => opens === 'itself' && trouble === undefined);
  if (alone && !marked && tried) {
    return [...found, { state: 'ok', what: 'opening', sentence: 'the box opens by itself when it is started' }];
  }
  const quorum = ways.find(({ opens }) => opens === 'shares');
  const how = [
    ...(quorum === undefined
      ? []
      : [`give ${quorum.threshold} of ${quorum.shares} recovery shares to \`${RUN} unseal\``]),
    ...ways
      .filter(({ opens, trouble }) => opens === 'pin' || (opens === 'itself' && trouble === undefined && marked))
      .map((way) => `run \`${RUN} unseal -slot=${short(way)}\` as the user of the service (${way.kind})`),
  ].join(', or ');
  const broken = ways.filter((way) => isDevice(way) && way.opens === 'itself' && way.trouble !== undefined);
  const after = broken
    .map(
      (way) =>
        `if the device of that ${way.kind} slot is lost, its counter is lost too: then each share is given to \`${RUN} unseal -accept=rolled-back\`; when it is open, \`${RUN} slot replace ${short(way)}\` makes that slot anew, if its device or boot changed`,
    )
    .join('; ');
  const why = marked ? 'a person sealed it, so it opens by nothing of itself' : 'nothing opens this box by itself now';
  return [...found, { state: 'bad', what: 'opening', sentence: `${why}: ${how}${after === '' ? '' : `; ${after}`}` }];
}
