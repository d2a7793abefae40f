/** Several front-ends on a socket of `vhost-net backend --to socket:PATH2`, of whom one has the cable. */
import { expect, test } from 'vitest';
import { UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { FrontEnd, HEADER, numbered } from '../support/front-end.js';
import { until } from '../support/host.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

/** The command, a front-end that sends, and where those are that receive. */
async function cabled() {
  const [near, far] = [socketPath(), socketPath()];
  const run = cli(['backend', '--socket', near, '--to', `socket:${far}`]);
  await run.line('listening');
  const sender = await new FrontEnd(near).bringUp();
  await run.line('started');
  let started = 1;
  return {
    ...{ run, near, far, sender },
    /** A front-end that runs, the last one that does, with so many buffers. */
    async receiver(buffers: number): Promise<FrontEnd> {
      const guest = await new FrontEnd(far).bringUp();
      await run.line('started', started++);
      guest.post(buffers);
      return guest;
    },
    send(...numbers: number[]): void {
      for (const number of numbers) sender.send(numbered(number));
      sender.kick();
    },
    /** Ends it, and holds that it lost none. */
    async lostNothing(): Promise<void> {
      run.child.kill('SIGINT');
      expect(await run.exitCode(), run.stderr).toBe(0);
      expect(run.lines.at(-1)).toMatchObject({ event: 'stopped', answered: { lost: 0 } });
    },
  };
}

const framesOf = async (guest: FrontEnd, count: number) =>
  (await guest.received(count)).map((bytes) => bytes.subarray(HEADER));

test('who connects and says nothing takes nothing from a guest that runs', async () => {
  const { run, far, receiver, send, lostNothing } = await cabled();
  const guest = await receiver(4);
  const stray = kept(UnixSocket.connect(far, 'stream'));
  await run.line('connected', 2);
  send(1);
  expect(await framesOf(guest, 1)).toEqual([numbered(1)]);
  stray.close();
  await run.line('disconnected');
  send(2);
  expect(await framesOf(guest, 1)).toEqual([numbered(2)]);
  await lostNothing();
});

test('the guest that started last has the cable, and when it is gone the one before it', async () => {
  const { run, receiver, send, lostNothing } = await cabled();
  const first = await receiver(4);
  const second = await receiver(4);
  send(1);
  expect(await framesOf(second, 1)).toEqual([numbered(1)]);
  second.connection.close();
  await run.line('disconnected');
  send(2);
  expect(await framesOf(first, 1)).toEqual([numbered(2)]);
  await lostNothing();
});

test('a guest that stops, and stays connected, leaves the cable to the one before it', async () => {
  const { run, receiver, send } = await cabled();
  const first = await receiver(4);
  const second = await receiver(4);
  await second.request('VHOST_USER_GET_VRING_BASE', { index: 0, num: 0 });
  await run.line('paused');
  send(1);
  expect(await framesOf(first, 1)).toEqual([numbered(1)]);
  await second.startRing(0);
  await second.enable(0);
  await run.line('started', 3);
  send(2);
  expect(await framesOf(second, 1)).toEqual([numbered(2)]);
});

test('frames that wait for a guest without buffers go to the next that starts', async () => {
  const { receiver, sender, send, lostNothing } = await cabled();
  await receiver(0);
  send(1, 2, 3);
  const next = await receiver(8);
  expect(await framesOf(next, 3)).toEqual([1, 2, 3].map((n) => numbered(n)));
  await until(() => sender.taken(1).length > 0, 'the frames to be given back');
  await lostNothing();
});

test('a guest without buffers gives way to the one before it, and has the cable again with some', async () => {
  const { receiver, send, lostNothing } = await cabled();
  const reading = await receiver(8);
  const silent = await receiver(0);
  send(1, 2);
  expect(await framesOf(reading, 2)).toEqual([numbered(1), numbered(2)]);
  send(3);
  expect(await framesOf(reading, 1)).toEqual([numbered(3)]);
  silent.post(4);
  // The kick and what is sent next come by two descriptors, in any order.
  for (let number = 4; silent.taken(0).length === 0; number++) {
    send(number);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await lostNothing();
});

test('one guest alone is waited for, however long it has no buffers', async () => {
  const { receiver, send, lostNothing } = await cabled();
  const guest = await receiver(2);
  send(1, 2, 3, 4, 5);
  expect(await framesOf(guest, 2)).toHaveLength(2);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  guest.post(4, undefined, 2);
  expect(await framesOf(guest, 3)).toEqual([3, 4, 5].map((n) => numbered(n)));
  await lostNothing();
});
