import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  bit,
  MacVtap,
  PacketSocket,
  Tap,
  UNLIMITED_SEND_BUFFER,
  VHOST_NET_F_VIRTIO_NET_HDR,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { hush } from '../support/ports.js';
import { Rig, type RigOptions, type Segment } from '../support/rings.js';
import { macvtapPair, vethPair } from '../support/veth.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);
const SUPPLIED = bit(VHOST_NET_F_VIRTIO_NET_HDR);
const BATCH = 32;
const buffer = (index: number): Segment => [0x100000n + BigInt(index) * 0x4000n, 0x4000];
const lengthOf = (sequence: number) => 60 + ((sequence * 977) % 8000);

/** Frames both ways between the rings and the other end of the cable, many at a time. */
async function bothWays(options: RigOptions, there: string): Promise<Rig> {
  const rig = await Rig.start({ size: 64, ...options });
  const wire = new Wire(there, 16_384);
  cleanup(() => wire.close());
  for (let first = 0; first < 5 * BATCH; first += BATCH) {
    for (let i = 0; i < BATCH; i++) {
      const [at] = buffer(i);
      const segments: Segment[] = [[at, rig.headerLength + lengthOf(first + i)]];
      rig.fill(segments, makeFrame(lengthOf(first + i), first + i));
      rig.addReadable(segments);
    }
    rig.transmit.publish();
    await wire.expect(BATCH, lengthOf, first);
    for (let i = 0; i < BATCH; i++) await rig.transmit.pop();
    for (let i = 0; i < BATCH; i++) rig.addWritable([buffer(i)]);
    rig.receive.publish();
    await wire.send(BATCH, lengthOf, () => 0, { first });
    for (let i = 0; i < BATCH; i++) {
      await rig.receive.pop();
      const bytes = rig.frame([buffer(i)], rig.receive.ring.usedLength);
      checkFrameBytes(bytes, lengthOf(first + i), first + i);
    }
  }
  return rig;
}

describe('a macvtap', () => {
  test.each([
    ['its header', VERSION_1, true],
    ['its header, mergeable', MERGEABLE, true],
    ['its header of 10 bytes', 0n, true],
    ['vhost’s header', VERSION_1 | SUPPLIED, false],
  ])('is served with %s', async (_, features, vnetHeader) => {
    const { name, there } = macvtapPair();
    const queue = MacVtap.open(name, { vnetHeader });
    expect(queue).toMatchObject({ kind: 'macvtap', layer: 2, headerLength: vnetHeader ? 10 : 0 });
    if (features !== 0n) queue.setVnetHeaderSize(12);
    await bothWays({ features, tap: queue }, there);
  });

  test('sends in batches where its send buffer has no limit', async () => {
    const { name, there } = macvtapPair();
    const queue = MacVtap.open(name);
    queue.setVnetHeaderSize(12);
    queue.setSendBuffer(UNLIMITED_SEND_BUFFER);
    await bothWays({ features: VERSION_1, tap: queue }, there);
  });

  test('has the name of its interface, and no other’s header', async () => {
    const { name } = macvtapPair();
    const queue = MacVtap.open(name);
    const rig = Rig.prepare({ features: VERSION_1, tap: queue });
    const error = await expectCode(
      () => rig.resume({ receive: 0, transmit: 0 }),
      'ERR_HEADER_LENGTH',
    );
    expect(error.hint).toBe('call setVnetHeaderSize(12) on the macvtap');
    const copy = MacVtap.fromFd(queue.fd);
    cleanup(() => copy.close());
    expect(copy.interface.name).toBe(name);
    copy.setOffload(1);
    expect(copy.offload).toBe(1);
  });

  test('that is none has no node: ENOENT, and ENODEV without an interface', async () => {
    const tap = Tap.open(tapName());
    cleanup(() => tap.close());
    const path = `/dev/tap${tap.interface.index}`;
    await expectSystemError(() => MacVtap.open(tap.name), 'ENOENT', 'open', path);
    const name = tapName();
    await expectSystemError(() => MacVtap.open(name), 'ENODEV', 'ioctl(SIOCGIFINDEX)', name);
  });
});

describe('a packet socket', () => {
  const open = (name: string, vnetHeader: boolean | 12) =>
    PacketSocket.open(name, { vnetHeader, ignoreOutgoing: true, receiveBuffer: 4 << 20 });

  test.each([
    ['vhost’s header', VERSION_1 | SUPPLIED, false],
    ['vhost’s header, mergeable', MERGEABLE | SUPPLIED, false],
    ['vhost’s header of 10 bytes', SUPPLIED, false],
    ['its header of 10 bytes', 0n, true],
  ] as const)('is served with %s', async (_, features, vnetHeader) => {
    const { here, there } = vethPair();
    const queue = open(here, vnetHeader);
    expect(queue.headerLength).toBe(vnetHeader ? 10 : 0);
    await bothWays({ features, tap: queue }, there);
  });

  const has12 = (() => {
    try {
      open('lo', 12).close();
      return true;
    } catch {
      return false;
    }
  })();

  test(`with a header of 12 bytes is ${has12 ? 'served' : 'refused in words'}`, async () => {
    const { here, there } = vethPair();
    if (has12) {
      await bothWays({ features: VERSION_1, tap: open(here, 12) }, there);
    } else {
      const call = 'setsockopt(PACKET_VNET_HDR_SZ)';
      await expectSystemError(() => open(here, 12), 'ENOPROTOOPT', call, here);
    }
  });

  test('with another header than the rings is refused', async () => {
    const { here } = vethPair();
    const rig = Rig.prepare({ features: VERSION_1, tap: open(here, true) });
    const start = () => rig.resume({ receive: 0, transmit: 0 });
    const error = await expectCode(start, 'ERR_HEADER_LENGTH');
    expect(error.hint).toBe('set vnetHeader: 12 on the packet socket');
  });
});

describe('a TUN', () => {
  test('carries IP packets both ways, many at a time', async () => {
    const tun = Tap.open(tapName(), { mode: 'tun' });
    tun.setVnetHeaderSize(12);
    expect(tun).toMatchObject({ kind: 'TUN', layer: 3 });
    hush(tun.interface.name);
    const rig = await Rig.start({ features: VERSION_1, tap: tun, size: 64 });
    // In a batch the first 14 bytes would be taken for an Ethernet header.
    expect(tun.sendBuffer).toBe(UNLIMITED_SEND_BUFFER - 1);
    tun.interface.addAddress('10.77.0.1/24');
    tun.interface.setUp();
    for (let i = 0; i < 48; i++) rig.addWritable([buffer(i)]);
    rig.receive.publish();
    const socket = createSocket('udp4');
    cleanup(() => socket.close());
    socket.bind(0, '10.77.0.1');
    await once(socket, 'listening');
    const echoed: string[] = [];
    socket.on('message', (message, from) => {
      if (from.address === '10.77.0.2') echoed.push(message.toString());
    });
    const texts = Array.from({ length: 40 }, (_, i) => `packet ${i} `.repeat(i + 1));
    for (const text of texts) socket.send(text, 7777, '10.77.0.2');
    // The packets go back as they came, with the ends swapped: the sums stay right.
    for (let i = 0; i < texts.length; i++) {
      await rig.receive.pop();
      const packet = rig.frame([buffer(i)], rig.receive.ring.usedLength);
      expect(packet[0]).toBe(0x45);
      const swap = (a: number, b: number, n: number) => {
        const left = packet.slice(a, a + n);
        packet.copyWithin(a, b, b + n);
        packet.set(left, b);
      };
      swap(12, 16, 4);
      swap(20, 22, 2);
      const [at] = buffer(100 + i);
      const segments: Segment[] = [[at, rig.headerLength + packet.length]];
      rig.fill(segments, packet);
      rig.addReadable(segments);
    }
    rig.transmit.publish();
    for (let i = 0; i < texts.length; i++) await rig.transmit.pop();
    await until(() => echoed.length === texts.length, 'every packet comes back');
    expect(echoed).toEqual(texts);
  });
});
