/** The device that lies: each lie breaks the ring for good, and nothing but the ring. */
import { expect, test } from 'vitest';
import { makeRing, type Ring, repost, segments, takeHeld } from '../support/ring.js';

const BROKEN = expect.objectContaining({
  name: 'StateError',
  code: 'ERR_RING_BROKEN',
  hint: expect.stringContaining('backend'),
});

/** Four chains in flight: 0 and 1 readable, 2 writable (100 bytes), 3 + 4 linked (10 read, 20 written). */
function busyRing(): Ring {
  const ring = makeRing({ size: 8, data: 4096 });
  const { driver, device, data } = ring;
  driver.addReadable(data, 0, 64);
  driver.addReadable(data, 0, 64);
  driver.addWritable(data, 0, 100);
  driver.add(segments([data, 10], [data, 20]), 1, 1);
  driver.publish();
  while (device.take());
  return ring;
}

const LIES: Record<string, (ring: Ring) => void> = {
  'a used id that is just beyond the ring': ({ device }) => device.complete(8),
  'a used id of 2^32 - 1': ({ device }) => device.complete(0xffff_ffff),
  'a used id that is not in flight': ({ device }) => device.complete(7),
  'a used id in the middle of a chain': ({ device }) => device.complete(4),
  'more bytes than the buffer has': ({ device }) => device.complete(2, 101),
  'more bytes than the writable part of a chain has': ({ device }) => device.complete(3, 21),
  'bytes in a chain that is only readable': ({ device }) => device.complete(0, 1),
  'a length of 2^32 - 1': ({ device }) => device.complete(2, 0xffff_ffff),
  'a used index beyond what is in flight': ({ device }) => device.setUsedIndex(5),
  'a used index that goes back': ({ device }) => device.setUsedIndex(65_535),
  'a used index half a turn ahead': ({ device }) => device.setUsedIndex(32_768),
};

test.each(Object.keys(LIES))('%s breaks the ring', (name) => {
  const ring = busyRing();
  LIES[name]?.(ring);
  if (ring.device.written > 0) ring.device.show();
  expect(() => ring.driver.pop()).toThrow(BROKEN);
  expect(ring.driver.broken).toBe(true);
});

test.each(Object.keys(LIES))('%s breaks the ring whose chains are held', (name) => {
  const ring = busyRing();
  LIES[name]?.(ring);
  if (ring.device.written > 0) ring.device.show();
  expect(() => takeHeld(ring.driver)).toThrow(BROKEN);
  expect(ring.driver.broken).toBe(true);
});

test.each(Object.keys(LIES))('%s breaks the ring whose chains are freed in bursts', (name) => {
  const ring = busyRing();
  LIES[name]?.(ring);
  if (ring.device.written > 0) ring.device.show();
  expect(() => ring.driver.popMany(new Uint16Array(8))).toThrow(BROKEN);
  expect(ring.driver.broken).toBe(true);
});

test('good chains before a bad one are freed, and then the ring is broken', () => {
  const { driver, device } = busyRing();
  for (const head of [1, 0, 0]) device.complete(head);
  device.show();
  const heads = new Uint16Array(8);
  expect([driver.popMany(heads), heads[0], heads[1]]).toEqual([2, 1, 0]);
  expect(driver.broken).toBe(true);
  expect(() => driver.popMany(heads)).toThrow(BROKEN);
});

test('a chain given back twice breaks the ring the second time', () => {
  const { driver, device } = busyRing();
  device.complete(1);
  device.complete(1);
  device.show();
  expect(driver.pop()).toBe(1);
  expect(() => driver.pop()).toThrow(BROKEN);
});

test('a held chain that the device gives back again breaks the ring', () => {
  const { driver, device } = busyRing();
  for (const length of [100, 0]) device.complete(2, length);
  device.show();
  expect(takeHeld(driver)).toEqual([[2, 100]]);
  expect(driver.broken).toBe(true);
  expect(() => takeHeld(driver)).toThrow(BROKEN);
  expect(() => repost(driver, 2)).toThrow(BROKEN);
});

test('chains that were added and not published cannot come back', () => {
  const { driver, device, data } = makeRing({ size: 8 });
  driver.addReadable(data, 0, 64);
  driver.publish();
  driver.addReadable(data, 0, 64);
  device.complete(0);
  device.complete(1);
  device.show();
  expect(() => driver.pop()).toThrow(/2 chains, 1 are in flight/);
});

test('a chain that was added and not published cannot come back in the place of another', () => {
  const { driver, device, data } = makeRing({ size: 8 });
  driver.addReadable(data, 0, 64);
  driver.publish();
  const unshown = driver.addReadable(data, 0, 64);
  device.complete(unshown);
  device.show();
  expect(() => driver.pop()).toThrow(/chain 1, of which it was not told/);
  expect([driver.inFlight, driver.free]).toEqual([2, 6]);
});

test('a chain that the device kept while 65536 others went by is no lie', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  const kept = driver.addReadable(data, 0, 64);
  for (let i = 1; i < 65_536; i++) {
    driver.addReadable(data, 0, 64);
    driver.publish();
    if (i === 1) device.take();
    device.serve();
    device.show();
    driver.pop();
  }
  // It stands where the kept one stood, and is not published.
  driver.addReadable(data, 0, 64);
  device.complete(kept);
  device.show();
  expect(driver.pop()).toBe(kept);
});

test('the exact number of bytes and chains is no lie', () => {
  const { driver, device } = busyRing();
  device.complete(2, 100);
  device.complete(3, 20);
  device.complete(0);
  device.complete(1);
  device.show();
  for (const [head, length] of [
    [2, 100],
    [3, 20],
    [0, 0],
    [1, 0],
  ]) {
    expect([driver.pop(), driver.usedLength]).toEqual([head, length]);
  }
  expect([driver.free, driver.broken]).toEqual([8, false]);
});

test('a chain that takes the whole length of an indirect table can be written to its end', () => {
  const { driver, device, data } = makeRing({ size: 4, tables: 3 });
  driver.add(segments([data, 8], [data, 16], [data, 16]), 1, 2);
  driver.publish();
  device.take();
  device.complete(0, 33);
  device.show();
  expect(() => driver.pop()).toThrow('it wrote 33 bytes to 32 in chain 0');
});

test('a broken ring stays broken, also when the device takes its lie back', () => {
  const { driver, device, memory, addresses, data } = busyRing();
  device.complete(7);
  device.complete(1);
  device.show();
  expect(() => driver.pop()).toThrow(BROKEN);
  // The first element of the used ring now names a chain that is in flight.
  memory.bytes(addresses.used + 4n, 8).set([0, 0, 0, 0, 0, 0, 0, 0]);
  expect(() => driver.pop()).toThrow(BROKEN);
  expect(() => driver.addReadable(data, 0, 64)).toThrow(BROKEN);
  expect(() => driver.addWritable(data, 0, 64)).toThrow(BROKEN);
  expect(() => driver.add(segments([data, 1], [data, 1]), 2, 0)).toThrow(BROKEN);
  expect(() => driver.publish()).toThrow(BROKEN);
});

test('a lie changes no count and no chain', () => {
  const { driver, device } = busyRing();
  device.complete(0);
  device.complete(2, 101);
  device.show();
  driver.pop();
  const { free, inFlight, usedLength } = driver;
  expect(() => driver.pop()).toThrow(BROKEN);
  expect([driver.free, driver.inFlight, driver.usedLength]).toEqual([free, inFlight, usedLength]);
});

test('reset() makes a broken ring whole', () => {
  const { driver, device, data } = busyRing();
  device.setUsedIndex(1000);
  expect(() => driver.pop()).toThrow(BROKEN);
  driver.reset();
  expect(driver.broken).toBe(false);
  device.taken = device.written = device.shown = 0;
  expect(driver.addReadable(data, 0, 64)).toBe(0);
  driver.publish();
  device.serve();
  device.show();
  expect(driver.pop()).toBe(0);
});
