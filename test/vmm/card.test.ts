/** What host and guest do with a card while it runs. */
import { beforeAll, describe, expect, test } from 'vitest';
import { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_NET_S_LINK_UP } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { GUEST_MAC, VmmGuest } from '../support/vmm-guest.js';
import { guestReceives, whileGuestSends } from '../support/vmm-traffic.js';

holdNothingLeaks();

const MTU = 1400;
let guest: VmmGuest;

beforeAll(async () => {
  guest = await VmmGuest.share({ mtu: MTU });
});

const read = (name: string) => guest.run(`cat /sys/class/net/eth0/${name}`);

describe('a card', () => {
  test('has the MTU and the address that it was made with', async () => {
    expect(await read('mtu')).toBe(`${MTU}\n`);
    expect(await read('address')).toBe(`${GUEST_MAC}\n`);
    // What fills the MTU goes out whole, what is longer does not.
    await guest.run(`ping -c 1 -s ${MTU - 28} ${guest.host}`);
    expect((await guest.shell.run('ip link set eth0 mtu 1401')).status).not.toBe(0);
  });

  test('shows the guest when its cable is pulled, and works when it is back', async () => {
    const { device } = guest.card;
    device.setLink(false);
    await guest.until('cat /sys/class/net/eth0/carrier', '0\n');
    expect((await guest.shell.run(`ping -c 1 -W 1 ${guest.host}`)).status).not.toBe(0);
    device.setLink(true);
    expect(device.config.status & VIRTIO_NET_S_LINK_UP).toBe(VIRTIO_NET_S_LINK_UP);
    await guest.until('cat /sys/class/net/eth0/carrier', '1\n');
    await guest.pings();
  });

  test('takes another address from the guest', async () => {
    const other = '02:00:00:00:00:77';
    await guest.run(
      `ip link set eth0 down; ip link set eth0 address ${other}; ip link set eth0 up`,
    );
    await guest.pings();
    expect(Buffer.from(guest.card.device.config.read(0, 6)).toString('hex')).toBe('020000000077');
    expect(guest.neighbour()).toContain(other);
  });

  test('changes its offloads under traffic, and no byte is lost', async () => {
    await whileGuestSends(guest, async () => {
      for (let round = 0; round < 4; round++) {
        for (const state of ['off', 'on']) {
          await guest.run(`ethtool -K eth0 tso ${state} gso ${state} sg ${state} tx ${state}`);
          await guest.run(`ethtool -K eth0 rx-gro-hw ${state}; ethtool -K eth0 gro ${state}; true`);
        }
      }
    });
    await guestReceives(guest, 4);
    await guest.pings();
  });
});

test('a driver is taken off its card and put back twenty times', async () => {
  const drivers = '/sys/bus/virtio/drivers/virtio_net';
  for (let round = 0; round < 20; round++) {
    await guest.run(`echo virtio0 > ${drivers}/unbind`);
    // The driver has reset it; virtio's core has seen it again.
    expect(guest.card.device.status).toBe(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    await guest.run(`echo virtio0 > ${drivers}/bind`);
    await guest.configure();
    await guest.pings(1);
  }
});
