/** Linux in our VMM: it boots, and its card talks to the host without a processor leaving the guest. */
import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { VmmGuest } from '../support/vmm-guest.js';

holdNothingLeaks();

describe.each(['pci', 'mmio'] as const)('a card on virtio-%s', (transport) => {
  test('is found, pings the host, and is switched off with the guest', async () => {
    const t0 = performance.now();
    const guest = await VmmGuest.boot({ transport });
    console.log('booted', performance.now() - t0);
    try {
      await guest.configure();
      await guest.pings(5);
      console.log(
        'pinged',
        performance.now() - t0,
        guest.card.exits,
        await guest.run('cat /proc/interrupts'),
      );
      const { exits } = guest.card;
      await guest.pings(5);
      expect(guest.card.exits).toBe(exits);
      void guest.shell.run('poweroff -f');
      expect(await guest.machine.ended).toBe('poweroff');
    } finally {
      await guest.close();
    }
  });
});
