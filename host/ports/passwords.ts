/** One password policy, as it is now: what makes passwords by it. */
export interface PasswordSource {
  /** The policy's text; '' the default. Where it is the same, so are the passwords but for chance. */
  readonly text: string;
  readonly draw: () => string;
}
