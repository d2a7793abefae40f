import { describe, expect, test } from 'vitest';
import { bit, type NetPort, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';
import type { Wire } from '../support/wire.js';

holdNothingLeaks();

/** The longest that a TAP takes, and room for it with its Ethernet header. */
const MTU = 65_521;
const LONGEST = 65_600;
const HEADER = 12;
const LENGTHS = [60, 64, 1514, 9014, 65_000];

const MERGEABLE = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF);
const ONE_BUFFER = bit(VIRTIO_F_VERSION_1);

async function bothWays(port: NetPort, wire: Wire, count: number, lengthOf: (n: number) => number) {
  await hostToPort(wire, port, count, lengthOf, { window: 128 });
  await portToHost(port, wire, count, lengthOf);
}

describe.each([
  { name: 'with mergeable buffers of 1600 bytes', features: MERGEABLE, queueSize: 64 },
  {
    name: 'with one buffer a frame',
    features: ONE_BUFFER,
    queueSize: 16,
    bufferSize: LONGEST,
  },
  { name: 'with a header of 10 bytes', features: 0n, queueSize: 64, bufferSize: LONGEST },
])('a port $name', ({ name: _, ...options }) => {
  test.each(LENGTHS)('carries frames of %d bytes both ways unchanged', async (length) => {
    const { port, wire } = await openPortAndWire({ ...options, mtu: MTU }, LONGEST);
    await bothWays(port, wire, 40, () => length);
    expect(port.counters).toMatchObject({
      rxFrames: 40,
      rxBytes: 40 * length,
      rxErrors: 0,
      txFrames: 40,
      txBytes: 40 * length,
    });
  });

  test('keeps frames of mixed lengths in order', async () => {
    const { port, wire } = await openPortAndWire({ ...options, mtu: MTU }, LONGEST);
    const mixed = (n: number) => LENGTHS[(n * 7 + (n >> 3)) % LENGTHS.length] as number;
    await bothWays(port, wire, 200, mixed);
  });

  test('carries every length from 60 to 180 bytes', async () => {
    const { port, wire } = await openPortAndWire({ ...options });
    await bothWays(port, wire, 121, (n) => 60 + n);
  });
});

describe('at the boundaries of receive buffers', () => {
  test.each([128, 256, 1600])('buffers of %d bytes are put together exactly', async (size) => {
    const { port, wire } = await openPortAndWire(
      { features: MERGEABLE, queueSize: 1024, bufferSize: size, mtu: 9000 },
      9216,
    );
    const lengths: number[] = [];
    for (let buffers = 1; buffers <= 5; buffers++) {
      const full = buffers * size - HEADER;
      lengths.push(full - 1, full, full + 1);
    }
    await bothWays(port, wire, 10 * lengths.length, (n) => lengths[n % lengths.length] as number);
    expect(port.counters.rxErrors).toBe(0);
  });

  test('a frame that fills its only buffer arrives, one byte more is dropped', async () => {
    const { port, wire } = await openPortAndWire({ features: ONE_BUFFER, bufferSize: 1000 });
    const fits = 1000 - HEADER;
    await hostToPort(wire, port, 8, () => fits);
    // What is too long goes first; only the frame behind it comes.
    await wire.send(
      1,
      () => fits + 1,
      () => 0,
    );
    await hostToPort(wire, port, 8, () => fits, { first: 8 });
    expect(port.counters).toMatchObject({ rxFrames: 16, rxBytes: 16 * fits });
  });

  test('the longest frame needs every buffer of the smallest ring', async () => {
    const { port, wire } = await openPortAndWire(
      { features: MERGEABLE, queueSize: 2, mtu: MTU },
      LONGEST,
    );
    await bothWays(port, wire, 20, (n) => (n % 2 === 0 ? MTU + 14 : 60));
  });
});
