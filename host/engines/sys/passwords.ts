/** sys/policies/password: how generated passwords look. */
import { Fault } from '../../fault.ts';
import { PASSWORD_POLICIES, type PasswordPolicies } from '../../policies/password-store.ts';
import type { Operation, OperationContext, SubtreeDeclarations } from '../../ports/engine.ts';

const AT = `${PASSWORD_POLICIES}/{name}`;
const readable: SubtreeDeclarations = [{ at: AT, modes: ['read'], extent: 'record' }];
const writable: SubtreeDeclarations = [{ at: AT, modes: ['read', 'write'], extent: 'record' }];

/** Text, or base64 of it as some clients send it. */
function sourceOf(text: string): string {
  const bytes = Buffer.from(text, 'base64');
  return /^[A-Za-z0-9+/\s]+={0,2}$/.test(text) && bytes.toString('base64') === text ? bytes.toString('utf8') : text;
}

export function passwordOperations(passwords: PasswordPolicies): readonly Operation[] {
  const nameOf = ({ captures }: OperationContext): string => captures['name'] ?? '';
  const at = 'policies/password/+name';
  return [
    {
      name: 'list-password-policies',
      pattern: 'policies/password',
      verb: 'list',
      summary: 'List the names of password policies.',
      fields: {},
      subtrees: [{ at: PASSWORD_POLICIES, modes: ['names'], extent: 'record' }],
      run: ({ view }) => {
        const keys = passwords.list(view);
        return keys.length === 0 ? { status: 404 } : { data: { keys } };
      },
    },
    {
      name: 'read-password-policy',
      pattern: at,
      verb: 'read',
      summary: 'Read a password policy.',
      fields: {},
      subtrees: readable,
      run: (context) => {
        const policy = passwords.read(context.view, nameOf(context));
        return policy === undefined ? { status: 404 } : { data: { policy } };
      },
    },
    {
      name: 'write-password-policy',
      pattern: at,
      verb: 'write',
      summary: 'Write a password policy: its length and rules of characters.',
      fields: {
        policy: { type: 'string', description: 'HCL: length = 20, rule "charset" { charset = "abc" min-chars = 1 }.' },
      },
      existence: AT,
      subtrees: writable,
      run: async (context) => {
        const source = sourceOf(String(context.fields['policy'] ?? ''));
        if (source === '') throw new Fault('input.invalid', 'missing policy');
        await passwords.write(context.view, nameOf(context), source);
        return undefined;
      },
    },
    {
      name: 'delete-password-policy',
      pattern: at,
      verb: 'delete',
      summary: 'Delete a password policy.',
      fields: {},
      subtrees: writable,
      run: async (context) => {
        await passwords.remove(context.view, nameOf(context));
        return undefined;
      },
    },
    {
      name: 'generate-password',
      pattern: `${at}/generate`,
      verb: 'read',
      summary: 'Generate a password by a policy.',
      fields: {},
      subtrees: readable,
      run: (context) => ({ data: { password: passwords.sourceFrom(context.view, nameOf(context)).draw() } }),
    },
  ];
}
