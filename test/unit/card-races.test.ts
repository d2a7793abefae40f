/** A guest with several processors: what one asks for while the card still does, or failed at, what another asked for. */
import { expect, test } from 'vitest';
import {
  ACKNOWLEDGE,
  bringUp,
  ControlDriver,
  DRIVER,
  DRIVER_OK,
  enableQueue,
  FEATURES_OK,
  makeCard,
  NEEDS_RESET,
  takeFeatures,
} from '../support/card-driver.js';

test('a queue that is enabled while its card is reset is not served after it', async () => {
  const card = makeCard();
  const { device, backend } = card;
  await bringUp(card);
  await device.resetQueue(0);
  const reset = device.setStatus(0);
  const enabled = enableQueue(card, 0);
  await Promise.all([reset, enabled]);
  expect(backend.asked).toEqual(['start 0', 'stopRing 0', 'stop']);
  expect(backend.rings.size).toBe(0);
  expect(device.status).toBe(0);
});

test('nor one that is enabled behind a start that failed', async () => {
  const card = makeCard();
  const { device, backend } = card;
  takeFeatures(card);
  enableQueue(card, 0);
  backend.failWith = new Error('no start');
  const started = device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  const enabled = [1, 2].map((index) => enableQueue(card, index));
  await Promise.all([started, ...enabled]);
  expect(backend.asked).toEqual(['start 0']);
  expect(device.status & NEEDS_RESET).toBe(NEEDS_RESET);
  const control = new ControlDriver(card);
  control.ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
  control.ring.publish();
  device.queues[2]?.kick.signal();
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
  expect(control.ring.pop()).toBe(-1);
});

test('a queue that is reset while a command takes its pair into use is not served after it', async () => {
  const card = makeCard({ queuePairs: 2 });
  const { device, backend } = card;
  const control = new ControlDriver(card);
  await bringUp(card);
  let reset: Promise<void> | undefined;
  backend.during = (what) => {
    if (what === 'startRing 2') reset = device.resetQueue(2);
  };
  expect(await control.send([4, 0, 2, 0])).toBe(0);
  await reset;
  expect(device.queues[2]?.enabled).toBe(false);
  expect([...backend.rings.keys()].sort()).toEqual([0, 1, 3]);
  expect(backend.asked).toEqual(['start 0', 'startRing 2', 'startRing 3', 'stopRing 2']);
});

test('pairs of a card that could not be stopped are not in use after the next start', async () => {
  const card = makeCard({ queuePairs: 2 });
  const { device, backend } = card;
  const control = new ControlDriver(card);
  await bringUp(card);
  expect(await control.send([4, 0, 2, 0])).toBe(0);
  backend.failWith = new Error('stuck');
  await device.setStatus(0);
  expect(device.status & NEEDS_RESET).toBe(NEEDS_RESET);
  await device.setStatus(0);
  expect(device.activePairs).toBe(1);
  backend.asked.length = 0;
  const again = new ControlDriver(card);
  await bringUp(card);
  expect(await again.send([4, 0, 2, 0])).toBe(0);
  expect(backend.asked).toEqual(['start 0', 'startRing 2', 'startRing 3']);
});
