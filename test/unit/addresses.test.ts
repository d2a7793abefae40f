import { isIPv6, SocketAddress } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatAddress, parseAddress } from '../../lib/host/ip-address.js';
import { formatMac, parseMac } from '../../lib/host/net-interface.js';

const NO_VALUE = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** Node's own canonical text of an IPv6 address. */
const canonical = (address: string) => new SocketAddress({ address, family: 'ipv6' }).address;

test('a MAC address is six bytes, with colons or dashes, in either case', () => {
  const expected = Uint8Array.of(0x52, 0x54, 0, 0xab, 0xcd, 0xef);
  expect(parseMac('52:54:00:ab:cd:ef')).toEqual(expected);
  expect(parseMac('52-54-00-AB-CD-EF')).toEqual(expected);
  expect(formatMac(expected)).toBe('52:54:00:ab:cd:ef');
});

test('every MAC address reads back as it was written', () => {
  fc.assert(
    fc.property(bytes(6), (mac) => {
      expect(parseMac(formatMac(mac))).toEqual(mac);
    }),
  );
});

test.each([
  '',
  '52:54:00:12:34',
  '52:54:00:12:34:56:78',
  '52:54:00:12:34:5',
  '52:54:00:12:34:5g',
  '525400123456',
  ' 52:54:00:12:34:56',
  '52:54:00:12:34:56\n',
])('%j is no MAC address', (text) => {
  expect(() => parseMac(text)).toThrow(NO_VALUE);
});

test('every IPv4 address reads back as it was written', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      expect(formatAddress(parseAddress(text))).toBe(text);
      expect(parseAddress(text)).toHaveLength(4);
    }),
  );
});

test.each([
  ['::', '00000000000000000000000000000000'],
  ['::1', '00000000000000000000000000000001'],
  ['1::', '00010000000000000000000000000000'],
  ['fe80::1:2', 'fe800000000000000000000000010002'],
  ['2001:db8:1:2:3:4:5:6', '20010db8000100020003000400050006'],
  ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
  ['::2:3:4:5:6:7:8', '00000002000300040005000600070008'],
  ['::ffff:192.0.2.255', '00000000000000000000ffffc00002ff'],
  ['64:ff9b::10.0.0.1', '0064ff9b00000000000000000a000001'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['fe80::1%10.0.0.1', 'fe800000000000000000000000000001'],
])('%s is the bytes %s', (text, hex) => {
  expect(Buffer.from(parseAddress(text)).toString('hex')).toBe(hex);
});

test('every IPv6 address means to us what it means to Node', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      fc.pre(isIPv6(text));
      expect(canonical(formatAddress(parseAddress(text)))).toBe(canonical(text));
    }),
  );
});

test('every 16 bytes are an IPv6 address that reads back', () => {
  fc.assert(
    fc.property(bytes(16), (address) => {
      const text = formatAddress(address);
      expect(isIPv6(text)).toBe(true);
      expect(parseAddress(text)).toEqual(address);
      expect(parseAddress(canonical(text))).toEqual(address);
    }),
  );
});

test.each(['', '10.0.0', '10.0.0.256', '1:2:3', 'fe80:::1', '10.0.0.1/24', 'host.example'])(
  '%j is no IP address',
  (text) => {
    expect(() => parseAddress(text)).toThrow(NO_VALUE);
  },
);
