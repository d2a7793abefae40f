/** Who wakes whom: kicks and calls, by flag and by event index (virtio 1.3 §2.7.7, §2.7.10). */
import { describe, expect, test } from 'vitest';
import { makeRing, type Ring } from '../support/ring.js';

/** Adds chains and publishes them at once. */
function publish(ring: Ring, count: number): boolean {
  for (let i = 0; i < count; i++) {
    if (ring.driver.addReadable(ring.data, 0, 64) < 0) throw new Error('the ring is full');
  }
  return ring.driver.publish();
}

/** The device gives back chains. Returns whether it called. */
function giveBack(ring: Ring, count: number): boolean {
  for (let i = 0; i < count; i++) ring.device.serve();
  return ring.device.show();
}

function drain(ring: Ring): void {
  while (ring.driver.pop() >= 0);
}

/** Brings both indices to `index` with nothing in flight. */
function wind(ring: Ring, index: number): void {
  for (let done = 0; done < index; ) {
    const batch = Math.min(ring.driver.size, index - done);
    publish(ring, batch);
    giveBack(ring, batch);
    drain(ring);
    done += batch;
  }
}

describe('kicks without EVENT_IDX', () => {
  test('a device that has not refused kicks gets one for each publish()', () => {
    const ring = makeRing({ size: 8 });
    expect(publish(ring, 1)).toBe(true);
    expect(publish(ring, 3)).toBe(true);
  });

  test('a device that refuses kicks gets none until it asks again', () => {
    const ring = makeRing({ size: 8 });
    ring.device.refuseKicks();
    expect(publish(ring, 1)).toBe(false);
    ring.device.askForKicks();
    expect(publish(ring, 1)).toBe(true);
  });

  test('publish() without a new chain kicks nobody', () => {
    const ring = makeRing({ size: 8 });
    expect(ring.driver.publish()).toBe(false);
    publish(ring, 2);
    expect(ring.driver.publish()).toBe(false);
  });

  test('avail_event means nothing', () => {
    const ring = makeRing({ size: 8 });
    ring.device.setAvailEvent(1000);
    expect(publish(ring, 1)).toBe(true);
  });
});

describe('kicks with EVENT_IDX', () => {
  /*
   * publish() moves the avail index from `before` to `now`. The device wants a kick when that passes
   * its avail_event, that is when the chain at position avail_event was among the new ones:
   *
   *        before         now
   *   … │    │  new  new   │ …       kick if before <= avail_event < now
   */
  test.each([
    { before: 0, count: 1, event: 0, kick: true },
    { before: 0, count: 1, event: 1, kick: false },
    { before: 0, count: 4, event: 3, kick: true },
    { before: 0, count: 4, event: 4, kick: false },
    { before: 5, count: 3, event: 4, kick: false },
    { before: 5, count: 3, event: 5, kick: true },
    { before: 5, count: 3, event: 7, kick: true },
    { before: 5, count: 3, event: 8, kick: false },
    { before: 65_534, count: 2, event: 65_533, kick: false },
    { before: 65_534, count: 2, event: 65_534, kick: true },
    { before: 65_534, count: 2, event: 65_535, kick: true },
    { before: 65_534, count: 4, event: 0, kick: true },
    { before: 65_534, count: 4, event: 1, kick: true },
    { before: 65_534, count: 4, event: 2, kick: false },
    { before: 65_535, count: 1, event: 0, kick: false },
    { before: 3, count: 8, event: 2, kick: false },
    { before: 3, count: 8, event: 10, kick: true },
  ])('from $before, $count chains, avail_event $event: kick $kick', (one) => {
    const ring = makeRing({ size: 8, eventIdx: true });
    wind(ring, one.before);
    ring.device.setAvailEvent(one.event);
    expect(publish(ring, one.count)).toBe(one.kick);
  });

  test('the flag of the used ring means nothing', () => {
    const ring = makeRing({ size: 8, eventIdx: true });
    ring.memory.bytes(ring.addresses.used, 1)[0] = 1;
    expect(publish(ring, 1)).toBe(true);
  });
});

describe('calls without EVENT_IDX', () => {
  test('disableCalls() refuses them and enableCalls() asks for them', () => {
    const ring = makeRing({ size: 8 });
    publish(ring, 4);
    ring.driver.disableCalls();
    expect(giveBack(ring, 1)).toBe(false);
    drain(ring);
    expect(ring.driver.enableCalls()).toBe(false);
    expect(giveBack(ring, 1)).toBe(true);
  });

  test('enableCalls() is true for what came back before it was asked: no call comes for that', () => {
    const ring = makeRing({ size: 8 });
    ring.driver.disableCalls();
    publish(ring, 2);
    giveBack(ring, 1);
    expect(ring.driver.enableCalls()).toBe(true);
    drain(ring);
    expect(ring.driver.enableCalls()).toBe(false);
  });
});

describe('calls with EVENT_IDX', () => {
  test('enableCalls() asks for a call at the next chain, and only that', () => {
    const ring = makeRing({ size: 8, eventIdx: true });
    publish(ring, 4);
    expect(ring.driver.enableCalls()).toBe(false);
    expect(giveBack(ring, 1)).toBe(true);
    expect(giveBack(ring, 1)).toBe(false);
  });

  test.each([0, 1, 2, 3, 7])('enableCalls(%i) asks for a call after more than that', (after) => {
    const ring = makeRing({ size: 8, eventIdx: true });
    publish(ring, 8);
    expect(ring.driver.enableCalls(after)).toBe(false);
    const calls = Array.from({ length: 8 }, () => giveBack(ring, 1));
    expect(calls.indexOf(true)).toBe(after);
    expect(calls.filter(Boolean)).toHaveLength(1);
  });

  test('one call comes for a batch that passes the position asked for', () => {
    const ring = makeRing({ size: 8, eventIdx: true });
    publish(ring, 8);
    ring.driver.enableCalls(3);
    expect(giveBack(ring, 3)).toBe(false);
    expect(giveBack(ring, 5)).toBe(true);
  });

  test.each([
    { back: 2, after: 2, more: false },
    { back: 3, after: 2, more: true },
    { back: 1, after: 0, more: true },
    { back: 0, after: 0, more: false },
  ])('after $back of 8, enableCalls($after) is $more', ({ back, after, more }) => {
    const ring = makeRing({ size: 8, eventIdx: true });
    publish(ring, 8);
    giveBack(ring, back);
    expect(ring.driver.enableCalls(after)).toBe(more);
  });

  test('what was seen but not taken back counts', () => {
    const ring = makeRing({ size: 8, eventIdx: true });
    publish(ring, 4);
    giveBack(ring, 3);
    ring.driver.pop();
    expect(ring.driver.enableCalls(1)).toBe(true);
    expect(ring.driver.enableCalls(2)).toBe(false);
  });

  test('the position asked for wraps past 65,535', () => {
    const ring = makeRing({ size: 8, eventIdx: true });
    wind(ring, 65_533);
    publish(ring, 8);
    expect(ring.driver.enableCalls(4)).toBe(false);
    expect(ring.device.usedEvent).toBe(1);
    expect(giveBack(ring, 4)).toBe(false);
    expect(giveBack(ring, 1)).toBe(true);
  });
});
