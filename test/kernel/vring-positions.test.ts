import { describe, expect, test } from 'vitest';
import { bit, VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { makeFrame } from '../support/frames.js';
import { Rig, type Segment } from '../support/rings.js';
import { Patience, Wire } from '../support/wire.js';

holdNothingLeaks();

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const EVENT_IDX = VERSION_1 | bit(VIRTIO_RING_F_EVENT_IDX);
const FRAME: Segment = [1n << 20n, 12 + 60];

async function prepare(features: bigint, size = 256): Promise<Rig> {
  const rig = await Rig.start({ features, size });
  rig.fill([FRAME], makeFrame(60, 0));
  return rig;
}

describe('ring positions', () => {
  function wireOf(rig: Rig): Wire {
    const wire = new Wire(rig.tap.interface.name);
    cleanup(() => wire.close());
    return wire;
  }

  async function sendMany(rig: Rig, wire: Wire, first: number, count: number): Promise<void> {
    for (let sequence = first; sequence < first + count; sequence++) {
      rig.fill([FRAME], makeFrame(60, sequence));
      rig.addReadable([FRAME]);
      rig.transmit.publish();
      await rig.transmit.pop();
    }
    await wire.expect(count, () => 60, first);
  }

  async function receiveMany(rig: Rig, wire: Wire, first: number, count: number): Promise<void> {
    for (let sequence = first; sequence < first + count; sequence++) {
      const length = () => 60;
      await wire.send(1, length, () => 0, { first: sequence });
      await rig.receive.pop();
      expect(rig.receive.ring.usedLength).toBe(72);
      rig.addWritable([FRAME]);
      rig.receive.publish();
    }
  }

  test.each([
    { name: 'with EVENT_IDX', features: EVENT_IDX },
    { name: 'without EVENT_IDX', features: VERSION_1 },
  ])('go on where the device stopped, $name', async ({ features }) => {
    const rig = await prepare(features, 8);
    const wire = wireOf(rig);
    for (let i = 0; i < 8; i++) rig.addWritable([FRAME]);
    rig.receive.publish();
    for (let round = 0; round < 6; round++) {
      await receiveMany(rig, wire, 100 * round, 5);
      await sendMany(rig, wire, 100 * round + 50, 11);
      const state = await rig.stop();
      expect(state.transmit).toBe(11 * (round + 1));
      // vhost may have taken buffers that it has not used: it gives those back to the avail ring.
      expect(state.receive).toBe(5 * (round + 1));
      await rig.resume(state);
    }
  });

  test('wrap at 65,536, with a stop on each side and on the edge', async () => {
    const rig = Rig.prepare({ features: EVENT_IDX, size: 256 });
    await rig.resume({ receive: 0, transmit: 0 });
    const wire = wireOf(rig);
    rig.fill([FRAME], makeFrame(60, 0));
    const { ring } = rig.transmit;
    let sent = 0;
    const upTo = async (end: number) => {
      const patience = new Patience();
      while (sent < end || ring.inFlight > 0) {
        while (sent < end && rig.addReadable([FRAME]) >= 0) sent++;
        rig.transmit.publish();
        while (ring.pop() >= 0);
        patience.check(sent - ring.inFlight, 'sending up to the edge');
        await new Promise(setImmediate);
      }
    };
    for (const position of [65_530, 65_533, 65_536, 65_540]) {
      await upTo(position);
      while (wire.read().length > 0);
      const state = await rig.stop();
      expect(state.transmit).toBe(position & 0xffff);
      await rig.resume(state);
      await sendMany(rig, wire, position, 3);
      sent += 3;
      const again = await rig.stop();
      expect(again.transmit).toBe((position + 3) & 0xffff);
      await rig.resume(again);
    }
  });

  test('chains shown to a stopped device are sent when it goes on', async () => {
    const rig = await prepare(EVENT_IDX);
    const wire = wireOf(rig);
    await sendMany(rig, wire, 0, 3);
    const state = await rig.stop();
    rig.fill([FRAME], makeFrame(60, 7));
    for (let i = 0; i < 5; i++) rig.addReadable([FRAME]);
    rig.transmit.publish();
    await rig.resume(state);
    for (let i = 0; i < 5; i++) await rig.transmit.pop();
    expect((await rig.stop()).transmit).toBe(8);
  });

  test('a stop in the middle of a burst loses and repeats nothing', async () => {
    const rig = await prepare(EVENT_IDX, 4096);
    const wire = wireOf(rig);
    const slots = Array.from(
      { length: 4096 },
      (_, i): Segment => [(1n << 20n) + BigInt(i) * 128n, 72],
    );
    let sequence = 0;
    let inTheMiddle = 0;
    for (let round = 0; round < 8; round++) {
      const before = sequence;
      for (const slot of slots) {
        rig.fill([slot], makeFrame(60, sequence++));
        rig.addReadable([slot]);
      }
      rig.transmit.publish();
      await rig.transmit.pop();
      const state = await rig.stop();
      if (state.transmit !== (sequence & 0xffff)) inTheMiddle++;
      await rig.resume(state);
      const back = async () => {
        for (let i = 1; i < 4096; i++) await rig.transmit.pop();
      };
      await Promise.all([wire.expect(4096, () => 60, before), back()]);
    }
    expect(inTheMiddle).toBeGreaterThan(0);
  });
});
