/** native.Poller itself: what it polls, whoever else opens, closes and polls. */
import { afterEach, expect, test } from 'vitest';
import { EventFd } from '../../lib/host/event-fd.js';
import { type Fd, native, type Poller } from '../../lib/native.js';
import { closedAfterwards } from '../support/ring.js';
import { aWhile } from '../support/turns.js';

const eventFd = () => closedAfterwards(EventFd.create());

const open: Poller[] = [];
afterEach(() => {
  for (const poller of open.splice(0)) poller.close();
});

function poll(fd: Fd, drain: boolean, callback: (value: number) => void): Poller {
  const poller = new native.Poller(fd, drain, callback);
  expect(poller.error).toBe(0);
  open.push(poller);
  return poller;
}

test('hears nothing of a descriptor that got the number of the one it polls', async () => {
  const first = native.eventfdCreate(0) as Fd;
  let calls = 0;
  poll(first, true, () => {
    calls++;
  });
  const number = first.number();
  first.close();
  const second = native.eventfdCreate(0) as Fd;
  expect(second.number()).toBe(number);
  native.eventfdWrite(second, 1);
  await aWhile();
  expect(calls).toBe(0);
  expect(native.eventfdRead(second)).toBe(1);
  second.close();
});

test('can poll a number that another still polls', async () => {
  const first = native.eventfdCreate(0) as Fd;
  poll(first, true, () => {});
  first.close();
  const second = native.eventfdCreate(0) as Fd;
  let count = 0;
  poll(second, true, (value) => {
    count += value;
  });
  native.eventfdWrite(second, 5);
  await aWhile();
  expect(count).toBe(5);
  second.close();
});

test('goes on when the original descriptor is closed and somebody else signals', async () => {
  const event = eventFd();
  const copy = native.dup(event.fd) as Fd;
  let count = 0;
  poll(copy, true, (value) => {
    count += value;
  });
  copy.close();
  event.signal(3);
  await aWhile();
  expect(count).toBe(3);
});

test('shares an eventfd with another: each signal is heard once', async () => {
  const event = eventFd();
  const counts = [0, 0];
  for (const i of [0, 1]) {
    poll(event.handle, true, (value) => {
      counts[i] = (counts[i] ?? 0) + value;
    });
  }
  for (let i = 0; i < 50; i++) {
    event.signal();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await aWhile();
  expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(50);
});

test('without draining is called as long as the descriptor is readable', async () => {
  const event = eventFd();
  let calls = 0;
  poll(event.handle, false, () => {
    if (++calls === 3) event.read();
  });
  event.signal();
  await aWhile();
  expect(calls).toBe(3);
});

test('says EBADF for a closed descriptor and EPERM for a file, and polls nothing', () => {
  const closed = native.eventfdCreate(0) as Fd;
  closed.close();
  const file = native.open('/proc/self/exe', 0) as Fd;
  expect(new native.Poller(closed, true, () => {}).error).toBe(-9);
  expect(new native.Poller(file, true, () => {}).error).toBe(-1);
  file.close();
});
