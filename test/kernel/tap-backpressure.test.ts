import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { bit, IFF_BACKPRESSURE, Tap, VIRTIO_F_VERSION_1 } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { checkFrameBytes, writeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { hush } from '../support/ports.js';
import { Rig, type Segment } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const LENGTH = 200;
const RING = 64;
/** More than the TAP's queue of 500 and the socket's buffer hold. */
const COUNT = 2000;
const buffer = (index: number): Segment => [0x100000n + BigInt(index * 2048), 2048];
const has = (Tap.hostFeatures() & IFF_BACKPRESSURE) !== 0;

/** Rings on a TAP whose driver has not given the device a single buffer. */
async function slowReader(backpressure: boolean) {
  const tap = Tap.open(tapName(), { backpressure });
  tap.setVnetHeaderSize(12);
  hush(tap.name);
  const rig = await Rig.start({ features: bit(VIRTIO_F_VERSION_1), tap, size: RING });
  tap.interface.setUp();
  const wire = new Wire(tap.name);
  cleanup(() => wire.close());
  const dropped = () =>
    Number(readFileSync(`/sys/class/net/${tap.name}/statistics/tx_dropped`, 'utf8'));
  const slot = new Uint8Array(LENGTH);
  /** Sends as many as are taken; says how many. */
  const offer = (first: number): number => {
    for (let sequence = first; sequence < COUNT; sequence++) {
      writeFrame(slot, LENGTH, sequence);
      if (wire.socket.send(slot, LENGTH, Uint32Array.of(LENGTH), 1) === 0) return sequence - first;
    }
    return COUNT - first;
  };
  return { tap, rig, dropped, offer };
}

describe('a TAP whose reader is slow', () => {
  test('drops what does not fit into its queue, as ever', async () => {
    const { offer, dropped } = await slowReader(false);
    expect(offer(0)).toBe(COUNT);
    await until(() => dropped() > 0, 'drops');
  });

  test(`with backpressure ${has ? 'makes senders wait and loses nothing' : 'is refused in words'}`, async () => {
    if (!has) {
      const name = tapName();
      const error = await expectCode(
        () => Tap.open(name, { backpressure: true }),
        'ERR_FEATURES_NOT_OFFERED',
      );
      expect(error.message).toContain('IFF_BACKPRESSURE');
      expect(error.hint).toContain('Linux 7');
      return;
    }
    const { tap, rig, offer, dropped } = await slowReader(true);
    expect(tap.flags & IFF_BACKPRESSURE).toBe(IFF_BACKPRESSURE);
    let sent = 0;
    for (let i = 0; i < 10; i++) {
      sent += offer(sent);
      await turn();
    }
    // The queue is full, then the qdisc, then the socket.
    expect(sent).toBeGreaterThan(500);
    expect(sent).toBeLessThan(COUNT);
    const bufferOf: number[] = [];
    for (let i = 0; i < RING; i++) bufferOf[rig.addWritable([buffer(i)])] = i;
    rig.receive.publish();
    let received = 0;
    await until(
      () => {
        sent += offer(sent);
        for (let head = rig.receive.ring.pop(); head >= 0; head = rig.receive.ring.pop()) {
          const index = bufferOf[head]!;
          const bytes = rig.frame([buffer(index)], rig.receive.ring.usedLength);
          checkFrameBytes(bytes, LENGTH, received++);
          bufferOf[rig.addWritable([buffer(index)])] = index;
        }
        rig.receive.publish();
        return received === COUNT;
      },
      'every frame',
      60_000,
    );
    expect(dropped()).toBe(0);
  });
});
