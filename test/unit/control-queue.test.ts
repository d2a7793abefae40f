/** The control queue: what a guest asks for, in any pieces, and what it may not (virtio 1.3 §5.1.6.5). */
import { describe, expect, test } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { VRING_DESC_F_NEXT } from '../../lib/uapi/virtio-ring.js';
import {
  bringUp,
  type Card,
  ControlDriver,
  makeCard,
  NEEDS_RESET,
} from '../support/card-driver.js';
import { writeDescriptor } from '../support/descriptor.js';
import { until } from '../support/host.js';

const OK = 0;
const ERR = 1;
const MAC = [0x52, 0x54, 0, 0, 0, 9];
const GROUP = [0x33, 0x33, 0, 0, 0, 1];

async function start(options: Parameters<typeof makeCard>[0] = {}) {
  const card = makeCard(options);
  const control = new ControlDriver(card);
  await bringUp(card);
  return { ...card, control };
}

describe('a command does what it says', () => {
  test('§5.1.6.5.1 RX modes', async () => {
    const { device, control } = await start();
    expect(device.rxFilter).toMatchObject({ promisc: true, allmulti: false });
    const modes = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;
    for (const [command, mode] of modes.entries()) {
      expect(await control.send([0, command, 1])).toBe(OK);
      expect(device.rxFilter[mode]).toBe(true);
      expect(await control.send([0, command, 0])).toBe(OK);
      expect(device.rxFilter[mode]).toBe(false);
    }
  });

  test('§5.1.6.5.2 the table and the address', async () => {
    const { device, control } = await start();
    expect(await control.send([1, 0, 1, 0, 0, 0, ...MAC, 2, 0, 0, 0, ...GROUP, ...GROUP])).toBe(OK);
    const { unicast, multicast } = device.rxFilter;
    expect([unicast, multicast]).toEqual([
      [Uint8Array.from(MAC)],
      [GROUP, GROUP].map((mac) => Uint8Array.from(mac)),
    ]);
    expect(await control.send([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])).toBe(OK);
    expect(device.rxFilter).toMatchObject({ unicast: [], multicast: [] });
    expect(await control.send([1, 1, ...MAC])).toBe(OK);
    expect(Array.from(device.config.mac)).toEqual(MAC);
  });

  test('a table too long to keep means everything', async () => {
    const { device, control } = await start();
    await control.send([0, 0, 0]);
    expect(device.rxFilter.promisc).toBe(false);
    const many = Array.from({ length: 1025 }, () => MAC).flat();
    // Longer than a page: the memory has room for 8 KiB of command.
    expect(await control.send([1, 0, 1, 4, 0, 0, ...many, 0, 0, 0, 0])).toBe(OK);
    expect(device.rxFilter.promisc).toBe(true);
  });

  test('§5.1.6.5.3 VLANs', async () => {
    const { device, control } = await start();
    expect(await control.send([2, 0, 5, 0])).toBe(OK);
    expect(await control.send([2, 0, 0xff, 0x0f])).toBe(OK);
    expect(await control.send([2, 0, 5, 0])).toBe(OK);
    expect(device.rxFilter.vlans).toEqual([0xfff, 5]);
    expect(await control.send([2, 1, 5, 0])).toBe(OK);
    expect(await control.send([2, 1, 6, 0])).toBe(OK);
    expect(device.rxFilter.vlans).toEqual([0xfff]);
    expect(await control.send([2, 0, 0, 0x10])).toBe(ERR);
  });

  test('§5.1.6.5.4 the announcement is acknowledged', async () => {
    const { device, control } = await start();
    device.announce();
    expect(device.config.status).toBe(3);
    expect(await control.send([3, 0])).toBe(OK);
    expect(device.config.status).toBe(1);
  });

  test('§5.1.6.5.5 pairs are served one after another, and go on where they stopped', async () => {
    const { device, backend, control } = await start({ queuePairs: 3 });
    expect(device.activePairs).toBe(1);
    expect(await control.send([4, 0, 3, 0])).toBe(OK);
    expect(backend.asked).toEqual(['start 0', ...[2, 3, 4, 5].map((ring) => `startRing ${ring}`)]);
    expect(await control.send([4, 0, 1, 0])).toBe(OK);
    expect(backend.asked.slice(5)).toEqual([4, 5, 2, 3].map((ring) => `stopRing ${ring}`));
    expect(await control.send([4, 0, 2, 0])).toBe(OK);
    expect(device.activePairs).toBe(2);
    expect(backend.rings.get(2)).toMatchObject({ base: backend.base });
    expect(await control.send([4, 0, 0, 0])).toBe(ERR);
    expect(await control.send([4, 0, 4, 0])).toBe(ERR);
    expect(device.activePairs).toBe(2);
    await device.setStatus(0);
    expect(device.activePairs).toBe(1);
  });

  test('§5.1.6.5.5 pairs that cannot be had leave those that were', async () => {
    const { device, backend, control } = await start({ queuePairs: 3 });
    await control.send([4, 0, 2, 0]);
    backend.failWith = new Error('no worker');
    expect(await control.send([4, 0, 3, 0])).toBe(ERR);
    expect([device.activePairs, [...backend.rings.keys()]]).toEqual([2, [0, 1, 2, 3]]);
    expect(device.status & NEEDS_RESET).toBe(0);
  });
});

describe('§5.1.6.5 any framing of a command', () => {
  const command = [1, 0, 1, 0, 0, 0, ...MAC, 1, 0, 0, 0, ...GROUP];
  test.each([
    ['in one piece', []],
    ['in three', [1, 1]],
    ['byte by byte', new Array(command.length - 1).fill(1)],
    ['cut within an address', [2, 7, 5]],
  ] as [string, number[]][])('%s', async (_, pieces) => {
    const { device, control } = await start();
    expect(await control.send(command, pieces)).toBe(OK);
    expect(device.rxFilter.multicast).toEqual([Uint8Array.from(GROUP)]);
  });
});

describe('a bad command gets ERR and harms nothing', () => {
  test.each([
    ['no command', []],
    ['half a command', [0]],
    ['a class that there is not', [77, 0, 1]],
    ['a command that there is not', [0, 6, 1]],
    ['a mode without its byte', [0, 0]],
    ['a mode with two', [0, 0, 1, 1]],
    ['an address cut short', [1, 1, 1, 2, 3, 4, 5]],
    ['a table without its counts', [1, 0, 0, 0]],
    ['a table without its second count', [1, 0, 0, 0, 0, 0]],
    ['a table shorter than it says', [1, 0, 2, 0, 0, 0, ...MAC, 0, 0, 0, 0]],
    ['a table that says 2^32 - 1', [1, 0, 255, 255, 255, 255, ...MAC, 0, 0, 0, 0]],
    ['a table longer than it says', [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]],
    ['queue pairs that were not negotiated', [4, 0, 1, 0]],
    ['offloads that were not negotiated', [5, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])('%s', async (_, command) => {
    const { device, control } = await start();
    const before = device.rxFilter;
    expect(await control.send(command)).toBe(ERR);
    expect(device.rxFilter).toEqual(before);
    expect(await control.send([0, 1, 1])).toBe(OK);
    expect(device.rxFilter.allmulti).toBe(true);
  });

  test('a command that is too long is not read', async () => {
    const { device, control, memory } = await start();
    memory.write(0x1000n, new Uint8Array(2));
    const { ring } = control;
    ring.add(Uint32Array.of(0x1000, 0, 0x10_0000, 0x3000, 0, 1), 1, 1);
    ring.publish();
    device.queues.at(-1)?.kick.signal();
    await until(() => ring.pop() >= 0, 'it is answered');
    expect(memory.read(0x3000n, 1)[0]).toBe(ERR);
  });

  test('one without room for an answer comes back empty', async () => {
    const { device, control } = await start();
    const { ring } = control;
    ring.addReadable(0x1000, 0, 3);
    ring.publish();
    device.queues.at(-1)?.kick.signal();
    await until(() => ring.pop() >= 0, 'it is answered');
    expect(ring.usedLength).toBe(0);
    expect(await control.send([0, 1, 1])).toBe(OK);
  });

  test.each([
    ['goes on outside the ring', 0xffff],
    ['loops', 0],
  ])(
    '6ec1778134: a chain that %s breaks the ring, and its command is not obeyed',
    async (_, next) => {
      const { device, memory } = await start();
      const { desc, avail } = device.queues.at(-1)?.addresses ?? { desc: 0n, avail: 0n };
      memory.write(0x1000n, Uint8Array.of(0, 1, 1));
      writeDescriptor(memory, desc, 0, [0x1000n, 3, VRING_DESC_F_NEXT, next]);
      memory.write(avail + 4n, Uint8Array.of(0, 0));
      memory.write(avail + 2n, Uint8Array.of(1, 0));
      device.queues.at(-1)?.kick.signal();
      await until(() => (device.status & NEEDS_RESET) !== 0, 'the card needs a reset');
      expect(device.rxFilter.allmulti).toBe(false);
    },
  );

  test('a broken ring needs a reset', async () => {
    const card = await start();
    const { device, memory } = card;
    const { avail } = device.queues.at(-1)?.addresses ?? { avail: 0n };
    memory.write(avail + 2n, Uint8Array.of(200, 0));
    device.queues.at(-1)?.kick.signal();
    await until(() => (device.status & NEEDS_RESET) !== 0, 'the card needs a reset');
    await device.setStatus(0);
    expect(device.status).toBe(0);
  });
});

test('commands that wait while the card starts are answered; a reset ends a long row of them', async () => {
  const card: Card = makeCard();
  const { ring } = new ControlDriver(card);
  for (let i = 0; i < 20; i++) ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
  ring.publish();
  await bringUp(card);
  await until(() => {
    while (ring.pop() >= 0);
    return ring.inFlight === 0;
  }, 'all are answered');
  for (let i = 0; i < 20; i++) ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
  if (ring.publish()) card.device.queues.at(-1)?.kick.signal();
  await card.device.setStatus(0);
  expect(card.device.status).toBe(0);
});

test('without MQ the control queue is the third', async () => {
  const { device, control } = await start({ queuePairs: 2, features: ~bit(22) });
  expect(device.queues).toHaveLength(5);
  expect(await control.send([0, 1, 1])).toBe(OK);
  expect(device.rxFilter.allmulti).toBe(true);
});
