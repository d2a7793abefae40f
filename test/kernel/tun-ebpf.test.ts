import { describe, expect, test } from 'vitest';
import { bit, Tap, VIRTIO_F_VERSION_1 } from '../../lib/index.js';
import { constantProgram } from '../support/bpf.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { hush } from '../support/ports.js';
import { Rig, type Segment } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const FEATURES = bit(VIRTIO_F_VERSION_1);
const LENGTH = 100;
const buffer = (index: number): Segment => [0x100000n + BigInt(index * 2048), 2048];

/** A TAP with two queues, each served by a device of its own. */
async function twoQueues(): Promise<{ tap: Tap; rigs: Rig[]; wire: Wire }> {
  const name = tapName();
  const taps = [0, 1].map(() => {
    const tap = Tap.open(name, { multiQueue: true });
    tap.setVnetHeaderSize(12);
    return tap;
  });
  hush(name);
  const rigs: Rig[] = [];
  for (const tap of taps) {
    const rig = await Rig.start({ features: FEATURES, tap, size: 64 });
    for (let i = 0; i < 64; i++) rig.addWritable([buffer(i)]);
    rig.receive.publish();
    rigs.push(rig);
  }
  const [tap] = taps as [Tap, Tap];
  tap.interface.setUp();
  const wire = new Wire(name);
  cleanup(() => wire.close());
  return { tap, rigs, wire };
}

/** Frames that came to a rig since the last look. */
function taken(rig: Rig): number {
  let count = 0;
  while (rig.receive.ring.pop() >= 0) count++;
  return count;
}

const sendTen = (wire: Wire) =>
  wire.send(
    10,
    () => LENGTH,
    () => 0,
  );

describe('an eBPF program', () => {
  test('steers every frame to the queue that it names, until it is taken off', async () => {
    const { tap, rigs, wire } = await twoQueues();
    for (const queue of [1, 0, 1]) {
      tap.setSteeringEbpf(await constantProgram(queue));
      await sendTen(wire);
      const came = [0, 0];
      await until(() => {
        rigs.forEach((rig, i) => {
          came[i]! += taken(rig);
        });
        return came[queue] === 10;
      }, `ten frames on queue ${queue}`);
      expect(came[1 - queue]).toBe(0);
    }
    tap.setSteeringEbpf(-1);
    await sendTen(wire);
    let came = 0;
    await until(() => {
      for (const rig of rigs) came += taken(rig);
      return came === 10;
    }, 'ten frames on some queue');
  });

  test('filters what reaches the reader: none of a frame, some of it, or all', async () => {
    const { tap, rigs, wire } = await twoQueues();
    tap.setSteeringEbpf(await constantProgram(0));
    const [rig] = rigs as [Rig, Rig];
    const next = async () => {
      await rig.receive.pop();
      return rig.receive.ring.usedLength - rig.headerLength;
    };
    tap.setFilterEbpf(await constantProgram(0));
    await sendTen(wire);
    tap.setFilterEbpf(await constantProgram(60));
    await wire.send(
      1,
      () => LENGTH,
      () => 0,
    );
    // The first that comes is the one that was cut: none of the ten did.
    expect(await next()).toBe(60);
    tap.setFilterEbpf(await constantProgram(-1));
    await wire.send(
      1,
      () => LENGTH,
      () => 0,
      { first: 7 },
    );
    expect(await next()).toBe(LENGTH);
    checkFrameBytes(rig.frame([buffer(1)], rig.receive.ring.usedLength), LENGTH, 7);
    tap.setFilterEbpf(-1);
  });
});
