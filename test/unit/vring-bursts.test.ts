/** Chains that come back many at once, and those that keep their descriptors. */
import { expect, test } from 'vitest';
import { makeRing, repost, segments, takeHeld } from '../support/ring.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

test('chains are taken back in bursts, as many as there are and fit', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  for (let i = 0; i < 4; i++) driver.addWritable(data, 0, 8);
  driver.publish();
  for (let i = 0; i < 4; i++) device.take();
  for (const head of [2, 0, 3, 1]) device.complete(head, head + 1);
  device.show();
  const [heads, lengths] = [new Uint16Array(4), new Uint32Array(4)];
  expect(driver.popHeld(heads, lengths, 1, 1)).toBe(0);
  expect(driver.popHeld(heads, lengths, 3, 1)).toBe(0);
  expect(driver.popHeld(heads, lengths, 3, 9)).toBe(1);
  expect(driver.popHeld(heads, lengths, 0, 2)).toBe(2);
  expect([[...heads], [...lengths]]).toEqual([
    [0, 3, 0, 2],
    [1, 4, 0, 3],
  ]);
  expect(takeHeld(driver)).toEqual([[1, 2]]);
  driver.repost(Uint16Array.of(3, 1, 0), 2);
  expect(driver.inFlight).toBe(2);
});

test('chains are freed in bursts', () => {
  const { driver, device, data } = makeRing({ size: 8 });
  for (let i = 0; i < 3; i++) driver.addReadable(data, 0, 8);
  driver.add(segments([data, 8], [data, 8]), 1, 1);
  driver.publish();
  for (let i = 0; i < 4; i++) device.take();
  for (const head of [3, 0, 2, 1]) device.complete(head);
  device.show();
  const heads = new Uint16Array(3);
  expect([driver.popMany(heads), [...heads], driver.free]).toEqual([3, [3, 0, 2], 7]);
  expect([driver.popMany(heads), heads[0], driver.free]).toEqual([1, 1, 8]);
  expect(driver.popMany(heads)).toBe(0);
});

test('chains that are not published yet do not come back with those that are', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  for (let i = 0; i < 2; i++) driver.addWritable(data, 0, 8);
  driver.publish();
  device.serve();
  device.serve();
  device.show();
  driver.addWritable(data, 0, 8);
  expect([takeHeld(driver), takeHeld(driver), takeHeld(driver)]).toEqual([[[0, 0]], [[1, 0]], []]);
});

test('a chain that is held keeps its descriptors, and is offered again as it was', () => {
  const { driver, device, memory, addresses, data } = makeRing({ size: 4 });
  driver.add(segments([data, 8], [data + 64, 8]), 0, 2);
  const before = hex(memory.read(addresses.desc, 64));
  for (let round = 0; round < 5; round++) {
    driver.publish();
    device.serve(Uint8Array.of(round));
    device.show();
    expect(takeHeld(driver)).toEqual([[0, 1]]);
    expect([driver.free, driver.inFlight, takeHeld(driver)]).toEqual([2, 0, []]);
    repost(driver, 0);
    expect([driver.free, driver.inFlight]).toEqual([2, 1]);
  }
  expect(hex(memory.read(addresses.desc, 64))).toBe(before);
});

test('a chain that is not held cannot be offered again', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  const misuse = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  for (const head of [0, 4, -1]) expect(() => repost(driver, head)).toThrow(misuse);
  driver.addWritable(data, 0, 8);
  expect(() => repost(driver, 0)).toThrow(misuse);
  driver.publish();
  device.serve();
  device.show();
  takeHeld(driver);
  repost(driver, 0);
  expect(() => repost(driver, 0)).toThrow(misuse);
  expect(driver.inFlight).toBe(1);
});

test('a chain that is held is in no state that another driver goes on with', () => {
  const { driver, device, data } = makeRing({ size: 4 });
  for (let i = 0; i < 3; i++) driver.addWritable(data, 0, 8);
  driver.publish();
  device.serve();
  device.show();
  takeHeld(driver, 1);
  expect(driver.state).toEqual({
    avail: 3,
    used: 1,
    chains: [
      [1, 1, 8],
      [2, 1, 8],
    ],
  });
});
