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
    // Whoever was notified meanwhile looks again.
    for (const index of [0, 1, 2, 3]) {
      expect(next.device.queues[index]?.kick.read()).toBe(1);
      expect(next.device.queues[index]?.call.read()).toBe(1);
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

  test.each([
    ['has other features', { features: '0x400000000' }, 'was not offered'],
    ['has more queues', { queues: [] }, 'the state has 0 queues, the card 3'],
  ])('is refused where it %s', async (_, change, words) => {
    const card = makeCard();
    await bringUp(card);
    const state = { ...(await card.device.stop()), ...change };
    await expect(card.device.start(state)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(words) as unknown,
    });
    expect([card.device.status, card.device.driverFeatures]).toEqual([0, 0n]);
    await bringUp(card);
    expect(card.device.status).toBe(ALL);
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
