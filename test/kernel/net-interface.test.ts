import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { formatMac, NetInterface, parseMac } from '../../lib/index.js';
import { newTap } from '../support/device.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { tapName } from '../support/host.js';

const NOBODY = 65534;

/** Runs `call` without root's rights. */
function asNobody<T>(call: () => T): T {
  process.seteuid?.(NOBODY);
  try {
    return call();
  } finally {
    process.seteuid?.(0);
  }
}

/** A new interface, and its addresses as Node sees them; Node lists those that are up. */
const newInterface = () => newTap().interface;
const addressesOf = (name: string) => (networkInterfaces()[name] ?? []).map(({ cidr }) => cidr);

describe('an interface', () => {
  test('goes up and down', () => {
    const net = newInterface();
    expect(net.up).toBe(false);
    net.setUp();
    net.setUp();
    expect(net.up).toBe(true);
    net.setDown();
    expect([net.up, net.running]).toEqual([false, false]);
  });

  test('has an index of its own', () => {
    const [one, another] = [newInterface(), newInterface()];
    expect(one.index).toBeGreaterThan(1);
    expect(one.index).not.toBe(another.index);
    expect(new NetInterface('lo').index).toBe(1);
  });

  test('that is not there fails with ENODEV, and says that it does not exist', async () => {
    const net = new NetInterface(tapName());
    expect(net.exists).toBe(false);
    const calls: Record<string, () => unknown> = {
      SIOCGIFINDEX: () => net.index,
      SIOCGIFFLAGS: () => net.up,
      SIOCGIFMTU: () => net.mtu,
      SIOCGIFHWADDR: () => net.mac,
      SIOCSIFMTU: () => net.setMtu(1400),
      SIOCSIFHWADDR: () => net.setMac(parseMac('52:54:00:12:34:56')),
    };
    for (const [request, call] of Object.entries(calls)) {
      await expectSystemError(call, 'ENODEV', `ioctl(${request})`, net.name);
    }
  });

  test.each(['', 'a/b', 'x'.repeat(16), '.', '..'])('cannot be called %j', async (name) => {
    await expectCode(() => new NetInterface(name), 'ERR_INVALID_ARG_VALUE');
  });
});

describe('the MTU of a TAP', () => {
  test('is 1500 at first, and goes from 68 to 65521', () => {
    const net = newInterface();
    expect(net.mtu).toBe(1500);
    for (const bytes of [68, 9000, 65521]) {
      net.setMtu(bytes);
      expect(net.mtu).toBe(bytes);
    }
  });

  test('fails with EINVAL below and above', async () => {
    const net = newInterface();
    for (const bytes of [0, 67, 65522, 0x7fff_ffff]) {
      await expectSystemError(() => net.setMtu(bytes), 'EINVAL', 'ioctl(SIOCSIFMTU)', net.name);
    }
    expect(net.mtu).toBe(1500);
    await expectCode(() => net.setMtu(-1), 'ERR_OUT_OF_RANGE');
  });
});

describe('the hardware address of a TAP', () => {
  test('is six bytes of the kernel’s choice, and then what was set', () => {
    const net = newInterface();
    // Locally administered, and no group's.
    expect((net.mac[0] ?? 0) & 3).toBe(2);
    net.setMac(parseMac('52:54:00:12:34:56'));
    expect(formatMac(net.mac)).toBe('52:54:00:12:34:56');
    net.setUp();
    net.setMac(parseMac('52:54:00:12:34:57'));
    expect(formatMac(net.mac)).toBe('52:54:00:12:34:57');
  });

  test.each(['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00'])(
    'fails with EADDRNOTAVAIL for %s',
    async (mac) => {
      const net = newInterface();
      const set = () => net.setMac(parseMac(mac));
      await expectSystemError(set, 'EADDRNOTAVAIL', 'ioctl(SIOCSIFHWADDR)', net.name);
    },
  );

  test('has six bytes, no more and no less', async () => {
    const net = newInterface();
    await expectCode(() => net.setMac(new Uint8Array(5)), 'ERR_INVALID_ARG_VALUE');
    await expectCode(() => net.setMac(new Uint8Array(7)), 'ERR_INVALID_ARG_VALUE');
  });
});

describe('an address', () => {
  test.each([
    ['10.213.7.1/24', '10.213.7.1/24'],
    ['10.213.8.1', '10.213.8.1/32'],
    ['fd00:213::1/64', 'fd00:213::1/64'],
    ['fd00:213::2', 'fd00:213::2/128'],
    ['fd00:213::10.0.0.1/96', 'fd00:213::a00:1/96'],
  ])(
    '%s is the interface’s once added, and a second time fails with EEXIST',
    async (cidr, shown) => {
      const net = newInterface();
      net.setUp();
      net.addAddress(cidr);
      expect(addressesOf(net.name)).toContain(shown);
      await expectSystemError(() => net.addAddress(cidr), 'EEXIST', 'RTM_NEWADDR', net.name);
    },
  );

  test.each([
    '10.0.0.1/33',
    '10.0.0.1/-1',
    '10.0.0.1/',
    '10.0.0.1/8/8',
    '10.0.0.1/a',
    '10.0.0/8',
    'fd00::1/129',
    'fd00::1::2/64',
    'host/24',
    '',
  ])('%j is none, and the kernel is not asked', async (cidr) => {
    await expectCode(() => newInterface().addAddress(cidr), 'ERR_INVALID_ARG_VALUE');
  });

  test('of IPv6 fails with EACCES where the interface has no IPv6', async () => {
    const net = newInterface();
    writeFileSync(`/proc/sys/net/ipv6/conf/${net.name}/disable_ipv6`, '1');
    const add = () => net.addAddress('fd00:213::1/64');
    await expectSystemError(add, 'EACCES', 'RTM_NEWADDR', net.name);
  });

  test('of an interface that is not there fails with ENODEV', async () => {
    const net = new NetInterface(tapName());
    const add = () => net.addAddress('10.213.7.1/24');
    await expectSystemError(add, 'ENODEV', 'ioctl(SIOCGIFINDEX)', net.name);
  });
});

test('without CAP_NET_ADMIN nothing can be changed: EPERM', async () => {
  const net = newInterface();
  const calls: Record<string, () => unknown> = {
    'ioctl(SIOCSIFFLAGS)': () => net.setUp(),
    'ioctl(SIOCSIFMTU)': () => net.setMtu(1400),
    'ioctl(SIOCSIFHWADDR)': () => net.setMac(parseMac('52:54:00:12:34:56')),
    RTM_NEWADDR: () => net.addAddress('10.213.7.1/24'),
  };
  for (const [syscall, call] of Object.entries(calls)) {
    await expectSystemError(() => asNobody(call), 'EPERM', syscall, net.name);
  }
  expect(asNobody(() => net.mtu)).toBe(1500);
});
