import { expect, test } from 'vitest';
import type { GuestMemory } from '../../lib/host/guest-memory.js';
import type { VringDriver } from '../../lib/vring/driver.js';
import { type DescriptorFields, descriptorBytes } from '../support/descriptor.js';
import { makeRing, segments } from '../support/ring.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** The bytes of descriptors, 16 each. */
function descriptors(memory: GuestMemory, from: bigint, count: number): string[] {
  return Array.from({ length: count }, (_, i) => hex(memory.read(from + BigInt(16 * i), 16)));
}

/** A descriptor's bytes: address, length, flags, next. */
const descriptor = (...fields: DescriptorFields) => hex(descriptorBytes(fields));

function drain(driver: VringDriver): number[] {
  const heads: number[] = [];
  for (let head = driver.pop(); head >= 0; head = driver.pop()) heads.push(head);
  return heads;
}

test('a readable buffer takes one descriptor, written byte for byte as virtio has it', () => {
  const { driver, memory, addresses } = makeRing({ size: 4 });
  expect(driver.addReadable(0x8765_4321, 0x1a, 0x5ea)).toBe(0);
  expect(hex(memory.read(addresses.desc, 16))).toBe('214365871a000000ea05000000000000');
  expect(driver.free).toBe(3);
  expect(driver.inFlight).toBe(1);
});

test('a writable buffer takes one descriptor with the flag WRITE', () => {
  const { driver, memory, addresses } = makeRing({ size: 4 });
  driver.addWritable(0x1000, 0, 2048);
  expect(descriptors(memory, addresses.desc, 1)).toEqual([descriptor(0x1000n, 2048, 2, 0)]);
});

test('a chain is linked by NEXT, readable buffers before writable ones', () => {
  const { driver, memory, addresses } = makeRing({ size: 4 });
  const list = segments([0x1000, 12], [0x2000, 100], [0x3000, 200]);
  expect(driver.add(list, 2, 1)).toBe(0);
  expect(descriptors(memory, addresses.desc, 2)).toEqual([
    descriptor(0x1000n, 12, 1, 1),
    descriptor(0x2000n, 100, 1, 2),
  ]);
  const last = memory.read(addresses.desc + 32n, 14);
  expect(hex(last)).toBe(descriptor(0x3000n, 200, 2, 0).slice(0, 28));
  expect(driver.free).toBe(1);
});

test('with indirect tables a chain takes one descriptor that points to its own table', () => {
  const { driver, device, memory, addresses, data } = makeRing({ size: 4, tables: 3 });
  driver.addReadable(data, 0, 64);
  expect(driver.add(segments([data, 12], [data + 64, 100], [data + 256, 200]), 1, 2)).toBe(1);
  expect(driver.free).toBe(2);
  const { address, ...rest } = device.descriptor(1);
  expect(rest).toEqual({ length: 48, flags: 4, next: 0 });
  // The second of four tables of three descriptors, behind the ring.
  expect(address).toBe(addresses.used + 64n + 48n);
  expect(descriptors(memory, address, 2)).toEqual([
    descriptor(BigInt(data), 12, 1, 1),
    descriptor(BigInt(data + 64), 100, 3, 2),
  ]);
  expect(hex(memory.read(address + 32n, 14))).toBe(
    descriptor(BigInt(data + 256), 200, 2, 0).slice(0, 28),
  );
});

test('a chain longer than an indirect table is linked in the ring', () => {
  const { driver, device, data } = makeRing({ size: 4, tables: 2 });
  driver.add(segments([data, 1], [data, 1], [data, 1]), 3, 0);
  expect(driver.free).toBe(1);
  expect(device.descriptor(0)).toMatchObject({ flags: 1, next: 1 });
});

test('a single buffer is never put in a table', () => {
  const { driver, device, data } = makeRing({ size: 4, tables: 2 });
  driver.add(segments([data, 9]), 0, 1);
  expect(device.descriptor(0)).toMatchObject({ address: BigInt(data), length: 9, flags: 2 });
});

test('a full ring returns -1 and stays as it is', () => {
  const { driver, memory, addresses, data } = makeRing({ size: 4 });
  driver.add(segments([data, 1], [data, 2], [data, 3]), 3, 0);
  const before = hex(memory.read(addresses.desc, 64));
  expect(driver.add(segments([data, 1], [data, 2]), 1, 1)).toBe(-1);
  expect(driver.addReadable(data, 0, 4)).toBe(3);
  expect(driver.addReadable(data, 0, 4)).toBe(-1);
  expect(driver.addWritable(data, 0, 4)).toBe(-1);
  expect(driver.free).toBe(0);
  expect(hex(memory.read(addresses.desc, 48))).toBe(before.slice(0, 96));
});

test.each([0, 5])('a chain of %i buffers, which no empty ring of 4 takes, is misuse', (count) => {
  const { driver, data } = makeRing({ size: 4 });
  const list = segments(...Array.from({ length: count }, () => [data, 1] as [number, number]));
  expect(() => driver.add(list, count, 0)).toThrow(
    expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }),
  );
  expect(driver.free).toBe(4);
});

test('a chain that comes back gives back every descriptor that it took', () => {
  const { driver, device, data } = makeRing({ size: 4, data: 4096 });
  for (let round = 0; round < 50; round++) {
    driver.add(segments([data, 8], [data + 64, 8], [data + 128, 8]), 1, 2);
    expect(driver.free).toBe(1);
    driver.publish();
    device.serve(new Uint8Array(16));
    device.show();
    expect(drain(driver)).toHaveLength(1);
    expect([driver.free, driver.inFlight]).toEqual([4, 0]);
  }
});

test('the device sees nothing before publish(), and everything after it', () => {
  const { driver, device, data } = makeRing({ size: 8 });
  for (let i = 0; i < 3; i++) driver.addReadable(data + 64 * i, 0, 64);
  expect(device.waiting).toBe(0);
  driver.publish();
  expect(device.waiting).toBe(3);
  expect([0, 1, 2].map((position) => device.availAt(position))).toEqual([0, 1, 2]);
});

test('what the device writes is in the buffers, and usedLength says how much', () => {
  const { driver, device, memory, data } = makeRing({ size: 4 });
  driver.add(segments([data, 4], [data + 64, 4]), 0, 2);
  driver.publish();
  device.serve(Uint8Array.of(1, 2, 3, 4, 5, 6));
  device.show();
  expect(driver.pop()).toBe(0);
  expect(driver.usedLength).toBe(6);
  expect(memory.read(BigInt(data), 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
  expect(memory.read(BigInt(data + 64), 4)).toEqual(Uint8Array.of(5, 6, 0, 0));
  expect(driver.pop()).toBe(-1);
});

test('chains come back in the order of the device, not of the driver', () => {
  /*  avail: 0 1 2 3    used: 2 0 3 1  */
  const { driver, device, data } = makeRing({ size: 4 });
  for (let i = 0; i < 4; i++) driver.addReadable(data, 0, i + 1);
  driver.publish();
  for (let i = 0; i < 4; i++) device.take();
  for (const head of [2, 0, 3, 1]) device.complete(head);
  device.show();
  expect(drain(driver)).toEqual([2, 0, 3, 1]);
  expect(driver.free).toBe(4);
});

test('chains that are done but not shown are not taken back', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  driver.addReadable(data, 0, 64);
  driver.publish();
  device.serve();
  expect(driver.pop()).toBe(-1);
  device.show();
  expect(driver.pop()).toBe(0);
});

test.each([1, 2, 8])('a ring of %i goes on past index 65,535', (size) => {
  const { driver, device, memory, data } = makeRing({ size });
  const written = memory.bytes(BigInt(data), 4);
  let wrong = 0;
  for (let round = 0; round < 70_000; round++) {
    const head = driver.addWritable(data, 0, 4);
    driver.publish();
    device.serve(Uint8Array.of(round, round >> 8, round >> 16, 0));
    device.show();
    const seen = (written[0] ?? 0) | ((written[1] ?? 0) << 8) | ((written[2] ?? 0) << 16);
    if (driver.pop() !== head || seen !== round || driver.pop() !== -1) wrong++;
  }
  expect(wrong).toBe(0);
  expect(device.availIndex).toBe(70_000 & 0xffff);
});

test('a device that rewrites the descriptors does not confuse the driver', () => {
  const { driver, device, data } = makeRing({ size: 8 });
  const first = driver.add(segments([data, 1], [data, 2], [data, 3]), 3, 0);
  const second = driver.add(segments([data, 1], [data, 2]), 1, 1);
  driver.publish();
  device.take();
  device.take();
  device.scribbleDescriptors(0xff);
  device.complete(second, 2);
  device.complete(first);
  device.show();
  expect(drain(driver)).toEqual([second, first]);
  expect(driver.free).toBe(8);
  // Every descriptor is free once: eight single chains have eight different heads.
  const heads = Array.from({ length: 8 }, () => driver.addReadable(data, 0, 1));
  expect(new Set(heads)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
});

test('reset() forgets every chain, clears the memory and starts at index 0', () => {
  const { driver, device, memory, addresses, data } = makeRing({ size: 4, eventIdx: true });
  for (let i = 0; i < 3; i++) driver.addReadable(data, 0, 64);
  driver.publish();
  device.serve();
  device.show();
  driver.pop();
  driver.enableCalls(1);
  driver.reset();
  expect([driver.free, driver.inFlight]).toEqual([4, 0]);
  const length = Number(addresses.used) + 38;
  expect(memory.read(0n, length)).toEqual(new Uint8Array(length));
  expect(driver.pop()).toBe(-1);
  expect(driver.addReadable(data, 0, 64)).toBe(0);
  expect(driver.publish()).toBe(true);
  expect(device.availIndex).toBe(1);
});
