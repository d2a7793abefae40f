/** When a sender that waits is called: early enough that the device finds more, and no earlier. */
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/host/event-fd.js';
import { noCounters } from '../../lib/port/counters.js';
import { SendQueue } from '../../lib/port/send-queue.js';
import type { Transmitter } from '../../lib/port/transmitter.js';
import { closedAfterwards } from '../support/ring.js';

const SIZE = 64;
const FRAME = new Uint8Array(60);

/** A queue whose sender waits, and the eighths that it asked for at each call; `left` were left then. */
async function asked(lefts: readonly number[]): Promise<number[]> {
  const call = closedAfterwards(EventFd.create());
  const eighths: number[] = [];
  let waiting = SIZE;
  const ring: Partial<Transmitter> = {
    reclaim: () => {},
    push: () => 0,
    disableCalls: () => {},
    enableCalls: (each) => {
      eighths.push(each);
      return false;
    },
  };
  Object.defineProperties(ring, {
    inFlight: { get: () => SIZE },
    waiting: { get: () => waiting },
  });
  const fail = (error: Error) => {
    throw error;
  };
  const counters = noCounters();
  const queue = new SendQueue(ring as Transmitter, call, counters, { fail, room: () => {} });
  const sending = queue.wait([FRAME], 0);
  for (const [i, left] of lefts.entries()) {
    waiting = left;
    call.signal();
    while (counters.txCalls <= i) await new Promise(setImmediate);
  }
  queue.end(new Error('over'));
  await expect(sending).rejects.toThrow('over');
  call.offSignal();
  return eighths;
}

test('a sender is called after a quarter at first, and that stays where it is enough', async () => {
  expect(await asked([10, 20, 40, 8])).toEqual([2, 2, 2, 2, 2]);
});

test('little left makes the next call come earlier, much left later, within bounds', async () => {
  expect(await asked([0, 0, 20, 41, 41, 64, 7, 7])).toEqual([2, 1, 1, 1, 2, 4, 4, 2, 1]);
});

test('a sender whose memory went while it waited is rejected alone, and the next is served', async () => {
  const call = closedAfterwards(EventFd.create());
  let room = 0;
  const ring: Partial<Transmitter> = {
    reclaim: () => {},
    push: (frames, from) => Math.min(room, frames.length - from),
    disableCalls: () => {},
    enableCalls: () => false,
  };
  Object.defineProperties(ring, { inFlight: { get: () => SIZE }, waiting: { get: () => 0 } });
  const failures: Error[] = [];
  const queue = new SendQueue(ring as Transmitter, call, noCounters(), {
    fail: (error) => failures.push(error),
    room: () => {},
  });
  const frame = new Uint8Array(60);
  const sent = [queue.wait([frame, frame], 0), queue.wait([FRAME], 0)] as const;
  structuredClone(frame.buffer, { transfer: [frame.buffer] });
  room = 8;
  call.signal();
  await expect(sent[0]).rejects.toMatchObject({ code: 'ERR_FRAME_SIZE' });
  await sent[1];
  expect(failures).toEqual([]);
  call.offSignal();
});
