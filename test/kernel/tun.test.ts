import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_TUN,
  IFF_VNET_HDR,
  NetInterface,
  Tap,
} from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import { checked } from '../../lib/syscall.js';
import { keep, newTap, plainFile } from '../support/device.js';
import { errnoOf, expectCode, expectSystemError, thrownBy } from '../support/errors.js';
import { KERNEL_LINE, tapName } from '../support/host.js';

const MODPROBE = '/proc/sys/kernel/modprobe';
const SETIFF = 'ioctl(TUNSETIFF)';
/** What each kernel line's driver can do. */
const LEAST = 0x7173;
const HOST_FEATURES: Record<string, number> = { '6.1': LEAST, '6.12': LEAST, '7.3': 0x71f3 };

/** A descriptor of /dev/net/tun without an interface. */
function unattached(): Fd {
  const fd = native.open('/dev/net/tun', 2);
  if (typeof fd === 'number') throw new Error('/dev/net/tun does not open');
  return keep(fd);
}

/** Every request for which a descriptor needs an interface. */
const NEED_INTERFACE: Record<string, (fd: Fd) => unknown> = {
  TUNGETIFF: (fd) => native.tunGetIff(fd),
  TUNSETPERSIST: (fd) => native.tunSetPersist(fd, 0),
  TUNSETOWNER: (fd) => native.tunSetOwner(fd, 0),
  TUNSETGROUP: (fd) => native.tunSetGroup(fd, 0),
  TUNSETLINK: (fd) => native.tunSetLink(fd, 1),
  TUNSETNOCSUM: (fd) => native.tunSetNoCsum(fd, 0),
  TUNSETOFFLOAD: (fd) => native.tunSetOffload(fd, 0),
  TUNSETTXFILTER: (fd) => native.tunSetTxFilter(fd, 0, new Uint8Array(0)),
  TUNGETSNDBUF: (fd) => native.tunGetSndbuf(fd),
  TUNSETSNDBUF: (fd) => native.tunSetSndbuf(fd, 4096),
  TUNGETVNETHDRSZ: (fd) => native.tunGetVnetHdrSz(fd),
  TUNSETVNETHDRSZ: (fd) => native.tunSetVnetHdrSz(fd, 12),
  TUNGETVNETLE: (fd) => native.tunGetVnetLe(fd),
  TUNSETVNETLE: (fd) => native.tunSetVnetLe(fd, 1),
  TUNGETVNETBE: (fd) => native.tunGetVnetBe(fd),
  TUNSETVNETBE: (fd) => native.tunSetVnetBe(fd, 1),
  TUNATTACHFILTER: (fd) => native.tunAttachFilter(fd, new Uint8Array(8)),
  TUNDETACHFILTER: (fd) => native.tunDetachFilter(fd),
  TUNGETFILTER: (fd) => native.tunGetFilter(fd),
  TUNSETSTEERINGEBPF: (fd) => native.tunSetSteeringEbpf(fd, -1),
  TUNSETFILTEREBPF: (fd) => native.tunSetFilterEbpf(fd, -1),
  TUNSETCARRIER: (fd) => native.tunSetCarrier(fd, 1),
  TUNGETDEVNETNS: (fd) => native.tunGetDevNetns(fd),
};

describe('a descriptor without an interface', () => {
  test.each(Object.entries(NEED_INTERFACE))('gives EBADFD for %s', async (request, call) => {
    const fd = unattached();
    await expectSystemError(
      () => checked(call(fd), `ioctl(${request})`),
      'EBADFD',
      `ioctl(${request})`,
    );
  });

  test('gives EINVAL for TUNSETQUEUE', async () => {
    const fd = unattached();
    for (const flags of [0x200, 0x400]) {
      const call = () => checked(native.tunSetQueue(fd, flags), 'ioctl(TUNSETQUEUE)');
      await expectSystemError(call, 'EINVAL', 'ioctl(TUNSETQUEUE)');
    }
  });

  test('may say which index its interface will have; one with an interface may not', async () => {
    const fd = unattached();
    const name = tapName();
    expect(native.tunSetIfIndex(fd, 424242)).toBe(0);
    native.tunSetIff(fd, name, IFF_TAP | IFF_NO_PI);
    expect(new NetInterface(name).index).toBe(424242);
    expect(native.tunSetIfIndex(fd, 424243)).toBe(-errnoOf('EPERM'));
  });

  test('tells what the driver can do, on any kernel at least what the oldest can', () => {
    const features = Tap.hostFeatures();
    expect(features).toBe(HOST_FEATURES[KERNEL_LINE] ?? features);
    expect(features & LEAST).toBe(LEAST);
  });
});

describe('opening a TAP', () => {
  test('runs no modprobe for its name', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vhost-net-modprobe-'));
    const asked = join(folder, 'asked');
    const before = readFileSync(MODPROBE, 'utf8');
    writeFileSync(join(folder, 'modprobe'), `#!/bin/sh\necho "$@" >> ${asked}\n`, { mode: 0o755 });
    writeFileSync(MODPROBE, join(folder, 'modprobe'));
    onTestFinished(() => {
      writeFileSync(MODPROBE, before);
      rmSync(folder, { recursive: true });
    });
    // It would be heard of: this asks by a name that nothing has.
    const name = tapName();
    expect(new NetInterface(name).exists).toBe(false);
    expect(readFileSync(asked, 'utf8')).toContain(`netdev-${name}`);
    rmSync(asked);
    newTap();
    expect(existsSync(asked)).toBe(false);
  });

  test('makes an interface, and closing it removes the interface', () => {
    const tap = newTap();
    expect(tap.created).toBe(true);
    expect(tap.interface.exists).toBe(true);
    expect(tap.flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)).toBe(
      IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
    );
    tap.close();
    expect(tap.interface.exists).toBe(false);
  });

  test('in mode tun makes an interface of layer 3', () => {
    expect(newTap({ mode: 'tun' }).flags & (IFF_TUN | IFF_TAP)).toBe(IFF_TUN);
  });

  test('without a header makes one without', () => {
    expect(newTap({ vnetHeader: false }).hasVnetHeader).toBe(false);
    expect(newTap().hasVnetHeader).toBe(true);
  });

  test('takes the first free number for %d', () => {
    const prefix = tapName().slice(0, 8);
    const first = keep(Tap.open(`${prefix}%d`));
    const second = keep(Tap.open(`${prefix}%d`));
    expect([first.name, second.name]).toEqual([`${prefix}0`, `${prefix}1`]);
    expect(second.interface.name).toBe(`${prefix}1`);
  });

  test('takes a name of 15 bytes', () => {
    const name = tapName().padEnd(15, 'x');
    expect(keep(Tap.open(name)).name).toBe(name);
  });

  test.each(['', '.', '..', 'a/b', 'a:b', 'a b', 'a\n', 'a\0b', 'x'.repeat(16), 'é'.repeat(8)])(
    'refuses the name %j before the kernel sees it',
    async (name) => {
      await expectCode(() => Tap.open(name), 'ERR_INVALID_ARG_VALUE');
    },
  );

  test('fails with EBUSY where somebody has the only queue', async () => {
    const {
      interface: { name },
    } = newTap();
    await expectSystemError(() => Tap.open(name), 'EBUSY', SETIFF, name);
  });

  test('fails with EINVAL where it exists in the other mode, or is no TAP at all', async () => {
    const {
      interface: { name },
    } = newTap();
    await expectSystemError(() => Tap.open(name, { mode: 'tun' }), 'EINVAL', SETIFF, name);
    await expectSystemError(() => Tap.open('lo'), 'EINVAL', SETIFF, 'lo');
  });

  test('fails with EINVAL where one has several queues and the other not', async () => {
    const one = newTap().interface.name;
    const many = newTap({ multiQueue: true }).interface.name;
    await expectSystemError(() => Tap.open(one, { multiQueue: true }), 'EINVAL', SETIFF, one);
    await expectSystemError(() => Tap.open(many, { multiQueue: false }), 'EINVAL', SETIFF, many);
  });

  test.each([true, undefined])('joins one of several queues, with multiQueue %o', (multiQueue) => {
    const first = newTap({ multiQueue: true });
    const second = keep(Tap.open(first.name, multiQueue === undefined ? {} : { multiQueue }));
    expect([first.created, second.created]).toEqual([true, false]);
    expect(second.flags & IFF_MULTI_QUEUE).toBe(IFF_MULTI_QUEUE);
    first.close();
    expect(second.interface.exists).toBe(true);
  });

  test('exclusively fails with EBUSY where it exists, and works where it does not', async () => {
    const {
      interface: { name },
    } = newTap({ multiQueue: true, exclusive: true });
    const again = () => Tap.open(name, { multiQueue: true, exclusive: true });
    await expectSystemError(again, 'EBUSY', SETIFF, name);
  });

  test('fails with E2BIG for the 257th queue', async () => {
    const options = { multiQueue: true };
    const { name } = newTap(options).interface;
    const others: Tap[] = [];
    onTestFinished(async () => {
      await Promise.all(others.map((queue) => queue.closeAsync()));
    });
    while (others.length < 255) others.push(Tap.open(name, options));
    await expectSystemError(() => Tap.open(name, options), 'E2BIG', SETIFF, name);
  });

  test('leaves nothing open where it fails', async () => {
    const {
      interface: { name },
    } = newTap();
    const next = () => {
      const fd = unattached();
      const number = fd.number();
      fd.close();
      return number;
    };
    const before = next();
    await thrownBy(() => Tap.open(name));
    expect(next()).toBe(before);
  });

  test('a second interface on one descriptor fails with EEXIST', () => {
    const fd = unattached();
    expect(native.tunSetIff(fd, tapName(), IFF_TAP | IFF_NO_PI)).toMatchObject({});
    const second = native.tunSetIff(fd, tapName(), IFF_TAP | IFF_NO_PI);
    expect(second).toBe(-errnoOf('EEXIST'));
  });
});

describe('a TAP from somebody else’s descriptor', () => {
  test('is the same queue under a number of its own', () => {
    const tap = newTap();
    const same = keep(Tap.fromFd(tap.fd));
    expect(same.fd).not.toBe(tap.fd);
    expect([same.name, same.created]).toEqual([tap.name, false]);
    tap.close();
    expect(same.interface.exists).toBe(true);
  });

  test('fails with EBADF, EBADFD and ENOTTY for what is closed, unattached, no TUN', async () => {
    const number = unattached().number();
    await expectSystemError(() => Tap.fromFd(999), 'EBADF', 'fcntl(F_DUPFD_CLOEXEC)');
    await expectSystemError(() => Tap.fromFd(number), 'EBADFD', 'ioctl(TUNGETIFF)');
    const file = plainFile().number();
    await expectSystemError(() => Tap.fromFd(file), 'ENOTTY', 'ioctl(TUNGETIFF)');
    await expectCode(() => Tap.fromFd(-1), 'ERR_INVALID_ARG_TYPE');
  });
});
