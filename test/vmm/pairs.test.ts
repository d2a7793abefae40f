/** A card with two queue pairs and a guest with two processors. */
import { createSocket } from 'node:dgram';
import { beforeAll, expect, test } from 'vitest';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { VmmGuest } from '../support/vmm-guest.js';
import { guestReceives, whileGuestSends } from '../support/vmm-traffic.js';

holdNothingLeaks();

let guest: VmmGuest;

beforeAll(async () => {
  guest = await VmmGuest.share({ cpus: 2, queues: 2 });
});

/** Interrupts by vector, such as `input.0`, of both processors. */
async function interrupts(): Promise<Map<string, number>> {
  const lines = (await guest.run('grep virtio0 /proc/interrupts')).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [, first, second, ...rest] = line.trim().split(/\s+/);
      return [rest.at(-1)?.replace('virtio0-', '') ?? '', Number(first) + Number(second)];
    }),
  );
}

/** Packets of many flows to the guest. */
async function manyFlows(): Promise<void> {
  for (let flow = 0; flow < 32; flow++) {
    const socket = createSocket('udp4');
    cleanup(() => socket.close());
    await new Promise((resolve) => socket.send('x', 9, guest.address, resolve));
  }
}

test('both pairs carry traffic', async () => {
  expect(guest.card.device.activePairs).toBe(2);
  const before = await interrupts();
  await guest.run(`taskset 1 ping -c 5 -i 0.1 ${guest.host}`);
  await guest.run(`taskset 2 ping -c 5 -i 0.1 ${guest.host}`);
  await manyFlows();
  await guest.pings();
  const after = await interrupts();
  for (const vector of ['input.0', 'input.1', 'output.0', 'output.1']) {
    expect({ vector, more: (after.get(vector) ?? 0) > (before.get(vector) ?? 0) }).toEqual({
      vector,
      more: true,
    });
  }
});

test('a pair is given up and taken again while frames go', async () => {
  await whileGuestSends(guest, async () => {
    for (const pairs of [1, 2, 1, 2]) {
      await guest.run(`ethtool -L eth0 combined ${pairs}`);
      expect(guest.card.device.activePairs).toBe(pairs);
      await guest.pings(1);
    }
  });
});

test('no interrupt is lost or invented while vectors are masked, moved and unmasked', async () => {
  const lines = await guest.run(
    "sed -n '/virtio0-[io]/s/^ *\\([0-9]*\\):.*/\\1/p' /proc/interrupts",
  );
  const vectors = lines.trim().split('\n');
  expect(vectors).toHaveLength(4);
  const { exits } = guest.card;
  const moves = vectors.map((vector) => `echo $m > /proc/irq/${vector}/smp_affinity`).join('; ');
  const storm = `n=0; while [ $n -lt 100 ]; do for m in 1 2; do ${moves}; done; n=$((n+1)); done`;
  await whileGuestSends(guest, async () => {
    await guest.run(storm, 120_000);
  });
  // A vector that moves is masked, given its message and unmasked, as soon as it may move.
  expect(guest.card.exits - exits).toBeGreaterThan(200);
  await guestReceives(guest, 4);
  await guest.pings();
  expect(await guest.run('dmesg | grep -ci "nobody cared\\|spurious"; true')).toBe('0\n');
});
