/** `vhost-net trace` where it may open no more descriptors than some of what it needs. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { encodeVhostUserRequest, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { program } from '../support/cli.js';
import { until } from '../support/host.js';
import { kept, receive, socketPair } from '../support/sockets.js';
import {
  connectThrough,
  descriptorsOf,
  hear,
  hearEnd,
  type Traced,
  trace,
} from '../support/traced.js';

holdNothingLeaks();

const GET_FEATURES = encodeVhostUserRequest('VHOST_USER_GET_FEATURES', undefined);
const SET_BACKEND_REQ_FD = encodeVhostUserRequest('VHOST_USER_SET_BACKEND_REQ_FD', undefined, 1);

/** Two sockets, and a look-out on each. */
const CONNECTION = 4;
/** On top: the socket that came, a pair in its place, a duplicate, and a look-out on two of them. */
const REQUESTS = 6;

/** A trace, after its first connection, that may have `more` descriptors than it has. */
async function limited(more: number): Promise<Traced & { idle: number }> {
  const traced = await trace();
  const [front, back] = await connectThrough(traced);
  front.send(GET_FEATURES);
  await hear(back, 12);
  const idle = descriptorsOf(traced) - CONNECTION;
  front.close();
  await until(() => descriptorsOf(traced) === idle, 'the end of the first');
  const { pid } = traced.run.child;
  const taken = new Set(readdirSync(`/proc/${pid}/fd`));
  // The limit is on their numbers.
  let limit = 0;
  for (let free = 0; free < more; limit++) if (!taken.has(`${limit}`)) free++;
  const { code, stderr } = await program('prlimit', ['--pid', `${pid}`, `--nofile=${limit}`]);
  expect(code, stderr).toBe(0);
  return { ...traced, idle };
}

async function expectGoodEnd({ run }: Traced): Promise<void> {
  run.child.kill('SIGINT');
  expect({ code: await run.exitCode(), stderr: run.stderr }).toEqual({ code: 0, stderr: '' });
}

test.each([
  [1, 'refused'],
  [2, 'closed'],
  [3, 'closed'],
])(
  'a connection with %i descriptors to be had is %s with one line, and leaves nothing behind',
  async (more, event) => {
    const traced = await limited(more);
    for (let connection = 2; connection <= 3; connection++) {
      const front = kept(UnixSocket.connect(traced.path, 'stream'));
      await hearEnd(front);
      expect(await traced.run.line(event, connection - (event === 'closed' ? 1 : 2))).toMatchObject(
        {
          connection,
          error: expect.stringContaining('EMFILE'),
        },
      );
      await until(() => descriptorsOf(traced) === traced.idle, 'what was opened to be closed');
    }
    await expectGoodEnd(traced);
  },
);

test('who connects while none is to be had waits, and is served when there is', async () => {
  const traced = await limited(CONNECTION);
  const [first, itsBack] = await connectThrough(traced);
  const second = kept(UnixSocket.connect(traced.path, 'stream'));
  second.send(GET_FEATURES);
  first.send(GET_FEATURES);
  await hear(itsBack, 12);
  first.close();
  await hearEnd(itsBack);
  let far: UnixSocket | undefined;
  await until(() => {
    far ??= traced.back.accept();
    return far !== undefined;
  }, 'the other');
  await hear(kept(far as UnixSocket), 12);
  await expectGoodEnd(traced);
});

test.each(Array.from({ length: REQUESTS }, (_, i) => i + 1))(
  'a socket for requests passes with %i descriptors to be had for it, and works',
  async (more) => {
    const traced = await limited(CONNECTION + more);
    const [front, back] = await connectThrough(traced);
    const [own, given] = socketPair('stream');
    front.send(SET_BACKEND_REQ_FD, [given]);
    const { descriptors } = await hear(back, SET_BACKEND_REQ_FD.length);
    const theirs = kept(UnixSocket.fromFd(descriptors[0] as number));
    theirs.send(GET_FEATURES);
    await until(() => receive(own)?.size === GET_FEATURES.length, 'what the back end asks');
    const told = await traced.run.line('message', 1);
    const words = 'what goes over its socket is not shown';
    if (more < REQUESTS) expect(told.problem).toMatch(new RegExp(`^${words}: .*EMFILE`));
    else expect(told).not.toHaveProperty('problem');
    const open = traced.idle + CONNECTION + (more < REQUESTS ? 0 : 4);
    await until(() => descriptorsOf(traced) === open, `${open} descriptors`);
    front.close();
    await until(() => descriptorsOf(traced) === traced.idle, 'what was opened to be closed');
    await expectGoodEnd(traced);
  },
);
