/** A card that is stopped, and what goes on with its state. */
import { describe, expect, test } from 'vitest';
import type { CardState } from '../../lib/device/card-state.js';
import { placeVring } from '../../lib/vring/layout.js';
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

const ALL = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

describe('a card that is stopped', () => {
  test('goes on as another that has its state, as JSON carries it', async () => {
    const card = makeCard({ queuePairs: 2 });
    const { device, backend } = card;
    const control = new ControlDriver(card);
    await bringUp(card);
    expect(await control.send([4, 0, 2, 0])).toBe(0);
    expect(await control.send([0, 0, 0])).toBe(0);
    expect(await control.send([1, 1, 2, 0, 0, 0, 0, 9])).toBe(0);
    expect(await control.send([2, 0, 7, 0])).toBe(0);
    device.announce();
    device.setLink(false);
    const state = JSON.parse(JSON.stringify(await device.stop())) as CardState;
    expect(backend.asked.at(-1)).toBe('stop');
    expect([device.status, device.activePairs]).toEqual([0, 1]);
    expect(state).toMatchObject({ status: ALL, activePairs: 2, mac: '02:00:00:00:00:09' });
    expect(state.queues.map(({ base }) => base)).toEqual([7, 7, 7, 7, 4]);

    const next = makeCard({ queuePairs: 2 });
    next.memory.write(0n, card.memory.read(0n, 4 << 20));
    await next.device.start(state);
    expect(next.backend.asked).toEqual(['start 0', 'startRing 2', 'startRing 3']);
    expect(next.backend.rings.get(3)).toMatchObject({
      base: 7,
      size: 64,
      addresses: placeVring(0x10_c000n, 64),
    });
    expect([next.device.status, next.device.activePairs]).toEqual([ALL, 2]);
    expect(next.device.driverFeatures).toBe(BigInt(state.features));
    expect(next.device.config.status).toBe(2);
    expect(Array.from(next.device.config.mac)).toEqual([2, 0, 0, 0, 0, 9]);
    expect(next.device.rxFilter).toMatchObject({ promisc: false, vlans: [7] });
    // Whoever was notified meanwhile looks again; nobody is interrupted for nothing.
    for (const index of [0, 1, 2, 3]) {
      expect(next.device.queues[index]?.kick.read()).toBe(1);
      expect(next.device.queues[index]?.call.read()).toBe(0);
    }
    await expect(next.device.start(state)).rejects.toMatchObject({ code: 'ERR_BUSY' });
  });

  test('goes on as itself', async () => {
    const card = makeCard();
    await bringUp(card);
    const state = await card.device.stop();
    await card.device.start(state);
    expect(card.backend.asked).toEqual(['start 0', 'stop', 'start 0']);
    expect(card.backend.rings.get(1)).toMatchObject({ base: 7 });
  });

  test('before its driver was ready goes on there', async () => {
    const card = makeCard();
    takeFeatures(card);
    enableQueue(card, 0);
    const next = makeCard();
    await next.device.start(await card.device.stop());
    expect(next.backend.asked).toEqual([]);
    expect(next.device.status).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    enableQueue(next, 1);
    await next.device.setStatus(ALL);
    expect(next.backend.asked).toEqual(['start 0']);
  });

  test('goes on with the calls that nobody took, and no others', async () => {
    const card = makeCard();
    await bringUp(card);
    card.device.queues[1]?.call.signal();
    // Between the last frame and the end.
    card.backend.during = (what) => what === 'stop' && card.device.queues[2]?.call.signal();
    const state = await card.device.stop();
    expect(state.queues.map(({ call }) => call)).toEqual([false, true, true]);
    await card.device.start(state);
    expect(card.device.queues.map(({ call }) => call.read())).toEqual([0, 1, 1]);
  });

  test('half through its features goes on there', async () => {
    const card = makeCard();
    const { device } = card;
    device.setStatus(ACKNOWLEDGE);
    device.setStatus(ACKNOWLEDGE | DRIVER);
    device.setDriverFeatures(0, 1 << 15);
    const next = makeCard();
    await next.device.start(await device.stop());
    next.device.setDriverFeatures(1, 1);
    next.device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    expect([next.device.status, next.device.driverFeatures]).toEqual([11, (1n << 32n) | 0x8000n]);
  });

  test('that needs a reset still does, and is not served until then', async () => {
    const card = makeCard();
    await bringUp(card);
    card.backend.config?.onRingError?.(1);
    const state = await card.device.stop();
    expect(state.status).toBe(ALL | NEEDS_RESET);
    const next = makeCard();
    await next.device.start(state);
    expect([next.device.status, next.backend.asked]).toEqual([ALL | NEEDS_RESET, []]);
    enableQueue(next, 1);
    await next.device.setStatus(0);
    await bringUp(next);
    expect(next.device.status).toBe(ALL);
  });

  test('shows another generation than before, as its configuration may be another', async () => {
    const card = makeCard();
    const next = makeCard({ mtu: 1400 });
    // What the other one would come to by itself: address and status are set there, which is one change.
    const { config } = card.device;
    const same = next.device.config.generation + 1;
    for (let up = false; config.generation !== same; up = !up) card.device.setLink(up);
    const { generation } = config;
    const state = await card.device.stop();
    await next.device.start(state);
    expect(next.device.config.generation).not.toBe(generation);
  });

  test('does so where nobody read the configuration of the other one yet', async () => {
    const card = makeCard();
    const next = makeCard({ mtu: 1400 });
    const { generation } = card.device.config;
    await next.device.start(await card.device.stop());
    expect(next.device.config.generation).not.toBe(generation);
  });

  test('is ready before anything is served: what interrupts depends on it', async () => {
    const card = makeCard();
    await bringUp(card);
    const state = await card.device.stop();
    const seen: number[] = [];
    card.backend.during = () => seen.push(card.device.status);
    await card.device.start(state);
    expect(seen).toEqual([ALL]);
  });

  const change = (queue: object) => (state: CardState) => {
    Object.assign(state.queues[1] as object, queue);
  };
  const assign = (fields: object) => (state: CardState) => void Object.assign(state, fields);
  test.each<[string, (state: CardState) => void, string]>([
    ['has other features', assign({ features: '0x400000000' }), 'was not offered'],
    ['has a feature that needs another', assign({ features: '0x100040000' }), 'without'],
    ['has other queues', assign({ queues: [] }), 'the state has 0 queues, the card 3'],
    ['has no queues', assign({ queues: undefined }), 'queues is no list'],
    [
      'has a queue that is none',
      (state) => void state.queues.splice(1, 1, null as never),
      'queue 1',
    ],
    ['has a larger queue', change({ size: 512 }), 'queue 1.size is 512'],
    ['has a queue of an odd size', change({ size: 48 }), 'queue 1.size is 48'],
    ['has a queue of no size', change({ size: 0 }), 'queue 1.size is 0'],
    ['has half an address', change({ desc: '0x1.8' }), 'queue 1.desc'],
    ['has too large an address', change({ used: `0x1${'0'.repeat(16)}` }), 'queue 1.used'],
    ['has no base', change({ base: undefined }), 'queue 1.base'],
    ['has too large a base', change({ base: 0x10000 }), 'queue 1.base is 65536'],
    ['does not know its calls', change({ call: 1 }), 'queue 1.call is 1'],
    ['has another status', assign({ status: 0x100 }), 'status is 256'],
    ['skips a step', assign({ status: 7 }), 'status is 7'],
    ['has no address', assign({ mac: '02:00' }), 'no MAC address'],
    ['has features that are no number', assign({ features: 'all' }), 'features is "all"'],
    ['has more offloads than features', assign({ offloads: '0x80' }), 'offloads is 0x80'],
    ['has no pair in use', assign({ activePairs: 0 }), 'activePairs is 0'],
    ['has more pairs in use', assign({ activePairs: 2 }), 'activePairs is 2'],
    ['has no filter', assign({ rxFilter: null }), 'rxFilter is missing'],
    ['has half a filter', assign({ rxFilter: { promisc: true } }), 'rxFilter.allmulti'],
  ])('is refused where it %s, and changes nothing', async (_, spoil, words) => {
    const card = makeCard();
    await bringUp(card);
    const state = await card.device.stop();
    spoil(state);
    // Of what a driver does before it says that it is there.
    const [queue] = card.device.queues;
    if (queue) queue.size = 32;
    await expect(card.device.start(state)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(words) as unknown,
    });
    expect([card.device.status, card.device.driverFeatures, queue?.size]).toEqual([0, 0n, 32]);
    await bringUp(card);
    expect(card.device.status).toBe(ALL);
  });

  test('cannot go on as a card that is closed', async () => {
    const card = makeCard();
    const state = await card.device.stop();
    await card.device.close();
    await expect(card.device.start(state)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('whose backend fails is as after a reset', async () => {
    const card = makeCard();
    await bringUp(card);
    const state = await card.device.stop();
    card.backend.failWith = new Error('no worker');
    await expect(card.device.start(state)).rejects.toThrow('no worker');
    expect(card.device.status).toBe(0);
    await card.device.start(state);
    expect(card.device.status).toBe(ALL);
  });
});
