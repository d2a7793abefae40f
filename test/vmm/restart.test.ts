/** The ends of a guest, its own and those from outside. */
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { VmmGuest } from '../support/vmm-guest.js';

holdNothingLeaks();

async function expectWorks(guest: VmmGuest): Promise<void> {
  await guest.configure();
  await guest.pings();
}

test('a guest that resets itself, or panics, finds its card again', async () => {
  const guest = await VmmGuest.boot();
  await expectWorks(guest);
  void guest.run('reboot -f').catch(() => {});
  expect(await guest.machine.ended).toBe('reset');
  await guest.restart();
  await expectWorks(guest);
  await guest.run('echo -1 > /proc/sys/kernel/panic');
  void guest.run('echo c > /proc/sysrq-trigger').catch(() => {});
  await guest.shell.waitFor(/Kernel panic/, 60_000);
  expect(await guest.machine.ended).toBe('reset');
  await guest.restart();
  await expectWorks(guest);
});
