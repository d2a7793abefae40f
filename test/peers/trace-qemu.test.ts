/** `vhost-net trace` between QEMU, whose guest is iPXE, and DPDK's vhost. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { peerFolder } from '../support/peer-process.js';
import { startQemuIpxe } from '../support/qemu-ipxe.js';
import { Testpmd, vhostPort } from '../support/testpmd.js';
import { expectInOrder, expectSound, type Told, toldOf } from '../support/told.js';
import { startTrace } from '../support/traced.js';

holdNothingLeaks();

/** What QEMU says when it starts, before there is a driver; and when the driver is ready. */
const REALIZE = [
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'SET_PROTOCOL_FEATURES',
  'GET_QUEUE_NUM',
  'SET_BACKEND_REQ_FD',
  'SET_OWNER',
  'GET_FEATURES',
  ...[0, 1].flatMap((ring) => [`SET_VRING_CALL ${ring}`, `SET_VRING_ERR ${ring}`]),
];
const DRIVER_OK = [
  'SET_FEATURES',
  'SET_STATUS',
  'SET_MEM_TABLE',
  ...[0, 1].flatMap((ring) => [
    `SET_VRING_NUM ${ring} 256`,
    `SET_VRING_BASE ${ring} 0`,
    `SET_VRING_ADDR ${ring}`,
    `SET_VRING_KICK ${ring}`,
    `SET_VRING_CALL ${ring}`,
  ]),
  'SET_STATUS 0xf',
];

test("a guest's frames flow, and all that QEMU says of its card is decoded", async () => {
  const path = join(peerFolder(), 'socket');
  const back = await Testpmd.start({ port: vhostPort(path), forward: 'rxonly' });
  const trace = await startTrace(path);
  const qemu = startQemuIpxe(trace.path);
  await back.statsOnce(({ rxPackets }) => rxPackets >= 2);
  expect(await qemu.stop('quit\n')).toBe(0);
  await back.stop();
  expect(await trace.run.line('closed')).toMatchObject({ by: 'front-end', unanswered: [] });
  const told = toldOf(trace);
  expectSound(told);
  expectInOrder(told, [...REALIZE, ...DRIVER_OK]);
  const brought = (name: string) => told.find(({ request }) => request === name)?.descriptors;
  expect(brought('VHOST_USER_SET_BACKEND_REQ_FD')).toMatchObject([{ kind: 'socket' }]);
  const table = told.find(({ request }) => request === 'VHOST_USER_SET_MEM_TABLE') as Told;
  expect(table.descriptors).toHaveLength((table.payload as unknown[]).length);
  expect(table.descriptors[0]).toMatchObject({ kind: 'memfd', size: 128 << 20 });
});

test('a back end that is killed ends the connection, and the guest goes on', async () => {
  const path = join(peerFolder(), 'socket');
  const back = await Testpmd.start({ port: vhostPort(path), forward: 'rxonly' });
  const trace = await startTrace(path);
  const qemu = startQemuIpxe(trace.path);
  await back.statsOnce(({ rxPackets }) => rxPackets >= 1);
  await back.kill();
  const closed = await trace.run.line('closed');
  expect(closed).toMatchObject({ by: 'back-end' });
  expect(closed).not.toHaveProperty('error');
  await qemu.tell('info status\n', /VM status: running/);
  expect(await qemu.stop('quit\n')).toBe(0);
});
