import { describe, expect, test } from 'vitest';
import type { NetPort } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes, makeFrame, sequenceOf, stamp } from '../support/frames.js';
import { until } from '../support/host.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';
import { Patience, type Wire } from '../support/wire.js';

holdNothingLeaks();

describe('a burst larger than the ring', () => {
  test.each([2, 64])('goes out in whole through a ring of %d', async (queueSize) => {
    const { port, wire } = await openPortAndWire({ queueSize });
    const frames = Array.from({ length: 1000 }, (_, i) => makeFrame(60 + (i % 1000), i));
    const sending = port.send(frames);
    expect(port.inFlight).toBeLessThanOrEqual(queueSize);
    await Promise.all([sending, wire.expect(1000, (n) => 60 + (n % 1000))]);
    expect(port.counters).toMatchObject({ txFrames: 1000, txBytes: 1000 * 60 + (999 * 1000) / 2 });
    await port.flush();
    expect(port.inFlight).toBe(0);
  });

  test.each([2, 64])('comes in whole through a ring of %d', async (queueSize) => {
    const { port, wire } = await openPortAndWire({ queueSize });
    await hostToPort(wire, port, 1000, (n) => 60 + (n % 1000));
    expect(port.counters).toMatchObject({ rxFrames: 1000, rxErrors: 0 });
  });

  test('of the longest frames goes out through an arena that holds two', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 2, mtu: 65_521 }, 65_600);
    const frames = Array.from({ length: 60 }, (_, i) => makeFrame(65_000 + i, i));
    await Promise.all([port.send(frames), wire.expect(60, (n) => 65_000 + n)]);
    expect(port.counters.txFrames).toBe(60);
  });

  test('waits in the ring and in the TAP while nobody takes it', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 64 });
    const all = { window: 300 };
    const none = () => 0;
    await wire.send(300, () => 60, none, all);
    // Nobody looked, so nothing is counted yet.
    expect(port.counters.rxFrames).toBe(0);
    let next = 0;
    port.onFrames((frames) => {
      for (const { bytes } of frames) checkFrameBytes(bytes, 60, next++);
    });
    await until(() => next === 300, 'all 300 arrive');
  });
});

describe('200,000 frames wrap the rings’ 16-bit indices three times', () => {
  const COUNT = 200_000;
  const LENGTH = 60;

  test('from the host', async () => {
    const { port, wire } = await openPortAndWire();
    let received = 0;
    let wrong = -1;
    port.onFrames((frames) => {
      for (const { buffer } of frames) {
        if (sequenceOf(buffer) !== received && wrong < 0) wrong = received;
        received++;
      }
    });
    await sendSlots(wire, COUNT, () => received);
    expect(wrong, 'the first frame out of order').toBe(-1);
    const { rxFrames, rxBytes, rxKicks, rxErrors } = port.counters;
    expect({ received, rxFrames, rxBytes, rxErrors }).toEqual({
      received: COUNT,
      rxFrames: COUNT,
      rxBytes: COUNT * LENGTH,
      rxErrors: 0,
    });
    expect(rxKicks).toBeLessThan(COUNT / 10);
  });

  test('to the host', async () => {
    const { port, wire } = await openPortAndWire();
    const wrong = await sendStamped(port, wire, COUNT);
    expect(wrong, 'the first frame out of order').toBe(-1);
    const { txFrames, txBytes, txKicks, txCalls } = port.counters;
    expect({ txFrames, txBytes }).toEqual({ txFrames: COUNT, txBytes: COUNT * LENGTH });
    expect(txKicks).toBeLessThan(COUNT / 10);
    expect(txCalls).toBeLessThan(COUNT / 10);
  });

  /** Sends frames that differ in their number only, at most 256 ahead. */
  async function sendSlots(wire: Wire, count: number, received: () => number): Promise<void> {
    const slots = new Uint8Array(64 * LENGTH);
    const views = Array.from({ length: 64 }, (_, i) =>
      slots.subarray(i * LENGTH, (i + 1) * LENGTH),
    );
    const lengths = new Uint32Array(64).fill(LENGTH);
    const patience = new Patience();
    for (let sent = 0; received() < count; ) {
      const n = Math.min(64, count - sent, 256 - (sent - received()));
      for (let i = 0; i < n; i++) stamp(views[i] as Uint8Array, sent + i);
      if (n > 0) sent += wire.socket.send(slots, LENGTH, lengths, n);
      patience.check(received(), 'frames from the host');
      await new Promise(setImmediate);
    }
  }

  /** Returns the first number that came out of order, or -1. */
  async function sendStamped(port: NetPort, wire: Wire, count: number): Promise<number> {
    const slots = new Uint8Array(64 * LENGTH);
    const lengths = new Uint32Array(64);
    const frames = Array.from({ length: 64 }, () => makeFrame(LENGTH, 0));
    const patience = new Patience();
    let sent = 0;
    let received = 0;
    let wrong = -1;
    while (received < count) {
      if (sent < count) {
        for (const [i, frame] of frames.entries()) stamp(frame, sent + i);
        sent += port.trySend(frames.slice(0, count - sent));
      }
      const n = wire.socket.receive(slots, LENGTH, lengths);
      for (let i = 0; i < n; i++) {
        if (sequenceOf(slots.subarray(i * LENGTH)) !== received && wrong < 0) wrong = received;
        received++;
      }
      patience.check(received, 'frames to the host');
      await new Promise(setImmediate);
    }
    return wrong;
  }
});

test('a port tells the device once of a batch, not of every frame', async () => {
  const { port, wire } = await openPortAndWire();
  await portToHost(port, wire, 6400, () => 60);
  await hostToPort(wire, port, 6400, () => 60);
  const { txKicks, rxKicks, txFrames, rxFrames } = port.counters;
  expect({ txFrames, rxFrames }).toEqual({ txFrames: 6400, rxFrames: 6400 });
  expect(txKicks).toBeLessThanOrEqual(6400 / 64);
  expect(rxKicks).toBeLessThan(6400 / 4);
});
