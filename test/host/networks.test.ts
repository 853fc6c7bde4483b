import { describe, expect, test } from 'vitest';
import { networkCheck, parseNetwork } from '../../host/networks.ts';

const says = (networks: readonly string[], address: string): string => {
  try {
    networkCheck(networks)(address);
    return 'yes';
  } catch (error) {
    return String((error as Error).message);
  }
};
const ANY = ['0.0.0.0/0', '::/0'];

describe('where the box connects to', () => {
  test.each([
    '127.0.0.1',
    '::1',
    '10.1.2.3',
    '2001:db8::1',
    '::ffff:127.0.0.1',
    '100.100.100.199',
    '2002:a00:1::1',
    '64:ff9b:1::a00:1',
  ])('%s: yes', (address) => {
    expect(says(ANY, address)).toBe('yes');
  });

  test.each([
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '::169.254.169.254',
    '64:ff9b::169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    '224.0.0.1',
    '255.255.255.255',
    'fd00:ec2::254',
    'fd00:ec2::23',
    '64:ff9b:1::a9fe:a9fe',
    '::ffff:0:169.254.169.254',
    '2002:a9fe:a9fe::1',
    '168.63.129.16',
    '100.100.100.200',
  ])('%s: never, whatever is allowed', (address) => {
    expect(says([...ANY, '169.254.0.0/16', 'fe80::/10'], address)).toMatch(/link-local, multicast or of a metadata/);
  });

  test('what is outside of the allowed networks', () => {
    expect(says(['10.0.0.0/8', 'fd00::/8'], '10.255.0.1')).toBe('yes');
    expect(says(['10.0.0.0/8', 'fd00::/8'], 'fd12::1')).toBe('yes');
    expect(says(['10.0.0.0/8'], '::ffff:10.1.1.1')).toBe('yes');
    for (const address of ['11.0.0.1', '::1', '::ffff:11.0.0.1', '127.0.0.1'])
      expect(says(['10.0.0.0/8'], address)).toMatch(/outside the networks that databases.networks allows/);
  });

  test.each(['', 'localhost', '10.1', '0x7f000001', '127.0.0.1.', '1.2.3.4/8'])('%j is no address', (text) => {
    expect(says(ANY, text)).toMatch(/no IP address/);
  });
});

describe('a network', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.0.0.1', '10.0.0.1/32'],
    ['::1', '::1/128'],
    ['fd00::/8', 'fd00::/8'],
  ])('%s', (text, network) => {
    expect(parseNetwork(text)).toBe(network);
  });
  test.each(['', '10.0.0.0/33', '10.0.0.0/-1', '::/129', '10.0.0.0/8/8', 'fe80::1%eth0/64', 'all', '10.0.0.0/'])(
    '%j is none',
    (text) => {
      expect(parseNetwork(text)).toBeUndefined();
    },
  );
});
