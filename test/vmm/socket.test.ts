/** A guest's cards on the sockets of vhost-user back ends: DPDK's, and those of the command. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VhostUserBackend, VhostUserFrontend } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { cli, type Run } from '../support/cli.js';
import { tapName } from '../support/host.js';
import { ip } from '../support/ip.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { Testpmd, vhostPort } from '../support/testpmd.js';
import { GUEST_MAC, VmmGuest } from '../support/vmm-guest.js';
import { guestReceives, whileGuestSends } from '../support/vmm-traffic.js';

holdNothingLeaks();

const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
/** The sockets of `eth0`, `eth1` and `eth2`. */
const TO_TAP = join(folder, 'tap');
const TO_DPDK = join(folder, 'dpdk');
const TO_RESPONDER = join(folder, 'responder');
/** Whom the guest pings by `eth1` and `eth2`. */
const DPDK = '10.98.0.2';
const RESPONDER = '10.99.0.2';
const tap = tapName();
let guest: VmmGuest;
/** The first test's. */
let testpmd: Testpmd;

/** It takes a processor for itself from when it is told to start. */
function startTestpmd(): Promise<Testpmd> {
  const port = vhostPort(TO_DPDK, { queues: 2 });
  return Testpmd.start({ port, queues: 2, forward: 'icmpecho', start: false });
}

/** Another DPDK at the other end of `eth1`, until the test is over. */
async function serveByDpdk(): Promise<Testpmd> {
  // The one before was killed, and left it.
  rmSync(TO_DPDK, { force: true });
  const testpmd = await startTestpmd();
  await link('eth1', 'up');
  return testpmd;
}

async function cableTo(path: string, queuePairs = 1) {
  const frontend = await VhostUserFrontend.open({ path, queuePairs, reconnect: 100 });
  afterAll(() => frontend.close());
  return { frontend, path };
}

beforeAll(async () => {
  const before = await leakSnapshot();
  afterAll(() => expectNoLeaks(before));
  afterAll(() => rmSync(folder, { recursive: true }));
  // It outlives who serves it, and has its address then.
  ip(`tuntap add dev ${tap} mode tap vnet_hdr`);
  afterAll(() => ip(`link del ${tap}`));
  // It has fewer features than the library's, so the guest must meet it first.
  testpmd = await startTestpmd();
  // The command's are each test's own: nobody who serves is there in between.
  const standIns = [TO_TAP, TO_RESPONDER].map((path) => VhostUserBackend.listen({ path }));
  const leave = () => {
    for (const each of standIns) each.close();
  };
  afterAll(leave);
  const cards = [
    await cableTo(TO_TAP, 2),
    await cableTo(TO_DPDK, 2),
    { ...(await cableTo(TO_RESPONDER)), transport: 'mmio' as const },
  ];
  guest = await VmmGuest.share({ cpus: 2, cabled: { tap, cards } });
  await setUp();
  // Else the host gives up to ask for it while nobody serves.
  ip(`neigh replace ${guest.address} lladdr ${GUEST_MAC} dev ${tap} nud permanent`);
  leave();
});

/** The guest's other addresses, after each of its boots. */
async function setUp(): Promise<void> {
  await guest.run('ip addr add 10.98.0.1/24 dev eth1; ip link set eth1 up');
  await guest.run('ip addr add 10.99.0.1/24 dev eth2; ip link set eth2 up');
}

/** Waits until the guest sees its link so. */
function link(name: string, state: 'up' | 'down'): Promise<void> {
  return guest.until(`cat /sys/class/net/${name}/operstate`, `${state}\n`);
}

/** The command serves a socket; the guest has its link then. */
async function serve(path: string, to: string, name: string): Promise<Run> {
  const run = cli(['backend', '--socket', path, '--to', to]);
  await run.line('started');
  await link(name, 'up');
  return run;
}

/** Frames that a card got so far, by one of its queues. */
async function received(name: string, queue: number): Promise<number> {
  const lines = await guest.run(`ethtool -S ${name}`);
  return Number(new RegExp(`rx_queue_${queue}_packets: (\\d+)`).exec(lines)?.[1]);
}

/** What the guest got and sent while testpmd forwarded so, and what that counted. */
async function whileForwarding(peer: Testpmd, mode: string, start: string, work: string) {
  const counters = async () => {
    const files = ['rx', 'tx'].map((way) => `/sys/class/net/eth1/statistics/${way}_packets`);
    const [rx = NaN, tx = NaN] = (await guest.run(`cat ${files.join(' ')}`))
      .split('\n')
      .map(Number);
    return { rx, tx };
  };
  for (const line of [`set fwd ${mode}`, 'clear port stats 0']) await peer.command(line);
  const before = await counters();
  await peer.command(start);
  await guest.run(work);
  await peer.command('stop');
  const { rx, tx } = await counters();
  return { got: rx - before.rx, sent: tx - before.tx, testpmd: await peer.stats() };
}

test('DPDK answers its pings by either queue, and so does the next when that was killed', async () => {
  await link('eth1', 'up');
  await testpmd.command('start');
  await guest.pings(1, DPDK);
  for (const queue of [0, 1]) {
    const before = await received('eth1', queue);
    await guest.run(`taskset ${1 << queue} ping -c 3 -i 0.2 ${DPDK}`);
    expect((await received('eth1', queue)) - before).toBeGreaterThanOrEqual(3);
  }
  await testpmd.kill();
  await link('eth1', 'down');
  const next = await serveByDpdk();
  await next.command('start');
  await guest.pings(3, DPDK);
});

test('DPDK takes its frames, sends it some, and sends back what comes', async () => {
  const peer = await serveByDpdk();
  // Little but what the test sends: no frames of IPv6, and nobody is asked for an address.
  await guest.run('sysctl -w net.ipv6.conf.eth1.disable_ipv6=1');
  await guest.run(`arp -i eth1 -s ${DPDK} 02:00:00:00:00:99`);
  const ping = `ping -c 5 -i 0.2 -W 1 ${DPDK} || true`;
  const taken = await whileForwarding(peer, 'rxonly', 'start', ping);
  expect(taken.sent).toBeGreaterThanOrEqual(5);
  expect(taken).toMatchObject({ got: 0, testpmd: { rxPackets: taken.sent, txPackets: 0 } });
  const back = await whileForwarding(peer, 'macswap', 'start', ping);
  expect(back.sent).toBeGreaterThanOrEqual(5);
  const all = { rxPackets: back.sent, txPackets: back.sent };
  expect(back).toMatchObject({ got: back.sent, testpmd: all });
  // Its own generator, `txonly`, sends a burst by each queue first.
  const given = await whileForwarding(peer, 'rxonly', 'start tx_first 1', ping);
  expect(given).toMatchObject({ got: 64, testpmd: { rxPackets: given.sent, txPackets: 64 } });
});

test('TCP goes both ways by the command, and goes on by the next when that is killed', async () => {
  await link('eth0', 'down');
  const first = await serve(TO_TAP, `tap:${tap}`, 'eth0');
  expect(guest.card.device.activePairs).toBe(2);
  for (const processor of [1, 2]) {
    await guest.run(`taskset ${processor} ping -c 2 -i 0.1 ${guest.host}`);
  }
  await guestReceives(guest, 1);
  await whileGuestSends(guest, async () => {
    first.child.kill('SIGKILL');
    await link('eth0', 'down');
    await serve(TO_TAP, `tap:${tap}`, 'eth0');
  });
  await guestReceives(guest, 1);
});

test('a card on virtio-mmio works, and again after a reset, when the others have no back end', async () => {
  cleanup(() => guest.close());
  expect(await guest.run('ethtool -i eth2')).toContain('bus-info: LNRO0005:00');
  await serve(TO_RESPONDER, `responder:${RESPONDER}`, 'eth2');
  await guest.pings(3, RESPONDER);
  await guest.restart();
  await guest.configure();
  await setUp();
  await link('eth2', 'up');
  await guest.pings(3, RESPONDER);
  await link('eth0', 'down');
  await link('eth1', 'down');
});
