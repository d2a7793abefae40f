/** Messages that no back end of a network card answers, to one that others wrote. */
import { expect, test } from 'vitest';
import {
  bit,
  hasBit,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VhostUserConnection,
  VhostUserRequests,
  VIRTIO_F_VERSION_1,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { kept } from '../support/sockets.js';
import { connectToStorage, DISK } from '../support/storage-daemon.js';
import { memfd } from '../support/traced.js';

holdNothingLeaks();

const WANTED = [
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
];

/** Asks a back end whose features are negotiated. */
async function storage(): Promise<VhostUserRequests> {
  const socket = await connectToStorage();
  const connection = kept(new VhostUserConnection(socket, { role: 'asks' }));
  const requests = new VhostUserRequests(connection);
  const features = await requests.request('VHOST_USER_GET_FEATURES', undefined);
  expect(hasBit(features.payload, VHOST_USER_F_PROTOCOL_FEATURES)).toBe(true);
  const { payload: offered } = await requests.request(
    'VHOST_USER_GET_PROTOCOL_FEATURES',
    undefined,
  );
  for (const feature of WANTED) expect(hasBit(offered, feature)).toBe(true);
  const wanted = WANTED.reduce((mask, feature) => mask | bit(feature), 0n);
  connection.sendRequest('VHOST_USER_SET_PROTOCOL_FEATURES', wanted);
  requests.replyAck = true;
  await requests.request('VHOST_USER_SET_OWNER', undefined);
  // libvhost-user ends the connection of a driver before virtio 1.0.
  const driver = bit(VHOST_USER_F_PROTOCOL_FEATURES) | bit(VIRTIO_F_VERSION_1);
  await requests.request('VHOST_USER_SET_FEATURES', driver);
  return requests;
}

test('GET_CONFIG has the piece of the configuration that was asked for', async () => {
  const requests = await storage();
  const room = { offset: 0, flags: 0, bytes: new Uint8Array(8) };
  const { payload } = await requests.request('VHOST_USER_GET_CONFIG', room);
  expect(payload).toMatchObject({ offset: 0, flags: 0 });
  // virtio 1.3 §5.2.4: the capacity, in sectors of 512 bytes.
  const { bytes } = payload as { bytes: Uint8Array };
  expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(BigInt(DISK / 512));
});

test('GET_MAX_MEM_SLOTS says how many regions there may be', async () => {
  const requests = await storage();
  const { payload } = await requests.request('VHOST_USER_GET_MAX_MEM_SLOTS', undefined);
  expect(payload).toBeGreaterThanOrEqual(8n);
});

test('ADD_MEM_REG and REM_MEM_REG are acknowledged, and what was removed can be added again', async () => {
  const requests = await storage();
  const memory = memfd(2 << 20);
  const region = (guestAddress: bigint, mmapOffset: bigint) => ({
    ...{ guestAddress, size: 1n << 20n, userAddress: 0x7000_0000_0000n + guestAddress, mmapOffset },
  });
  const low = region(0n, 0n);
  const high = region(1n << 32n, 1n << 20n);
  expect(await requests.request('VHOST_USER_ADD_MEM_REG', low, [memory])).toMatchObject({
    payload: 0n,
  });
  expect(await requests.request('VHOST_USER_ADD_MEM_REG', high, [memory])).toMatchObject({
    payload: 0n,
  });
  expect(await requests.request('VHOST_USER_REM_MEM_REG', low)).toMatchObject({ payload: 0n });
  expect(await requests.request('VHOST_USER_ADD_MEM_REG', low, [memory])).toMatchObject({
    payload: 0n,
  });
  expect(await requests.request('VHOST_USER_REM_MEM_REG', high)).toMatchObject({ payload: 0n });
  // The connection goes on.
  expect(await requests.request('VHOST_USER_GET_FEATURES', undefined)).toMatchObject({
    kind: 'reply',
  });
});
