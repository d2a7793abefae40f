/** Ports that are in each other's way, and a consumer that is in its own. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { NetPort } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectSystemError } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import { statistic } from '../support/ip.js';
import { hostToPort, openPort, openPortAndWire, portToHost } from '../support/ports.js';
import type { Wire } from '../support/wire.js';

holdNothingLeaks();

const LENGTH = 60;

test('a second port on a TAP is refused in words, and the first goes on', async () => {
  const { port, name, wire } = await openPortAndWire();
  const again = () => NetPort.open({ tap: name });
  for (let round = 0; round < 3; round++) {
    const error = await expectSystemError(again, 'EBUSY', 'ioctl(TUNSETIFF)', name);
    expect(error.hint).toMatch(/somebody else has the interface open/);
    await hostToPort(wire, port, 50, () => LENGTH, { first: 50 * round });
    await portToHost(port, wire, 50, () => LENGTH, { first: 50 * round });
  }
  await port.close();
  await openPort({ tap: name });
});

/** The host sends `count` frames, as fast as it goes, whether there is room or not. */
async function flood(wire: Wire, count: number): Promise<void> {
  const frame = makeFrame(64 * LENGTH, 0);
  const lengths = new Uint32Array(64).fill(LENGTH);
  for (let i = 0; i < 64; i++) frame.set(makeFrame(LENGTH, i), LENGTH * i);
  for (let sent = 0; sent < count; sent += 64) {
    try {
      wire.socket.send(frame, LENGTH, lengths, 64);
    } catch (error) {
      // What a full queue drops, some kernels tell the sender.
      expect(error).toMatchObject({ code: 'ENOBUFS' });
    }
    await turn();
  }
}

describe('frames that nobody takes', () => {
  const CONSUMERS: Record<string, (port: NetPort) => unknown> = {
    'no consumer': () => {},
    'a consumer that never asks for the next batch': async (port) => {
      for await (const _ of port) await new Promise(() => {});
    },
  };

  test.each(Object.keys(CONSUMERS))(
    'fill the rings of a port with %s, and cost no more',
    async (name) => {
      const { port, name: tap, wire } = await openPortAndWire();
      void CONSUMERS[name]?.(port);
      await flood(wire, 5000);
      const before = process.memoryUsage();
      await flood(wire, 50_000);
      const after = process.memoryUsage();
      expect(after.external - before.external).toBeLessThan(1 << 20);
      expect(after.rss - before.rss).toBeLessThan(64 << 20);
      // What the TAP's queue could not hold is gone, and the kernel says how much.
      expect(port.counters.rxFrames).toBeLessThanOrEqual(64);
      const kept = statistic(tap, 'tx_packets');
      expect(kept).toBeLessThan(2000);
      // The other way is open.
      await portToHost(port, wire, 100, () => LENGTH);
      await port.close();
    },
  );

  test('come when somebody does: the oldest first, and then what is sent now', async () => {
    const { port, wire } = await openPortAndWire();
    await flood(wire, 5000);
    let frames = 0;
    port.onFrames((batch) => {
      frames += batch.length;
    });
    await until(() => frames >= 256, 'the ring is emptied');
    const before = frames;
    await flood(wire, 64);
    await until(() => frames >= before + 64, 'what is sent now comes');
  });
});
