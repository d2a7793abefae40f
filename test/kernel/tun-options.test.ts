import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  Tap,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TUN_F_UFO,
  TUN_F_USO4,
  TUN_F_USO6,
} from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { keep, newTap } from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';
import { KERNEL_LINE, until } from '../support/host.js';

const HEADER = 10;

/** Bytes read, or -1 where none wait. */
function tryRead(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into);
  } catch {
    return -1;
  }
}

describe('the virtio-net header of a TAP', () => {
  test('has 10 bytes at first, and each length that virtio has after it is set', () => {
    const tap = newTap();
    expect(tap.vnetHeaderSize).toBe(HEADER);
    for (const bytes of [12, 20, 24, 10]) {
      tap.setVnetHeaderSize(bytes);
      expect(tap.vnetHeaderSize).toBe(bytes);
    }
  });

  test('fails with EINVAL below 10 bytes', async () => {
    const tap = newTap();
    const { name } = tap.interface;
    for (const bytes of [9, 0, -1]) {
      const set = () => tap.setVnetHeaderSize(bytes);
      await expectSystemError(set, 'EINVAL', 'ioctl(TUNSETVNETHDRSZ)', name);
    }
  });

  test('is little-endian on demand; big-endian only where the kernel was built for it', async () => {
    const tap = newTap();
    tap.setVnetEndian('little');
    expect(native.tunGetVnetLe(tap.handle)).toBe(1);
    const big = () => tap.setVnetEndian('big');
    await expectSystemError(big, 'EINVAL', 'ioctl(TUNSETVNETBE)', tap.interface.name);
    expect(native.tunGetVnetBe(tap.handle)).toBe(-errnoOf('EINVAL'));
  });
});

describe('the offloads of a TAP', () => {
  const TCP = TUN_F_TSO4 | TUN_F_TSO6;
  const USO = TUN_F_USO4 | TUN_F_USO6;
  const TUNNEL = TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;

  test.each([
    ['none', 0],
    ['checksums', TUN_F_CSUM],
    ['checksums and TCP', TUN_F_CSUM | TCP],
    ['checksums and TCP with ECN', TUN_F_CSUM | TCP | TUN_F_TSO_ECN],
    ['UDP fragmentation, which is ignored', TUN_F_CSUM | TUN_F_UFO],
  ])('can be %s', (_, flags) => {
    newTap().setOffload(flags);
  });

  test.each([
    ['TCP without checksums', TUN_F_TSO4],
    ['USO for IPv4 alone', TUN_F_CSUM | TUN_F_USO4],
    ['USO for IPv6 alone', TUN_F_CSUM | TUN_F_USO6],
    ['UDP tunnels without any other segmentation', TUN_F_CSUM | TUNNEL],
    ['a bit that nobody knows', 0x8000],
  ])('cannot be %s: EINVAL', async (_, flags) => {
    const tap = newTap();
    const { name } = tap.interface;
    await expectSystemError(() => tap.setOffload(flags), 'EINVAL', 'ioctl(TUNSETOFFLOAD)', name);
  });

  test.each([
    ['UDP segmentation', TUN_F_CSUM | USO, KERNEL_LINE !== '6.1'],
    ['UDP tunnels', TUN_F_CSUM | USO | TUN_F_UDP_TUNNEL_GSO, !KERNEL_LINE.startsWith('6.')],
    ['UDP tunnels with checksums', TUN_F_CSUM | USO | TUNNEL, !KERNEL_LINE.startsWith('6.')],
  ])(`can be %s where the kernel knows it (${KERNEL_LINE})`, async (_, flags, known) => {
    const tap = newTap();
    const { name } = tap.interface;
    if (known) tap.setOffload(flags);
    else
      await expectSystemError(() => tap.setOffload(flags), 'EINVAL', 'ioctl(TUNSETOFFLOAD)', name);
  });
});

describe('asking a TAP for its offloads', () => {
  const KNOWN: Record<string, number> = { '6.1': 0x1f, '6.12': 0x7f, '7.3': 0x1ff };

  test(`finds all that the kernel knows, and takes them as one (${KERNEL_LINE})`, () => {
    const tap = newTap();
    const offload = tap.probeOffload();
    expect(offload).toBe(KNOWN[KERNEL_LINE] ?? offload);
    tap.setOffload(offload);
    expect(tap.offload).toBe(offload);
  });

  /** Whether the host leaves the checksum of a datagram that it sends to the reader. */
  async function leavesChecksums(tap: Tap): Promise<boolean> {
    const socket = createSocket('udp4');
    onTestFinished(() => void socket.close());
    socket.bind(0, ADDRESS);
    await once(socket, 'listening');
    socket.setMulticastInterface(ADDRESS);
    // To a group, so that nobody need be asked for a MAC address.
    socket.send('?', 9, '239.1.2.3');
    const frame = Buffer.alloc(2048);
    let partial: boolean | undefined;
    await until(() => {
      const length = tryRead(tap.fd, frame);
      // IPv4, and UDP in it; what else the host has to say does not count.
      if (length > HEADER + 42 && frame[HEADER + 23] === 17) partial = (frame[0] as number) === 1;
      return partial !== undefined;
    }, 'the datagram comes');
    return partial as boolean;
  }
  const ADDRESS = '10.99.0.1';

  test('leaves what was set before', async () => {
    const tap = newTap();
    tap.interface.addAddress(`${ADDRESS}/24`);
    tap.interface.setUp();
    expect(tap.offload).toBe(0);
    tap.probeOffload();
    expect([tap.offload, await leavesChecksums(tap)]).toEqual([0, false]);
    tap.setOffload(TUN_F_CSUM);
    tap.probeOffload();
    expect([tap.offload, await leavesChecksums(tap)]).toEqual([TUN_F_CSUM, true]);
  });
});

describe('the send buffer of a TAP', () => {
  test('has no limit at first, and what was set after', () => {
    const tap = newTap();
    expect(tap.sendBuffer).toBe(0x7fff_ffff);
    tap.setSendBuffer(0x7fff_fffe);
    expect(tap.sendBuffer).toBe(0x7fff_fffe);
    tap.setSendBuffer(1);
    expect(tap.sendBuffer).toBe(1);
  });

  test('is refused below 1 byte, as the kernel would with EINVAL', async () => {
    const tap = newTap();
    await expectCode(() => tap.setSendBuffer(0), 'ERR_OUT_OF_RANGE');
    for (const bytes of [0, -1]) {
      expect(native.tunSetSndbuf(tap.handle, bytes)).toBe(-errnoOf('EINVAL'));
    }
  });
});

describe('a TAP', () => {
  test('that persists outlives its descriptor', () => {
    const tap = newTap();
    tap.setPersist(true);
    tap.close();
    expect(tap.interface.exists).toBe(true);
    const again = keep(Tap.open(tap.interface.name));
    expect(again.created).toBe(false);
    again.setPersist(false);
    again.close();
    expect(tap.interface.exists).toBe(false);
  });

  test('runs or not as its cable is plugged', async () => {
    const tap = newTap();
    tap.interface.setUp();
    await until(() => tap.interface.running, 'the carrier comes with the queue');
    tap.setCarrier(false);
    await until(() => !tap.interface.running, 'the cable is unplugged');
    expect(tap.interface.up).toBe(true);
    tap.setCarrier(true);
    await until(() => tap.interface.running, 'the cable is plugged');
  });

  test('changes its link type while it is down only', async () => {
    const tap = newTap();
    const ARPHRD_ETHER = 1;
    tap.setLinkType(ARPHRD_ETHER);
    tap.interface.setUp();
    const set = () => tap.setLinkType(ARPHRD_ETHER);
    await expectSystemError(set, 'EBUSY', 'ioctl(TUNSETLINK)', tap.interface.name);
  });
});

test('a closed TAP fails with ERR_CLOSED whatever is asked of it', async () => {
  const tap = newTap();
  tap.close();
  tap.close();
  for (const call of [
    () => tap.fd,
    () => tap.name,
    () => tap.flags,
    () => tap.sendBuffer,
    () => tap.vnetHeaderSize,
    () => tap.setVnetHeaderSize(12),
    () => tap.setOffload(0),
    () => tap.setPersist(true),
    () => tap.setQueue('attached'),
    () => tap.setCarrier(true),
  ]) {
    await expectCode(call, 'ERR_CLOSED');
  }
});
