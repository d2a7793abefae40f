/** A vhost-user peer that dies, hangs or lies: the worst that becomes of it is the end of its own connection. */
import { closeSync, openSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  EventFd,
  LinkMonitor,
  UnixSocket,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { backendOf, FrontEnd, guestMemory, PROTOCOL } from '../support/front-end.js';
import { until } from '../support/host.js';
import { openFds, refused, servesOthers, up } from '../support/hostile-front-end.js';
import { kept, receive, sendable, socketPair } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';

holdNothingLeaks();

function opened(path: string): number {
  const fd = openSync(path, 'r+');
  cleanup(() => closeSync(fd));
  return fd;
}

describe('a peer', () => {
  test('whose kick is no eventfd is refused: it could keep this process busy, or block it', async () => {
    const { guest, backend } = await up();
    const file = { index: 1, noDescriptor: false };
    const socket = kept(UnixSocket.connect(backend.path, 'stream'));
    await refused(guest, 'VHOST_USER_SET_VRING_KICK', file, [socket]);
  });

  test.each<[string, () => number]>([
    ['an eventfd', () => kept(EventFd.create()).fd],
    ['a terminal', () => opened('/dev/ptmx')],
    ['a file', () => opened('/dev/null')],
    ['a socket of another type', () => socketPair('seqpacket')[0].fd],
    ['a socket of another family', () => kept(LinkMonitor.open()).fd],
  ])('whose socket for the back end’s requests is %s is refused', async (_, open) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const sent = sendable(open());
    const before = openFds();
    await refused(guest, 'VHOST_USER_SET_BACKEND_REQ_FD', undefined, [sent]);
    expect(openFds()).toBe(before);
  });

  test('that has a log in a file without LOG_SHMFD loses its connection: nobody agreed on it', async () => {
    const { backend, errors } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate(PROTOCOL & ~bit(VHOST_USER_PROTOCOL_F_LOG_SHMFD));
    const log = sendable(guestMemory().regions[0]?.fd as number);
    const asked = guest.request('VHOST_USER_SET_LOG_BASE', { size: 4096n, offset: 0n }, [log]);
    await expect(asked).rejects.toThrow();
    await until(() => errors.length === 1, 'its end');
    expect(errors).toMatchObject([{ message: expect.stringContaining('LOG_SHMFD') }]);
  });

  test('that sends half a header, or dies in a message, is forgotten', async () => {
    const made = await up();
    for (const cut of [1, 11, 12, 19]) {
      const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
      await until(() => made.backend.devices.size === 2, 'the second');
      socket.send(message(2, 1, le([8, 0])).subarray(0, cut));
      await aWhile();
      socket.close();
      await until(() => made.backend.devices.size === 1, 'its end');
    }
    expect(made.errors).toHaveLength(4);
    for (const error of made.errors) {
      expect(error).toMatchObject({ code: 'ERR_VHOST_USER_DISCONNECTED' });
    }
  });

  test('that stops reading replies loses its connection, and nobody else waits', async () => {
    const made = await up();
    const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
    const ask = message(1, 1);
    for (let sent = 1; sent > 0 && made.errors.length === 0; ) {
      sent = 0;
      try {
        for (let i = 0; i < 64; i++) sent += socket.send(ask);
      } catch {
        break;
      }
      await aWhile();
      sent = 1;
    }
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([{ code: 'ERR_VHOST_USER_BACKLOG' }]);
    expect(receive(socket, 20)?.size).toBeGreaterThan(0);
    await servesOthers(made);
  });

  test('that asks for what was not negotiated, or for what is not served, is refused', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await refused(guest, 'VHOST_USER_SET_STATUS', 1n);
    await refused(guest, 'VHOST_USER_SET_FEATURES', 1n << 33n);
    await refused(guest, 'VHOST_USER_SET_PROTOCOL_FEATURES', 1n << 14n);
    await refused(guest, 'VHOST_USER_SET_VRING_BASE', { index: 0, num: 65_536 });
    await refused(guest, 'VHOST_USER_SET_VRING_ENABLE', { index: 0, num: 2 });
    await refused(guest, 'VHOST_USER_SET_VRING_ENDIAN', { index: 0, num: 1 });
  });

  test('that is refused and did not ask to be told loses its connection, with the reason', async () => {
    const made = await up();
    made.guest.connection.sendRequest('VHOST_USER_SET_VRING_NUM', { index: 0, num: 3 });
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([
      { code: 'ERR_VHOST_USER_PROTOCOL', message: expect.stringContaining('SET_VRING_NUM') },
    ]);
  });
});
