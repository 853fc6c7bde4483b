/** Schedules by croner, which is loaded when the first one is parsed. */
import { Fault } from '../fault.ts';
import type { Schedule, Schedules } from '../ports/schedule.ts';

const LENGTH_MAX = 256;
const ZONE = /^(?:CRON_)?TZ=([A-Za-z][A-Za-z0-9_+/-]{0,63})\s+/;
/** What cron has everywhere; croner's own additions (L, W, #, seconds) are left out. */
const FIVE = /^(?:[0-9A-Za-z*,/-]+\s+){4}[0-9A-Za-z*,/-]+$/;
const NICKNAME = /^@(?:hourly|daily|midnight|weekly|monthly|yearly|annually)$/;
const OWN = /(?:^|[\s,])(?:L|LW|\d+[LW]|W)(?=$|[\s,])/i;

async function parse(text: string): Promise<Schedule> {
  const refuse = (): never => {
    throw new Fault(
      'input.invalid',
      'could not parse rotation_schedule: it has five fields as cron has them (30 2 * * 6), in UTC or behind CRON_TZ=Zone',
    );
  };
  const trimmed = text.trim();
  const zone = ZONE.exec(trimmed);
  const pattern = trimmed.slice(zone?.[0].length ?? 0);
  if (text.length > LENGTH_MAX || !(FIVE.test(pattern) || NICKNAME.test(pattern)) || OWN.test(pattern)) return refuse();
  const { Cron } = await import('croner');
  let cron: InstanceType<typeof Cron>;
  try {
    cron = new Cron(pattern, { timezone: zone?.[1] ?? 'UTC', paused: true, mode: '5-part' });
    if (cron.nextRun() === null) return refuse();
  } catch {
    return refuse();
  }
  return { next: (afterMs) => cron.nextRun(new Date(afterMs))?.getTime() };
}

export const cronSchedules: Schedules = { parse };
