/** Linux in our VMM finds its card, and talks to the host without a processor leaving the guest. */
import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { KERNEL_LINE } from '../support/host.js';
import { VmmGuest } from '../support/vmm-guest.js';
import { guestReceives, guestSends } from '../support/vmm-traffic.js';

holdNothingLeaks();

/** Interrupts that the guest's card has made. */
async function interrupts(guest: VmmGuest): Promise<number> {
  const lines = await guest.run('grep virtio0 /proc/interrupts');
  const counts = lines
    .trim()
    .split('\n')
    .map((line) => Number(line.trim().split(/\s+/)[1]));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** See `Vm.trapsWrites`: these machines are emulated. */
const registerPage = !KERNEL_LINE.startsWith('7.');

describe.each([
  { transport: 'pci', bus: '0000:00:01.0', bzImage: true, exitsEach: 0 },
  // Without a page to read, an interrupt is a look at what it is for.
  { transport: 'mmio', bus: 'LNRO0005:00', bzImage: false, exitsEach: registerPage ? 0 : 1 },
] as const)('a card on virtio-$transport', ({ transport, bus, bzImage, exitsEach }) => {
  test('moves TCP both ways, no frame of which is an exit, and goes off with the guest', async () => {
    const guest = await VmmGuest.boot({ transport, bzImage, registerPage });
    expect(await guest.run('ethtool -i eth0')).toContain(`bus-info: ${bus}`);
    await guest.configure();
    await guest.pings();
    const { exits } = guest.card;
    const before = await interrupts(guest);
    // Its set-up took some: they are counted.
    expect(exits).toBeGreaterThan(20);
    await guest.pings(5);
    await guestSends(guest, 4);
    await guestReceives(guest, 4);
    const more = (await interrupts(guest)) - before;
    expect(more).toBeGreaterThan(50);
    // The two are not looked at in one moment: a neighbour's frame may come in between.
    expect(guest.card.exits - exits).toBeGreaterThanOrEqual(exitsEach * more);
    expect(guest.card.exits - exits).toBeLessThanOrEqual(exitsEach * (more + 10));
    void guest.run('poweroff -f').catch(() => {});
    expect(await guest.machine.ended).toBe('poweroff');
  });
});
