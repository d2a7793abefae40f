/** A card on the kernel's vhost-net, driven as a guest would, without one. */
import { describe, expect, test } from 'vitest';
import { bit, type CardState, TUN_F_CSUM, TUN_F_TSO4 } from '../../lib/index.js';
import { NEEDS_RESET } from '../support/card-driver.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { GUEST_MAC, GuestCard } from '../support/guest-card.js';
import { until } from '../support/host.js';

holdNothingLeaks();

const OTHER = '02:00:00:00:00:77';
const GROUP = '01:00:5e:00:00:05';
const bytesOf = (mac: string) => mac.split(':').map((byte) => Number.parseInt(byte, 16));

describe('frames', () => {
  test('go both ways, and after a reset with new rings again', async () => {
    const card = new GuestCard();
    for (let round = 0; round < 3; round++) {
      await card.bringUp();
      await card.send(2 * round);
      await card.receives(2 * round + 1);
      await card.device.setStatus(0);
      expect(card.backend.running).toBe(false);
    }
  });

  test('of one direction stop with its queue, and go on when it is enabled anew', async () => {
    const card = new GuestCard();
    await card.bringUp();
    await card.send(1);
    await card.device.resetQueue(1);
    await card.receives(2);
    await card.placeRing(1);
    await card.send(3);
    await card.receives(4);
    await card.device.resetQueue(0);
    await card.send(5);
    await card.placeRing(0);
    await card.receives(6);
  });

  test('come without VERSION_1’s friends: no event index, no merging, no commands', async () => {
    const card = new GuestCard();
    // The rings of the test ask for event indices, which a device without them does not look at.
    await card.bringUp(bit(32) | bit(29));
    await card.send(1);
    await card.receives(2);
  });
});

describe('the control queue', () => {
  test('filters by address on the TAP, as the guest asks', async () => {
    const card = new GuestCard();
    await card.bringUp();
    const { control } = card;
    await card.receives(1, OTHER);
    expect(await control?.send([0, 0, 0])).toBe(0);
    const passes = async (to: string, number: number) => {
      card.hostSends(number, to);
      card.hostSends(number + 1, GUEST_MAC);
      const numbers: number[] = [];
      const limit = Date.now() + 10_000;
      while (!numbers.includes(number + 1) && Date.now() < limit) {
        numbers.push(...card.received());
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(numbers).toContain(number + 1);
      return numbers.includes(number);
    };
    expect(await passes(OTHER, 10)).toBe(false);
    expect(await passes(GROUP, 20)).toBe(false);
    expect(await passes('ff:ff:ff:ff:ff:ff', 30)).toBe(true);
    expect(
      await control?.send([1, 0, 1, 0, 0, 0, ...bytesOf(OTHER), 1, 0, 0, 0, ...bytesOf(GROUP)]),
    ).toBe(0);
    expect(await passes(OTHER, 40)).toBe(true);
    expect(await passes(GROUP, 50)).toBe(true);
    expect(await passes('02:00:00:00:00:78', 60)).toBe(false);
    expect(await control?.send([0, 1, 1])).toBe(0);
    expect(await passes('01:00:5e:00:00:09', 70)).toBe(true);
    await card.device.setStatus(0);
    await card.bringUp();
    await card.receives(80, '02:00:00:00:00:78');
  });

  test('gives the card another address', async () => {
    const card = new GuestCard();
    await card.bringUp();
    expect(await card.control?.send([0, 0, 0])).toBe(0);
    expect(await card.control?.send([1, 1, ...bytesOf(OTHER)])).toBe(0);
    await card.receives(1, OTHER);
    expect(Buffer.from(card.device.config.read(0, 6)).toString('hex')).toBe('020000000077');
  });

  test('attaches and detaches the TAP queues of pairs while frames go', async () => {
    const card = new GuestCard({ queuePairs: 2 });
    await card.bringUp();
    const { device, control } = card;
    await card.send(1);
    await card.receives(2);
    expect(await control?.send([4, 0, 2, 0])).toBe(0);
    expect(device.activePairs).toBe(2);
    // Either pair may send; what comes back is on either.
    await card.send(3, 0);
    await card.send(4, 1);
    const got: number[] = [];
    card.hostSends(5);
    const limit = Date.now() + 10_000;
    while (!got.includes(5) && Date.now() < limit) {
      got.push(...card.received(0), ...card.received(1));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(got).toContain(5);
    expect(await control?.send([4, 0, 1, 0])).toBe(0);
    expect(device.activePairs).toBe(1);
    await card.send(6);
    for (let i = 10; i < 20; i++) await card.receives(i);
    // It goes on where it stopped.
    expect(await control?.send([4, 0, 2, 0])).toBe(0);
    await card.send(7, 1);
    await card.send(8, 0);
  });

  test('sets the offloads that the TAP hands over', async () => {
    const card = new GuestCard();
    await card.bringUp();
    const [tap] = card.taps;
    const offered = tap?.offload ?? 0;
    expect(offered & (TUN_F_CSUM | TUN_F_TSO4)).toBe(TUN_F_CSUM | TUN_F_TSO4);
    const set = (mask: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(mask);
      return card.control?.send([5, 0, ...bytes]);
    };
    expect(await set(0n)).toBe(0);
    expect(tap?.offload).toBe(0);
    expect(await set(bit(1))).toBe(0);
    expect(tap?.offload).toBe(TUN_F_CSUM);
    expect(await set(bit(1) | bit(7))).toBe(0);
    expect(tap?.offload).toBe(TUN_F_CSUM | TUN_F_TSO4);
    // What is no offload of the guest's, or was not negotiated.
    expect(await set(bit(5))).toBe(1);
    expect(tap?.offload).toBe(TUN_F_CSUM | TUN_F_TSO4);
    await card.receives(1);
  });
});

test('a card that is stopped goes on with its state: what was sent meanwhile arrives both ways', async () => {
  const card = new GuestCard({ queuePairs: 2 });
  await card.bringUp();
  expect(await card.control?.send([4, 0, 2, 0])).toBe(0);
  for (let round = 0; round < 5; round++) {
    await card.send(10 * round);
    await card.send(10 * round + 1, 1);
    const state = JSON.parse(JSON.stringify(await card.device.stop())) as CardState;
    expect(card.backend.running).toBe(false);
    const sent = [card.send(10 * round + 2), card.send(10 * round + 3, 1)];
    card.hostSends(10 * round + 4);
    await card.device.start(state);
    await Promise.all(sent);
    const got: number[] = [];
    await until(() => {
      got.push(...card.received(0), ...card.received(1));
      return got.includes(10 * round + 4);
    }, 'the frame that was sent meanwhile');
    expect(await card.control?.send([0, 1, round % 2])).toBe(0);
  }
});

test('a ring outside the memory: the card needs a reset, which mends it', async () => {
  const card = new GuestCard();
  const failures: string[] = [];
  card.device.on('failed', ({ message }) => failures.push(message));
  await card.bringUp();
  await card.device.resetQueue(1);
  const queue = card.device.queues[1];
  if (queue) queue.addresses = { desc: 1n << 40n, avail: 0n, used: 0n };
  await card.device.enableQueue(1);
  expect(card.device.status & NEEDS_RESET).toBe(NEEDS_RESET);
  expect(failures).toHaveLength(1);
  await card.device.setStatus(0);
  await card.bringUp();
  await card.send(1);
  await card.receives(2);
});
