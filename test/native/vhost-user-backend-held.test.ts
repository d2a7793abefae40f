/** What a vhost-user back end holds of a front-end's files: it lets go of what is replaced, and outlives what is cut short. */
import { ftruncateSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bit, EventFd, VHOST_F_LOG_ALL } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FEATURES,
  FrontEnd,
  guestMemory,
  numbered,
  unsealedFile,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { openFds, servesOthers, up } from '../support/hostile-front-end.js';
import { kept, receive, sendable, socketPair } from '../support/sockets.js';

holdNothingLeaks();

const LOG = { size: 4096n, offset: 0n };
const AREA = { mmapSize: 4096n, mmapOffset: 0n, numQueues: 2, queueSize: 16 };
const CUT = { code: 'ERR_MEMORY_TRUNCATED' };

describe('a file that is cut short ends the connection of who shared it, and nobody else’s', () => {
  test('where it is a dirty log', async () => {
    const made = await up();
    const fd = unsealedFile();
    await made.guest.request('VHOST_USER_SET_LOG_BASE', LOG, [sendable(fd)]);
    await made.guest.ack('VHOST_USER_SET_FEATURES', FEATURES | bit(VHOST_F_LOG_ALL));
    made.guest.post(1);
    ftruncateSync(fd, 0);
    made.device().enqueue([numbered(1)]);
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([CUT]);
    await servesOthers(made);
  });

  test('where it is an in-flight area', async () => {
    const made = backendOf();
    made.backend.on('connect', (device) => device.onFrames(() => {}));
    const guest = new FrontEnd(made.backend.path);
    await guest.negotiate();
    const fd = unsealedFile();
    await guest.ack('VHOST_USER_SET_INFLIGHT_FD', AREA, [sendable(fd)]);
    await guest.setMemory();
    await guest.startRing(0);
    await guest.startRing(1);
    await guest.enable(0, 1);
    guest.send(numbered(1));
    ftruncateSync(fd, 0);
    guest.kick();
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([CUT]);
    await servesOthers(made);
  });
});

describe('what a front-end replaces is let go of:', () => {
  test('its socket for the back end’s requests', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const give = async () => {
      const [near, far] = socketPair('stream');
      await guest.ack('VHOST_USER_SET_BACKEND_REQ_FD', undefined, [far]);
      far.close();
      return near;
    };
    const first = await give();
    expect(receive(first)).toBeUndefined();
    const second = await give();
    await until(() => receive(first)?.size === 0, 'the end of the first');
    expect(receive(second)).toBeUndefined();
  });

  test('the eventfd of its log', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const event = kept(EventFd.create());
    await guest.ack('VHOST_USER_SET_LOG_FD', undefined, [event]);
    const before = openFds('eventfd');
    for (let i = 0; i < 10; i++) await guest.ack('VHOST_USER_SET_LOG_FD', undefined, [event]);
    expect(openFds('eventfd')).toBe(before);
  });

  test('its log, the descriptor and the mapping', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const log = sendable(guestMemory().regions[0]?.fd as number);
    const set = () => guest.request('VHOST_USER_SET_LOG_BASE', LOG, [log]);
    const mappings = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:').length;
    await set();
    const before = [openFds('memfd'), mappings()] as const;
    for (let i = 0; i < 10; i++) await set();
    expect(openFds('memfd')).toBe(before[0]);
    // A mapping goes on a later turn of the loop.
    await until(() => mappings() === before[1], 'the mappings to go', 5000);
  });
});
