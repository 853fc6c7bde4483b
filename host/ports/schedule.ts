/** Points in time that repeat, as cron writes them. Implemented by host/system/cron.ts. */
export interface Schedule {
  /** Wall time in ms of the first point after `afterMs`; undefined: there is none. */
  next(afterMs: number): number | undefined;
}

export interface Schedules {
  /**
   * Five fields (minute, hour, day, month, weekday) or `@daily` and its like, in UTC, or with `CRON_TZ=Zone ` before them in
   * that time zone.
   *
   * @throws Fault `input.invalid` it is no such expression, or never comes
   */
  parse(text: string): Promise<Schedule>;
}
