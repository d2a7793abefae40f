import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  KernelBackend,
  placeVring,
  Tap,
  VhostNet,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { hush } from '../support/ports.js';
import { configOf, RingPair } from '../support/ring-pair.js';
import { Rig, type Segment, words } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const BUFFER: Segment = [1n << 20n, 4096];
const FRAME = 2n << 20n;

/** Whether this kernel can do what `call` does. */
function probe(call: (device: VhostNet) => unknown): boolean {
  const device = VhostNet.open();
  try {
    call(device);
    return true;
  } catch {
    return false;
  } finally {
    device.close();
  }
}

async function exchange(rig: Rig): Promise<void> {
  const wire = new Wire(rig.tap.interface.name);
  cleanup(() => wire.close());
  const segments: Segment[] = [[FRAME, rig.headerLength + 1000]];
  rig.fill(segments, makeFrame(1000, 1));
  rig.addReadable(segments);
  rig.transmit.publish();
  await wire.expect(1, () => 1000, 1);
  rig.addWritable([BUFFER]);
  rig.receive.publish();
  await wire.send(
    1,
    () => 1000,
    () => 0,
    { first: 2 },
  );
  await rig.receive.pop();
  checkFrameBytes(rig.frame([BUFFER], rig.receive.ring.usedLength), 1000, 2);
}

describe('the busy-poll time of a backend', () => {
  test('is set on both rings of every pair, also of one that starts later', async () => {
    const name = tapName();
    const taps = [0, 1].map(() => {
      const tap = Tap.open(name, { multiQueue: true });
      cleanup(() => tap.close());
      tap.setVnetHeaderSize(12);
      return tap;
    });
    const devices = [VhostNet.open(), VhostNet.open()];
    const rings = new RingPair();
    cleanup(() => rings.close());
    const backend = KernelBackend.open(taps, { busyPoll: 70, devices });
    cleanup(() => backend.close());
    await backend.start(configOf(rings));
    const times = (device: VhostNet) => [0, 1].map((i) => device.getVringBusyloopTimeout(i));
    expect(times(devices[0]!)).toEqual([70, 70]);
    const { receive } = rings.config();
    for (const [i, at] of [0x2000n, 0x3000n].entries()) {
      await backend.startRing(2 + i, { ...receive, addresses: placeVring(at, receive.size) });
    }
    expect(times(devices[1]!)).toEqual([70, 70]);
  });

  test('is 0 unless it is asked for, and a number of µs', async () => {
    const device = VhostNet.open();
    const tap = Tap.open(tapName());
    cleanup(() => tap.close());
    tap.setVnetHeaderSize(12);
    for (const busyPoll of [-1, 0.5, 2 ** 32]) {
      await expectCode(() => KernelBackend.open([tap], { busyPoll }), 'ERR_OUT_OF_RANGE');
    }
    const rings = new RingPair();
    cleanup(() => rings.close());
    const backend = KernelBackend.open([tap], { devices: [device] });
    cleanup(() => backend.close());
    await backend.start(configOf(rings));
    expect(device.getVringBusyloopTimeout(0)).toBe(0);
  });

  test('does not keep frames from going both ways', async () => {
    await exchange(await Rig.start({ size: 16, backend: { busyPoll: 50 } }));
  });
});

describe('the worker of a backend', () => {
  const chooses = probe((device) => device.getForkFromOwner());
  /** Workers that are threads of this process. */
  const own = () =>
    readdirSync('/proc/self/task').filter((id) =>
      readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('vhost-'),
    ).length;

  test.each(['task', 'kthread'] as const)(
    `as a %s is ${chooses ? 'what serves the rings' : 'refused in words'}`,
    async (worker) => {
      if (!chooses) {
        const rig = Rig.prepare({ size: 16, backend: { worker } });
        const call = 'ioctl(VHOST_SET_FORK_FROM_OWNER)';
        const start = () => rig.resume({ receive: 0, transmit: 0 });
        await expectSystemError(start, 'EPERM', call);
        expect(rig.backend.running).toBe(false);
        return;
      }
      const before = own();
      const rig = await Rig.start({ size: 16, backend: { worker } });
      expect(own() - before).toBe(worker === 'task' ? 1 : 0);
      await exchange(rig);
      // The choice holds for the next owner too, after a start that failed.
      await rig.stop();
      await rig.resume({ receive: 1, transmit: 1 });
      expect(own() - before).toBe(worker === 'task' ? 1 : 0);
    },
  );
});

describe('features beyond bit 63', () => {
  const TUNNEL = bit(VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) | bit(VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO);
  const has = probe((device) => device.getFeaturesArray());

  test(`are ${has ? 'negotiated: the header has 24 bytes' : 'refused in words'}`, async () => {
    const tap = Tap.open(tapName());
    tap.setVnetHeaderSize(24);
    hush(tap.name);
    const features = bit(VIRTIO_F_VERSION_1) | TUNNEL;
    const rig = Rig.prepare({ size: 16, features, tap });
    const start = () => rig.resume({ receive: 0, transmit: 0 });
    if (!has) {
      expect(rig.backend.features >> 64n).toBe(0n);
      const error = await expectCode(start, 'ERR_FEATURES_NOT_OFFERED');
      expect(error.message).toContain('VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO');
      return;
    }
    expect(rig.backend.features & TUNNEL).toBe(TUNNEL);
    await start();
    tap.interface.setUp();
    expect(rig.headerLength).toBe(24);
    await exchange(rig);
  });
});

describe('a ring that the device gives up', () => {
  test('is told by its number, and goes on after a stop and a start', async () => {
    const errors: number[] = [];
    const rig = await Rig.start({ size: 16, onRingError: (ring) => errors.push(ring) });
    const wire = new Wire(rig.tap.interface.name);
    cleanup(() => wire.close());
    // A buffer to write to has nothing to be sent.
    rig.transmit.ring.add(words([BUFFER]), 0, 1);
    rig.transmit.publish();
    await until(() => errors.length > 0, 'the transmit ring is given up');
    expect(errors).toEqual([1]);
    // And one to read from no room for what comes.
    rig.receive.ring.add(words([BUFFER]), 1, 0);
    rig.receive.publish();
    await wire.send(
      1,
      () => 100,
      () => 0,
    );
    await until(() => errors.includes(0), 'the receive ring is given up');
    for (const [index, end] of [rig.receive, rig.transmit].entries()) {
      await rig.backend.stopRing(index);
      end.ring.reset();
      const { err: _, ...config } = end.config(0);
      await rig.backend.startRing(index, config);
    }
    const told = errors.length;
    // The frame that found no room was kept.
    rig.addWritable([BUFFER]);
    rig.receive.publish();
    await rig.receive.pop();
    expect(rig.receive.ring.usedLength).toBe(rig.headerLength + 100);
    await exchange(rig);
    rig.transmit.ring.add(words([BUFFER]), 0, 1);
    rig.transmit.publish();
    await until(() => errors.length > told, 'the ring is given up again');
    expect(errors.at(-1)).toBe(1);
  });
});
