import { describe, expect, test } from 'vitest';
import { bit, VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import { Rig, type Segment } from '../support/rings.js';
import { Patience } from '../support/wire.js';

holdNothingLeaks();

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const EVENT_IDX = VERSION_1 | bit(VIRTIO_RING_F_EVENT_IDX);
const FRAME: Segment = [1n << 20n, 12 + 60];

async function prepare(features: bigint, size = 256): Promise<Rig> {
  const rig = await Rig.start({ features, size });
  rig.fill([FRAME], makeFrame(60, 0));
  return rig;
}

/** Sends one frame, and waits until the device gave it back. Returns the calls that came. */
async function sendOne(rig: Rig): Promise<number> {
  rig.addReadable([FRAME]);
  rig.transmit.publish();
  await rig.transmit.pop();
  // The worker signals after it wrote the used index: two more rounds of work let it do so.
  await new Promise((resolve) => setTimeout(resolve, 2));
  return rig.transmit.call.read();
}

async function callsOf(rig: Rig, frames: number, before = () => {}): Promise<number[]> {
  const calls: number[] = [];
  for (let i = 0; i < frames; i++) {
    before();
    calls.push(await sendOne(rig));
  }
  return calls;
}

const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);

describe('calls with EVENT_IDX', () => {
  test('come once, when more than as many chains as asked for are back', async () => {
    const rig = await prepare(EVENT_IDX);
    // The first after a start is always signalled.
    await sendOne(rig);
    expect(rig.transmit.ring.enableCalls(31)).toBe(false);
    const calls = await callsOf(rig, 64);
    expect(calls.slice(0, 31)).toEqual(new Array(31).fill(0));
    expect(sum(calls)).toBe(1);
    expect(sum(calls.slice(31, 33))).toBe(1);
  });

  test('come for each chain only while each asks again', async () => {
    const rig = await prepare(EVENT_IDX);
    await sendOne(rig);
    const calls = await callsOf(rig, 20, () => rig.transmit.ring.enableCalls());
    expect(sum(calls)).toBe(20);
  });

  test('do not come for what is back already, which enableCalls() says', async () => {
    const rig = await prepare(EVENT_IDX);
    await sendOne(rig);
    const { ring } = rig.transmit;
    for (let i = 0; i < 8; i++) rig.addReadable([FRAME]);
    rig.transmit.publish();
    await until(() => ring.enableCalls(7), 'all 8 are back');
    rig.transmit.call.read();
    expect(ring.enableCalls(8)).toBe(false);
    expect(ring.enableCalls()).toBe(true);
  });
});

describe('calls without EVENT_IDX', () => {
  test('come for every chain that comes back alone', async () => {
    const rig = await prepare(VERSION_1);
    rig.transmit.ring.enableCalls(31);
    expect(sum(await callsOf(rig, 20))).toBe(20);
  });

  test('do not come while they are disabled', async () => {
    const rig = await prepare(VERSION_1);
    rig.transmit.ring.disableCalls();
    expect(sum(await callsOf(rig, 20))).toBe(0);
    rig.transmit.ring.enableCalls();
    expect(sum(await callsOf(rig, 5))).toBe(5);
  });
});

describe.each([
  { name: 'with EVENT_IDX', features: EVENT_IDX },
  { name: 'without EVENT_IDX', features: VERSION_1 },
])('kicks $name', ({ features }) => {
  test('are wanted by an idle device, for every frame', async () => {
    const rig = await prepare(features);
    for (let i = 0; i < 10; i++) await sendOne(rig);
    expect(rig.transmit.kicks).toBe(10);
  });

  test('are not wanted by a device at work', async () => {
    const rig = await prepare(features);
    const { ring } = rig.transmit;
    const patience = new Patience();
    const COUNT = 4000;
    // A frame that takes the device longer than us.
    const long: Segment = [1n << 20n, 12 + 60_000];
    rig.fill([long], makeFrame(60_000, 0));
    for (let sent = 0; sent < COUNT; ) {
      if (rig.addReadable([long]) >= 0) {
        rig.transmit.publish();
        sent++;
      } else {
        while (ring.pop() >= 0);
        patience.check(sent, 'sending');
      }
    }
    await until(() => {
      while (ring.pop() >= 0);
      return ring.inFlight === 0;
    }, 'everything is sent');
    expect(rig.transmit.kicks).toBeGreaterThan(0);
    expect(rig.transmit.kicks).toBeLessThan(COUNT / 2);
  });

  test('are not asked for when nothing was added', async () => {
    const rig = await prepare(features);
    expect(rig.transmit.publish()).toBe(false);
    await sendOne(rig);
    expect(rig.transmit.publish()).toBe(false);
  });
});

test('a second kick is not owed while the device has not seen the first', async () => {
  const rig = await prepare(EVENT_IDX);
  const { ring, kick } = rig.transmit;
  // A worker that has just begun, or not gone to sleep yet, may see the first without a kick: then it has
  // moved its event, and another kick is owed for the second.
  const owed: boolean[] = [];
  while (owed.length < 20 && owed.at(-1) !== false) {
    const event = rig.transmit.availEvent;
    rig.addReadable([FRAME]);
    const first = ring.publish();
    rig.addReadable([FRAME]);
    const second = ring.publish();
    if (second) expect(rig.transmit.availEvent).not.toBe(event);
    owed.push(second);
    if (first) kick.signal();
    if (second) kick.signal();
    await rig.transmit.pop();
    await rig.transmit.pop();
  }
  expect(owed.at(-1)).toBe(false);
});
