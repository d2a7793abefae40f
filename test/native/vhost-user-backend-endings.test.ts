/** Connections that end while a request of theirs is being handled: nothing of it is left. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  collecting,
  FrontEnd,
  guestMemory,
  SIZE,
  USER,
  unsealedFile,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { leakSnapshot } from '../support/leaks.js';
import { kept, sendable } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

/** How often memory is mapped. Asked soon: what was forgotten, garbage collection may find in the end. */
async function mappings(): Promise<number> {
  await aWhile();
  return (await leakSnapshot()).mappings.length;
}

test('memory that is replaced when a log turns out to be cut short is let go of, all of it', async () => {
  const { backend, errors } = collecting();
  const [memory, other] = [guestMemory(), guestMemory()];
  const before = await mappings();
  const guest = await new FrontEnd(backend.path, memory).bringUp();
  // Another ring, which would be served after the one that shows it.
  const index = 2;
  const file = { index, noDescriptor: false };
  await guest.ack('VHOST_USER_SET_VRING_NUM', { index, num: SIZE });
  await guest.ack('VHOST_USER_SET_VRING_ADDR', { ...guest.addressOf(0), index });
  await guest.ack('VHOST_USER_SET_VRING_KICK', file, [kept(EventFd.create())]);
  const more = { ...guest.region, guestAddress: 1n << 32n, userAddress: USER << 1n };
  const fd = sendable(other.regions[0]?.fd as number);
  await guest.ack('VHOST_USER_ADD_MEM_REG', more, [fd]);

  const folder = mkdtempSync('/dev/shm/vhost-net-');
  cleanup(() => rmSync(folder, { recursive: true }));
  const log = openSync(join(folder, 'log'), 'w+');
  ftruncateSync(log, 4096);
  await guest.request('VHOST_USER_SET_LOG_BASE', { size: 4096n, offset: 0n }, [sendable(log)]);
  await guest.ack('VHOST_USER_SET_VRING_ADDR', guest.addressOf(1, true));
  ftruncateSync(log, 0);
  closeSync(log);
  await expect(guest.ack('VHOST_USER_REM_MEM_REG', more)).rejects.toThrow();
  await until(() => errors.length === 1, 'its end');
  expect(errors).toMatchObject([{ code: 'ERR_MEMORY_TRUNCATED' }]);
  expect(await mappings()).toBe(before);
});

test('a request is not handled whose hook ends the connection', async () => {
  const { backend, device, errors } = backendOf({
    before({ request }) {
      if (request === 'VHOST_USER_SET_MEM_TABLE') device().close();
      return undefined;
    },
  });
  const guest = new FrontEnd(backend.path);
  const before = await mappings();
  await guest.negotiate();
  await expect(guest.setMemory()).rejects.toThrow();
  await until(() => errors.length === 1, 'its end');
  expect(errors).toEqual([undefined]);
  expect(await mappings()).toBe(before);
});

test('who looks again and again learns of memory that is cut short, and is handed none of it', async () => {
  const fd = unsealedFile();
  const { backend, errors, device } = backendOf();
  const guest = await new FrontEnd(backend.path, guestMemory({ fd })).bringUp();
  guest.drivers = [];
  const served = device();
  ftruncateSync(fd, 0);
  const looks = [0, 1, 2].map(() => served.dequeue());
  expect(looks).toEqual([[], [], []]);
  await until(() => errors.length === 1, 'its end');
  expect(errors).toMatchObject([{ code: 'ERR_MEMORY_TRUNCATED' }]);
});
