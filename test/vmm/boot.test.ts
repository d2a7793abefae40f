/** Linux in our VMM finds its card, and talks to the host without a processor leaving the guest. */
import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { VmmGuest } from '../support/vmm-guest.js';
import { guestReceives, guestSends } from '../support/vmm-traffic.js';

holdNothingLeaks();

describe.each([
  { transport: 'pci', bus: '0000:00:01.0', bzImage: true },
  { transport: 'mmio', bus: 'LNRO0005:00', bzImage: false },
] as const)('a card on virtio-$transport', ({ transport, bus, bzImage }) => {
  test('pings and moves TCP both ways without an exit, and is switched off with the guest', async () => {
    const guest = await VmmGuest.boot({ transport, bzImage });
    expect(await guest.run('ethtool -i eth0')).toContain(`bus-info: ${bus}`);
    await guest.configure();
    await guest.pings();
    const { exits } = guest.card;
    expect(exits).toBeGreaterThan(50);
    await guest.pings(5);
    await (await guestSends(guest, 4)).done;
    await guestReceives(guest, 4);
    expect(guest.card.exits).toBe(exits);
    void guest.run('poweroff -f').catch(() => {});
    expect(await guest.machine.ended).toBe('poweroff');
  });
});
