/** The hooks around every request of a front-end to a vhost-user back end. */
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { backendOf, FrontEnd } from '../support/front-end.js';
import { until } from '../support/host.js';
import { openFds } from '../support/hostile-front-end.js';

holdNothingLeaks();

test('hooks run before and after each request, and can take its place', async () => {
  const seen: string[] = [];
  const { backend } = backendOf({
    before({ request }) {
      seen.push(`before ${request.slice(11)}`);
      if (request === 'VHOST_USER_GET_QUEUE_NUM') return { reply: 3n };
      if (request === 'VHOST_USER_NET_SET_MTU') throw new Error('no');
      return undefined;
    },
    after: ({ request }) => void seen.push(`after ${request.slice(11)}`),
  });
  const guest = new FrontEnd(backend.path);
  await guest.negotiate();
  seen.length = 0;
  expect((await guest.request('VHOST_USER_GET_QUEUE_NUM', undefined)).payload).toBe(3n);
  await expect(guest.ack('VHOST_USER_NET_SET_MTU', 1500n)).rejects.toThrow('refused');
  expect(seen).toEqual(['before GET_QUEUE_NUM', 'after GET_QUEUE_NUM', 'before NET_SET_MTU']);
});

test('a request that a hook handled is acknowledged, and the back end does nothing about it', async () => {
  const after: string[] = [];
  const { backend, device, told } = backendOf({
    before: ({ request }) =>
      request === 'VHOST_USER_NET_SET_MTU' || request === 'VHOST_USER_SET_VRING_ENABLE'
        ? 'handled'
        : undefined,
    after: ({ request }) => void after.push(request),
  });
  const guest = await new FrontEnd(backend.path).bringUp();
  await guest.ack('VHOST_USER_NET_SET_MTU', 1500n);
  expect(device().mtu).toBe(0);
  expect(told.filter(([event]) => event === 'ring')).toEqual([]);
  expect(after.at(-1)).toBe('VHOST_USER_NET_SET_MTU');
});

test('a request with a reply of its own is not handled by a hook that gives none', async () => {
  const { backend, errors } = backendOf({
    before: ({ request }) => (request === 'VHOST_USER_GET_QUEUE_NUM' ? 'handled' : undefined),
  });
  const guest = new FrontEnd(backend.path);
  await guest.negotiate();
  await expect(guest.request('VHOST_USER_GET_QUEUE_NUM', undefined)).rejects.toThrow();
  await until(() => errors.length === 1, 'its end');
  expect(errors).toMatchObject([{ message: expect.stringContaining('no reply') }]);
});

test('what a hook throws after a request refuses it, and no descriptor of its reply stays open', async () => {
  const { backend, errors } = backendOf({
    after({ request }) {
      if (request === 'VHOST_USER_GET_INFLIGHT_FD') throw new Error('not that');
    },
  });
  const guest = new FrontEnd(backend.path);
  await guest.negotiate();
  const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues: 2, queueSize: 16 };
  const before = openFds('memfd');
  await expect(guest.request('VHOST_USER_GET_INFLIGHT_FD', wanted)).rejects.toThrow();
  await until(() => errors.length === 1, 'its end');
  expect(errors).toMatchObject([{ message: expect.stringContaining('not that') }]);
  expect(openFds('memfd')).toBe(before);
});
