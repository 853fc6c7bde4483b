import { describe, expect, test } from 'vitest';
import { MYSQL, literal as mysqlLiteral, write as mysqlWrite } from '../../../host/databases/mysql/dialect.ts';
import { parseMysql } from '../../../host/databases/mysql/settings.ts';
import { POSTGRESQL, write as postgresqlWrite } from '../../../host/databases/postgresql/dialect.ts';
import { parsePostgresql } from '../../../host/databases/postgresql/settings.ts';
import { redact } from '../../../host/databases/redact.ts';
import { check, rendered } from '../../../host/databases/statements.ts';

const postgresql = (text: string, values: { readonly name?: string; readonly password?: string }): readonly string[] =>
  rendered([text], values, POSTGRESQL, postgresqlWrite).texts;
const mysql = (text: string, values: { readonly name?: string; readonly password?: string }): readonly string[] =>
  rendered([text], values, MYSQL, mysqlWrite).texts;

describe('statements that were read before', () => {
  const CREATE = `CREATE ROLE "{{name}}" PASSWORD '{{password}}'`;
  const texts = (templates: readonly string[]): readonly string[] =>
    rendered(templates, { name: 'n', password: 'p' }, POSTGRESQL, postgresqlWrite).texts;

  test('are not taken for others that their texts look like when they are put together', () => {
    expect(texts([CREATE, 'GRANT a TO {{name}}'])).toEqual([`CREATE ROLE "n" PASSWORD 'p'`, 'GRANT a TO "n"']);
    expect(() => texts([`${CREATE}\0GRANT a TO {{name}}`])).toThrow(/no text may/);
    expect(() => texts([`2\0${CREATE}`, 'GRANT a TO {{name}}'])).toThrow(/no text may/);
    expect(texts([CREATE])).toEqual([`CREATE ROLE "n" PASSWORD 'p'`]);
    expect(texts([`${CREATE};GRANT a TO {{name}}`])).toHaveLength(2);
  });

  test('are read as the server at hand reads them', () => {
    const text = 'DROP USER `{{name}}`';
    expect(mysql(text, { name: 'a`b' })).toEqual(['DROP USER `a``b`']);
    expect(() => postgresql(text, { name: 'a`b' })).toThrow(/touches other text/);
  });

  test('are checked for each use and each kind of credential', () => {
    for (let i = 0; i < 2; i++) {
      expect(() => check([CREATE], 'create', 'password', POSTGRESQL)).not.toThrow();
      expect(() => check([CREATE], 'drop', 'password', POSTGRESQL)).toThrow(/password/);
      expect(() => check([CREATE], 'create', 'client_certificate', POSTGRESQL)).toThrow(/password/);
    }
  });

  test('are read again once many others came between', () => {
    for (let i = 0; i < 200; i++)
      expect(postgresql(`DROP ROLE "{{name}}${i}"`, { name: 'n' })).toEqual([`DROP ROLE "n${i}"`]);
    expect(texts([CREATE])).toEqual([`CREATE ROLE "n" PASSWORD 'p'`]);
  });
});

describe('a value is quoted for the place where its placeholder stands', () => {
  test.each([
    ['CREATE ROLE "{{name}}"', 'a"b', ['CREATE ROLE "a""b"']],
    ['CREATE ROLE {{name}}', 'a"b', ['CREATE ROLE "a""b"']],
    [`COMMENT ON ROLE x IS '{{name}}'`, "a'b\\", [`COMMENT ON ROLE x IS 'a''b\\'`]],
    [`COMMENT ON ROLE x IS E'{{name}}'`, "a'b\\", [`COMMENT ON ROLE x IS E'a''b\\\\'`]],
    [`COMMENT ON ROLE x IS E'x'\n  '{{name}}'`, '\\', [`COMMENT ON ROLE x IS E'x'\n  '\\\\'`]],
    [`COMMENT ON ROLE x IS E'\\'{{name}}'`, "'", [`COMMENT ON ROLE x IS E'\\''''`]],
    [`COMMENT ON ROLE x IS ''''; DROP ROLE "{{name}}"`, 'y', [`COMMENT ON ROLE x IS ''''`, ' DROP ROLE "y"']],
    ['DROP ROLE "a;b"; DROP ROLE "{{name}}" -- {{name}}; x', 'y', ['DROP ROLE "a;b"', ' DROP ROLE "y"  ']],
    ['DROP ROLE /* a /* {{name}} */ ; */ "{{name}}"', 'y', ['DROP ROLE   "y"']],
    [
      `DO $a$ BEGIN EXECUTE 'DROP ROLE "{{name}}"'; DROP ROLE {{name}}; END $a$`,
      'v-y',
      [`DO $a$ BEGIN EXECUTE 'DROP ROLE "v-y"'; DROP ROLE "v-y"; END $a$`],
    ],
    [`SELECT '{{1,2},{3,4}}'`, 'y', [`SELECT '{{1,2},{3,4}}'`]],
    ['GRANT a$$b TO "{{name}}"', 'y', ['GRANT a$$b TO "y"']],
  ])('PostgreSQL: %j with %j', (text, name, texts) => {
    expect(postgresql(text, { name })).toEqual(texts);
  });

  test.each([
    [`DROP USER '{{name}}'@'%'`, "a'b\\", [`DROP USER 'a''b\\\\'@'%'`]],
    [`DROP USER "{{name}}"`, `a'b"\\`, [`DROP USER "a'b""\\\\"`]],
    ['DROP USER `{{name}}`@`%`', 'a`b\\', ['DROP USER `a``b\\`@`%`']],
    [`DROP USER {{name}}@'%'`, "a'b", [`DROP USER 'a''b'@'%'`]],
    [`DROP USER 'x\\'{{name}}'`, "'", [`DROP USER 'x\\''''`]],
    [`DROP USER 'a;b'; DROP USER '{{name}}' # {{name}}; x\n`, 'y', [`DROP USER 'a;b'`, ` DROP USER 'y'  \n`]],
    [`SET @a = 1--{{name}}`, 'y', undefined],
  ])('MariaDB: %j with %j', (text, name, texts) => {
    if (texts === undefined) expect(() => mysql(text, { name })).toThrow(/touches other text/);
    else expect(mysql(text, { name })).toEqual(texts);
  });

  test('where the server may run the text, only what ends nothing at any depth is taken', () => {
    const texts = [
      `DO $$ BEGIN EXECUTE 'CREATE ROLE "{{name}}"'; END $$`,
      `SELECT run('DROP ROLE "{{name}}"')`,
      `CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DROP ROLE "{{name}}"'`,
    ];
    for (const text of texts) {
      expect(postgresql(text, { name: 'v-a_b.c@d' }).join()).toContain('"v-a_b.c@d"');
      for (const name of ['a"b', "a'b", 'a b', 'a;b', 'a--b', 'a/*b', 'a\\b', 'a`b', 'a\nb', 'ä']) {
        expect(() => postgresql(text, { name }), `${text} ${name}`).toThrow(/may run/);
      }
    }
    const prepared = `PREPARE p FROM 'DROP USER "{{name}}"'`;
    expect(() => mysql(prepared, { name: 'a"b' })).toThrow(/may run/);
    // What the server keeps of a password has $ in it, and may stand in a body by another tag.
    expect(postgresql(`DO $a$ x '{{password}}' $a$`, { password: 'S$1:x$y' }).join()).toContain(`'S$1:x$y'`);
    expect(() => postgresql(`DO $x$ x '{{password}}' $x$`, { password: 'S$x$y' })).toThrow(/ends the quote/);
    expect(() => postgresql(`DO $$ x '{{password}}$' $$`, { password: 'S$' })).toThrow(/ends the quote/);
  });

  test('random texts at random places come back as they were from an independent reading', () => {
    const alphabet = [`'`, '"', '\\', '`', '$', ';', '-', '-', '{', '}', '\n', 'a', ' ', 'E', '/', '*', 'é'];
    let seed = 12345;
    const next = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    for (let round = 0; round < 2000; round++) {
      const value = Array.from({ length: next(12) }, () => alphabet[next(alphabet.length)]).join('');
      const [plain = ''] = postgresql(`COMMENT ON ROLE x IS '{{name}}'`, { name: value });
      expect(/^COMMENT ON ROLE x IS '((?:[^']|'')*)'$/.exec(plain)?.[1]?.replaceAll("''", "'")).toBe(value);
      const [identifier = ''] = postgresql('DROP ROLE "{{name}}"', { name: value });
      expect(/^DROP ROLE "((?:[^"]|"")*)"$/.exec(identifier)?.[1]?.replaceAll('""', '"')).toBe(value);
      const inner = /^'((?:[^'\\]|''|\\[\s\S])*)'$/.exec(mysqlLiteral(value))?.[1] ?? 'no match';
      expect(inner.replace(/''|\\([\s\S])/g, (_all, escaped: string | undefined) => escaped ?? "'")).toBe(value);
    }
  });
});

describe('a message keeps no secret', () => {
  test.each([
    ['syntax error at or near "hunter2-secret"', 'syntax error at or near "[secret]"'],
    ["near 'IDENTIFIED BY 'hunter2-se' at line 1", "near 'IDENTIFIED BY '[secret]' at line 1"],
    ['…ter2-secret', '…[secret]'],
    ['nothing of it', 'nothing of it'],
    ['two\nlines\u2028and \u001b[31m colour', 'two lines and  [31m colour'],
  ])('%j', (message, clean) => {
    expect(redact(message, ['hunter2-secret'])).toBe(clean);
  });

  test('short secrets, several, overlapping ones; endless messages end', () => {
    expect(redact('a ab abc b', ['ab'])).toBe('a [secret] [secret]c b');
    expect(redact('one-two-three', ['one-two', 'two-three'])).toBe('[secret]');
    expect(redact('x', [''])).toBe('x');
    expect(redact('y'.repeat(10_000), []).length).toBeLessThan(600);
  });
});

describe('PostgreSQL’s connection settings', () => {
  const login = { username: 'u', password: 'p' };
  const target = (connection_url: string, more = {}) => parsePostgresql({ connection_url, ...login, ...more }).target;

  test.each([
    [
      'postgresql://{{username}}:{{password}}@db:5433/app?sslmode=require',
      { host: 'db', port: 5433, database: 'app', tls: 'require' },
    ],
    ['postgres://{{username}}:{{password}}@db/app', { host: 'db', port: 5432, database: 'app', tls: 'verify-full' }],
    [
      'postgresql://{{username}}:{{password}}@[::1]:1/a%20b',
      { host: '::1', port: 1, database: 'a b', tls: 'verify-full' },
    ],
    ['postgresql://{{username}}@db?sslmode=disable', { host: 'db', database: 'u', tls: 'disable' }],
    [
      'host=db port=5433 user={{username}} password={{password}} dbname=app sslmode=disable',
      { host: 'db', port: 5433, database: 'app', username: 'u', password: 'p' },
    ],
    [`host='db' dbname='a \\'b' sslmode=require connect_timeout=5`, { host: 'db', database: `a 'b`, tls: 'require' }],
  ])('%s', (url, expected) => {
    expect(target(url)).toMatchObject(expected);
  });

  test('a user and a password in the URL are read from it, %xx resolved, @ in them allowed', () => {
    const { target: found } = parsePostgresql({ connection_url: 'postgresql://r%6fot:p%2Fw@rd@db/app' });
    expect(found).toMatchObject({ username: 'root', password: 'p/w@rd', host: 'db' });
    expect(parsePostgresql({ connection_url: 'host=db user=root password=a\\ b' }).target.password).toBe('a b');
  });

  test('what goes in by a value can be no other part of the URL', () => {
    const odd = 'x@evil:1/other?sslmode=disable';
    expect(target('postgresql://{{username}}:{{password}}@db/app', { username: odd, password: odd })).toMatchObject({
      ...{ host: 'db', database: 'app', tls: 'verify-full', username: odd, password: odd },
    });
  });

  test.each([
    [{ sslmode: 1 }, 'ignored'],
    [{ passwrd: 'CANARY' }, 'ignored'],
  ])('what is not known is told of by name: %j', (more, word) => {
    const { warnings, stored, shown } = parsePostgresql({ connection_url: 'postgresql://db/app', ...login, ...more });
    expect(warnings.join()).toContain(word);
    expect(JSON.stringify([warnings, stored, shown])).not.toContain('CANARY');
  });

  test.each([
    [{ self_managed: true }],
    [{ auth_type: 'gcp_iam' }],
    [{ tls_ca: 'x' }],
    [{ tls_certificate: 'x' }],
    [{ password_authentication: 'md5' }],
    [{ username: 'a\0b' }],
    [{ password: 7 }],
    [{ password: '' }],
    [{ connection_url: '' }],
    [{ connection_url: 'postgresql://other@db/app' }],
    [{ connection_url: 'postgresql:///app' }],
  ])('refused: %j', (more) => {
    expect(() => target('postgresql://db/app', more)).toThrow(
      expect.objectContaining({ code: 'input.invalid' }) as Error,
    );
  });

  test('whoever may read along is warned of', () => {
    const warnings = (url: string): string => parsePostgresql({ connection_url: url, ...login }).warnings.join();
    expect(warnings('postgresql://db/app?sslmode=disable')).toMatch(/reads and changes/);
    expect(warnings('postgresql://127.0.0.1/app?sslmode=disable')).toBe('');
    expect(warnings('postgresql://db/app?sslmode=require')).toMatch(/does not check/);
    expect(warnings('postgresql://db/app')).toBe('');
  });
});

describe('MySQL’s connection settings', () => {
  const login = { username: 'u', password: 'p' };
  const target = (connection_url: string, more = {}) => parseMysql({ connection_url, ...login, ...more }).target;

  test.each([
    [
      '{{username}}:{{password}}@tcp(db:3307)/app?parseTime=true',
      { host: 'db', port: 3307, database: 'app', tls: 'none' },
    ],
    ['{{username}}:{{password}}@tcp(db)/', { host: 'db', port: 3306, database: '' }],
    ['{{username}}:{{password}}@tcp([::1]:3307)/', { host: '::1', port: 3307 }],
    ['{{username}}:{{password}}@/', { host: '127.0.0.1', port: 3306 }],
    ['{{username}}:{{password}}@tcp(db:1)/?tls=true', { tls: 'verified' }],
    ['{{username}}:{{password}}@tcp(db:1)/?tls=skip-verify', { tls: 'unchecked' }],
  ])('%s', (url, expected) => {
    expect(target(url)).toMatchObject(expected);
  });

  test('a password in the URL may have any sign in it', () => {
    const { target: found, shown } = parseMysql({ connection_url: 'root:p@ss:w/rd@tcp(db:1)/' });
    expect(found).toMatchObject({ username: 'root', password: 'p@ss:w/rd', host: 'db' });
    expect(shown['connection_url']).toBe('root:xxxxx@tcp(db:1)/');
  });

  test('TLS is what its settings say, and never less than they say', () => {
    expect(target('{{username}}:{{password}}@tcp(db:1)/', { tls_server_name: 'x' }).tls).toBe('verified');
    expect(target('{{username}}:{{password}}@tcp(db:1)/', { tls_skip_verify: true }).tls).toBe('unchecked');
    expect(() => target('{{username}}:{{password}}@tcp(db:1)/?tls=false', { tls_server_name: 'x' })).toThrow(
      /tls=false/,
    );
    expect(() => target('{{username}}:{{password}}@tcp(db:1)/?tls=preferred')).toThrow(/preferred/);
  });
});
