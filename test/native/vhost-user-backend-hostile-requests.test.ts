/** Every request of the protocol to a vhost-user back end that lives: it serves it or refuses it, and nothing stays open. */
import { expect, test } from 'vitest';
import {
  EventFd,
  type ReceivedDescriptor,
  UnixSocket,
  VHOST_USER_MESSAGES,
  type VhostUserRequestName,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { backendOf, FEATURES, FrontEnd, guestMemory, PROTOCOL } from '../support/front-end.js';
import { until } from '../support/host.js';
import { openFds, servesOthers } from '../support/hostile-front-end.js';
import { kept, sendable, socketPair } from '../support/sockets.js';
import { fittingDescriptors, message } from '../support/vhost-user.js';

holdNothingLeaks();

const REQUESTS = Object.entries(VHOST_USER_MESSAGES)
  .filter(([, { from }]) => from === 'front-end')
  .map(([name, { id }]) => [id, name as VhostUserRequestName] as const)
  .sort(([a], [b]) => a - b);

/** What is not served at all, not without more features, or not of a device that has nothing yet. */
const REFUSED: readonly string[] = [
  'IOTLB_MSG', // ACCESS_PLATFORM is not on offer
  'SET_VRING_ENDIAN',
  'GET_CONFIG', // without `config`
  'SET_CONFIG',
  'CREATE_CRYPTO_SESSION', // CVE-2020-10724, CVE-2020-14374 to -14378
  'CLOSE_CRYPTO_SESSION',
  'POSTCOPY_ADVISE',
  'POSTCOPY_LISTEN',
  'POSTCOPY_END',
  'GPU_SET_SOCKET',
  'VRING_KICK', // without INBAND_NOTIFICATIONS
  'REM_MEM_REG', // of a region that is not there
  'SET_STATUS', // without STATUS
  'GET_STATUS',
  'GET_SHARED_OBJECT',
  'SET_DEVICE_STATE_FD',
  'CHECK_DEVICE_STATE',
  'GET_SHMEM_CONFIG',
];

function payloadOf(name: string, guest: FrontEnd): unknown {
  const area = { mmapSize: 4096n, mmapOffset: 0n, numQueues: 2, queueSize: 16 };
  const config = { offset: 0, flags: 0, bytes: new Uint8Array(4) };
  const special: Record<string, unknown> = {
    SET_FEATURES: FEATURES,
    SET_PROTOCOL_FEATURES: PROTOCOL,
    NET_SET_MTU: 1500n,
    SET_VRING_NUM: { index: 0, num: 16 },
    GET_INFLIGHT_FD: { ...area, mmapSize: 0n },
  };
  const kinds: Record<string, unknown> = {
    u64: 0n,
    vringState: { index: 0, num: 0 },
    vringAddr: guest.addressOf(0),
    vringFile: { index: 0, noDescriptor: false },
    memory: [guest.region],
    singleRegion: guest.region,
    log: { size: 4096n, offset: 0n },
    inflight: area,
    iotlb: { iova: 0n, size: 4096n, userAddress: 0n, permission: 3, type: 2 },
    config,
    cryptoSession: new Uint8Array(64),
    uuid: new Uint8Array(16),
    stateTransfer: { direction: 0, phase: 0 },
  };
  return (
    special[name] ??
    kinds[VHOST_USER_MESSAGES[`VHOST_USER_${name}` as VhostUserRequestName].request[0].payload]
  );
}

/** Of a kind that the request is about. */
function descriptorFor(kind: string, name: string): ReceivedDescriptor {
  if (['memory', 'singleRegion', 'log', 'inflight'].includes(kind)) {
    return sendable(guestMemory().regions[0]?.fd as number);
  }
  if (name === 'SET_BACKEND_REQ_FD') return sendable(socketPair('stream')[1].fd);
  return sendable(kept(EventFd.create()).fd);
}

test('the table has 44 requests of a front-end', () => {
  expect(REQUESTS.map(([id]) => id)).toEqual(Array.from({ length: 44 }, (_, i) => i + 1));
});

test.each(REQUESTS)(
  'request %i, %s, is served or refused, and nothing stays open',
  async (_, full) => {
    const name = full.replace('VHOST_USER_', '');
    const made = backendOf();
    const guest = new FrontEnd(made.backend.path);
    await guest.negotiate();
    const [body] = VHOST_USER_MESSAGES[full].request;
    const payload = payloadOf(name, guest);
    const count = fittingDescriptors(body.descriptors, payload);
    const descriptors = Array.from({ length: count }, () => descriptorFor(body.payload, name));
    const before = openFds();
    const reply = await guest.request(full, payload as never, descriptors).catch(() => undefined);
    for (const descriptor of reply?.descriptors ?? []) descriptor.close();
    const { replies } = VHOST_USER_MESSAGES[full];
    const served = reply !== undefined && (replies !== 'if-asked' || reply.payload === 0n);
    expect(served).toBe(!REFUSED.includes(name));
    guest.connection.close();
    await until(() => made.backend.devices.size === 0, 'its end');
    // The poller of a socket is closed on a later turn; both ends' sockets and pollers were there before.
    await until(() => openFds() <= before - 4, 'the descriptors to go', 5000);
    await servesOthers(made);
  },
);

test.each([0, 45, 0xffff_ffff])(
  'request %i, which there is not, ends the connection',
  async (id) => {
    const made = backendOf();
    const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
    socket.send(message(id, 0x9));
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
    await servesOthers(made);
  },
);
