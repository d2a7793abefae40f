/** The event loop's end of an eventfd: each trap of libuv and Node-API that native/poller.cc names. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd } from '../../lib/host/event-fd.js';
import { native } from '../../lib/native.js';
import { until } from '../support/host.js';
import { closedAfterwards } from '../support/ring.js';
import { aWhile } from '../support/turns.js';

const eventFd = () => closedAfterwards(EventFd.create());

describe('a listener', () => {
  test('is called with what was signalled before and after it was set', async () => {
    const event = eventFd();
    const counts: number[] = [];
    event.signal(2);
    event.onSignal((count) => counts.push(count));
    await until(() => counts.length === 1, 'the first call');
    event.signal(3);
    await until(() => counts.length === 2, 'the second call');
    expect(counts).toEqual([2, 3]);
  });

  test('is called once for many signals, with their sum', async () => {
    const event = eventFd();
    const counts: number[] = [];
    event.onSignal((count) => counts.push(count));
    for (let i = 1; i <= 100; i++) event.signal(i);
    await aWhile();
    expect(counts).toEqual([5050]);
  });

  test('is never called before the function that set it returns', () => {
    const event = eventFd();
    let called = false;
    event.signal();
    event.onSignal(() => {
      called = true;
    });
    expect(called).toBe(false);
  });

  test('finds the eventfd drained', async () => {
    const event = eventFd();
    const left = await new Promise((resolve) => {
      event.onSignal(() => resolve(event.read()));
      event.signal(7);
    });
    expect(left).toBe(0);
  });

  test('hears its own signals, in a later turn', async () => {
    const event = eventFd();
    const order: string[] = [];
    event.onSignal(() => {
      order.push('in');
      if (order.length < 6) event.signal();
      order.push('out');
    });
    event.signal();
    await aWhile();
    expect(order).toEqual(['in', 'out', 'in', 'out', 'in', 'out', 'in', 'out']);
  });

  test('is the only one: a second is ERR_BUSY, and the first stays', async () => {
    const event = eventFd();
    let first = 0;
    event.onSignal((count) => {
      first += count;
    });
    expect(() => event.onSignal(() => {})).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    event.signal();
    await aWhile();
    expect(first).toBe(1);
  });

  test('must be a function', () => {
    const event = eventFd();
    expect(() => event.onSignal(undefined as unknown as () => void)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    );
    expect(() => new native.Poller(event.handle, true, 1 as unknown as () => void)).toThrow(
      TypeError,
    );
  });

  test('runs its microtasks and ticks before the next callback', async () => {
    const order: string[] = [];
    const events = [eventFd(), eventFd()];
    for (const event of events) {
      event.onSignal(() => {
        order.push('callback');
        queueMicrotask(() => order.push('microtask'));
        process.nextTick(() => order.push('tick'));
      });
    }
    for (const event of events) event.signal();
    await aWhile();
    const once = ['callback', 'tick', 'microtask'];
    expect(order).toEqual([...once, ...once]);
  });

  test('keeps the AsyncLocalStorage of where it was set, not of who signals', async () => {
    const storage = new AsyncLocalStorage<string>();
    const event = eventFd();
    const seen = new Promise((resolve) => {
      storage.run('where it was set', () => {
        event.onSignal(() => resolve(storage.getStore()));
      });
    });
    storage.run('who signals', () => event.signal());
    expect(await seen).toBe('where it was set');
  });
});

describe('offSignal() and close()', () => {
  test('offSignal() ends the calls; the count stays to be read', async () => {
    const event = eventFd();
    let calls = 0;
    event.onSignal(() => {
      calls++;
    });
    event.signal(4);
    event.offSignal();
    await aWhile();
    expect([calls, event.read()]).toEqual([0, 4]);
    expect(() => event.offSignal()).not.toThrow();
  });

  test('another listener may follow', async () => {
    const event = eventFd();
    const counts: string[] = [];
    event.onSignal((count) => counts.push(`first ${count}`));
    event.offSignal();
    event.onSignal((count) => counts.push(`second ${count}`));
    event.signal();
    await aWhile();
    expect(counts).toEqual(['second 1']);
  });

  test.each(['close', 'closeAsync', 'offSignal'] as const)(
    '%s() inside the listener is the last call',
    async (method) => {
      const event = eventFd();
      let calls = 0;
      event.onSignal(() => {
        calls++;
        event[method]();
      });
      event.signal();
      await aWhile();
      if (method === 'offSignal') event.signal();
      await aWhile();
      expect(calls).toBe(1);
    },
  );

  test('a listener that closes another eventfd of the same turn keeps it from being called', async () => {
    const events = [eventFd(), eventFd()] as const;
    let calls = 0;
    const called = () => {
      calls++;
      for (const event of events) event.close();
    };
    for (const event of events) event.onSignal(called);
    for (const event of events) event.signal();
    await aWhile();
    expect(calls).toBe(1);
  });

  test('no descriptor is left of a thousand subscriptions', async () => {
    const open = () => readdirSync('/proc/self/fd').length;
    await aWhile();
    const before = open();
    for (let i = 0; i < 1000; i++) {
      const event = EventFd.create();
      event.onSignal(() => {});
      event.close();
      if (i % 100 === 0) await aWhile();
    }
    await aWhile();
    // A descriptor or two may be of somebody else in this process.
    expect(Math.abs(open() - before)).toBeLessThan(10);
  });
});
