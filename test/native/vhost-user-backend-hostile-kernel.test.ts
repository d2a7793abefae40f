/** Faults that vhost-net in the kernel had, and that a vhost-user back end could have as well: a log, and a loop without end. */
import { expect, test } from 'vitest';
import { bit, VHOST_F_LOG_ALL, type VringDriver } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FEATURES,
  FrontEnd,
  guestMemory,
  numbered,
  RECEIVE_AT,
  RINGS,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { up, writeDescriptorOf } from '../support/hostile-front-end.js';
import { sendable } from '../support/sockets.js';

holdNothingLeaks();

test('CVE-2019-14835: a log has what was written of a chain of many buffers, some of them of no bytes, and no more', async () => {
  const { guest, device } = await up({}, FEATURES);
  const area = guestMemory().regions[0];
  const bits = new Uint8Array(area?.buffer as ArrayBuffer);
  await guest.request('VHOST_USER_SET_LOG_BASE', { size: 4096n, offset: 0n }, [
    sendable(area?.fd as number),
  ]);
  await guest.ack('VHOST_USER_SET_FEATURES', FEATURES | bit(VHOST_F_LOG_ALL));
  // Sixteen buffers in a chain, each in a page of its own: every second has bytes.
  for (let i = 0; i < 16; i++) {
    const next = i < 15 ? 1 : 0;
    writeDescriptorOf(
      guest,
      i,
      [RECEIVE_AT + BigInt(4096 * i), i % 2 === 0 ? 12 : 0, 2 | next, i + 1],
      0,
    );
  }
  guest.memory.write(RINGS[0] + 256n, Uint8Array.of(0, 0, 1, 0, 0, 0));
  // The header, and the frame in five buffers more.
  expect(device().enqueue([numbered(1, 60)])).toBe(1);
  const pages: number[] = [];
  bits.forEach((byte, at) => {
    for (let i = 0; i < 8; i++) if ((byte >> i) & 1) pages.push(8 * at + i);
  });
  const first = Number(RECEIVE_AT / 4096n);
  expect(pages).toEqual([0, 2, 4, 6, 8, 10].map((i) => first + i));
});

test('CVE-2019-3900: a guest that sends on and on leaves other work of the process its turn', async () => {
  const most = 2000;
  const { backend } = backendOf();
  const guest = new FrontEnd(backend.path);
  let bursts = 0;
  let atTurn = 0;
  backend.on('connect', (device) =>
    device.onFrames(() => {
      if (bursts++ === 0)
        setImmediate(() => {
          atTurn = bursts;
        });
      if (bursts >= most || atTurn > 0) return;
      guest.taken(1);
      guest.send(numbered(bursts));
      (guest.drivers[1] as VringDriver).publish();
    }),
  );
  await guest.bringUp();
  guest.send(numbered(0));
  guest.kick();
  await until(() => atTurn > 0, 'a turn');
  expect(atTurn).toBeLessThan(most);
});
