/** `vhost-net trace` as a command: who may connect, what it prints, how it ends. */
import { chmodSync, chownSync, closeSync, existsSync, lstatSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { encodeVhostUserReply, encodeVhostUserRequest, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { CLI, cli, Run } from '../support/cli.js';
import { until } from '../support/host.js';
import { kept, listen, sendable, socketPath } from '../support/sockets.js';
import { connectThrough, hear, hearEnd, memfd, messages, trace } from '../support/traced.js';
import { le, message } from '../support/vhost-user.js';
import { events } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const GET_FEATURES = encodeVhostUserRequest('VHOST_USER_GET_FEATURES', undefined);
const FEATURES = encodeVhostUserReply('VHOST_USER_GET_FEATURES', 1n << 30n);

test('each front end has a back end of its own, at the same time and one after another', async () => {
  const traced = await trace();
  const [front, back] = await connectThrough(traced);
  const [second, itsBack] = await connectThrough(traced);
  second.send(GET_FEATURES);
  await hear(itsBack, 12);
  front.send(GET_FEATURES);
  await hear(back, 12);
  front.close();
  await hearEnd(back);
  const [third, lastBack] = await connectThrough(traced);
  third.send(GET_FEATURES);
  await hear(lastBack, 12);
  const told = await messages(traced, 3);
  expect(told.map(({ connection }) => connection)).toEqual([2, 1, 3]);
  expect(traced.run.lines.filter(({ event }) => event === 'connected')).toMatchObject(
    [1, 2, 3].map((connection) => ({
      connection,
      from: { pid: process.pid },
      to: { pid: process.pid },
    })),
  );
});

test('the front end is who speaks first: it may be the one that listens', async () => {
  const traced = await trace();
  const [near, far] = await connectThrough(traced);
  far.send(GET_FEATURES);
  await hear(near, 12);
  near.send(FEATURES);
  await hear(far, FEATURES.length);
  near.close();
  const told = await messages(traced, 2);
  expect(told.map(({ from, kind }) => `${from} ${kind}`)).toEqual([
    'front-end request',
    'back-end reply',
  ]);
  expect((await traced.run.line('closed')).by).toBe('back-end');
});

test('who connects while nobody listens on the other side is refused, and may come again', async () => {
  const traced = await trace();
  const place = traced.back.path;
  traced.back.close();
  await hearEnd(kept(UnixSocket.connect(traced.path, 'stream')));
  expect(await traced.run.line('refused')).toMatchObject({
    ...{ connection: 1, from: { pid: process.pid } },
    error: expect.stringContaining('ENOENT'),
  });
  const [front, back] = await connectThrough({ ...traced, back: listen('stream', place) });
  front.send(GET_FEATURES);
  await hear(back, 12);
});

test('who may connect to the other socket may connect to this one', async () => {
  const back = listen('stream');
  chmodSync(back.path, 0o660);
  if (process.getuid?.() === 0) chownSync(back.path, 65_534, 65_533);
  const { mode, uid, gid } = lstatSync(back.path);
  const path = socketPath();
  await cli(['trace', path, '--to', back.path, '--json']).line('listening');
  expect(lstatSync(path)).toMatchObject({ mode, uid, gid });
});

test('Ctrl-C closes every connection, removes the socket, and is no failure', async () => {
  const traced = await trace();
  const [front, back] = await connectThrough(traced);
  front.send(GET_FEATURES);
  await hear(back, 12);
  traced.run.child.kill('SIGINT');
  await Promise.all([hearEnd(front), hearEnd(back)]);
  expect(await traced.run.exitCode()).toBe(0);
  expect(existsSync(traced.path)).toBe(false);
  expect(traced.run.stderr).toBe('');
  expect(await traced.run.line('closed')).not.toHaveProperty('by');
  expect(await traced.run.line('stopped')).toMatchObject({ reason: 'interrupted' });
});

test('it ends, and gives everything back, when nobody reads what it prints', async () => {
  const traced = await trace();
  const [front, back] = await connectThrough(traced);
  traced.run.child.stdout?.destroy();
  front.send(GET_FEATURES);
  front.send(GET_FEATURES);
  expect((await hearEnd(back)).length).toBeGreaterThan(0);
  expect(await traced.run.exitCode()).toBe(0);
  expect(existsSync(traced.path)).toBe(false);
  expect(traced.run.stderr).toBe('');
});

test('people get a line for each message, with names, words and kinds of descriptors', async () => {
  const traced = await trace([]);
  const [front, back] = await connectThrough(traced);
  const region = {
    guestAddress: 0n,
    size: 0x40_0000n,
    userAddress: 0x7f00_0000_0000n,
    mmapOffset: 0n,
  };
  const sent = [
    GET_FEATURES,
    encodeVhostUserRequest('VHOST_USER_SET_PROTOCOL_FEATURES', 0x10009n),
    message(99, 9, le([4, 0xbeef])),
  ];
  for (const each of sent) front.send(each);
  front.send(encodeVhostUserRequest('VHOST_USER_SET_MEM_TABLE', [region], 1, true), [
    memfd(0x40_0000),
  ]);
  front.send(
    encodeVhostUserRequest('VHOST_USER_SET_VRING_CALL', { index: 1, noDescriptor: false }, 1),
    events(1),
  );
  await hear(back, 12 + 20 + 16 + 52 + 20);
  back.send(FEATURES);
  back.send(encodeVhostUserReply('VHOST_USER_SET_MEM_TABLE', 1n));
  await hear(front, 40);
  front.close();
  await until(() => traced.run.stdout.includes('closed'), 'the end');
  const lines = traced.run.stdout.split('\n').slice(3);
  const arrows = lines.map((line) => line.search(/[→←]/)).filter((at) => at >= 0);
  expect(new Set(arrows).size).toBe(1);
  const shown = lines.map((line) => line.replaceAll(/ +(\+?)\d+\.\d{3}/g, ' $1ms'));
  expect(shown).toMatchInlineSnapshot(`
    [
      "1 ms            → GET_FEATURES",
      "1 ms            → SET_PROTOCOL_FEATURES    0x10009  MQ REPLY_ACK STATUS",
      "1 ms            → message 99               need-reply  (!) no request of the front-end has this id  payload efbe0000",
      "1 ms            → SET_MEM_TABLE            need-reply  1 region",
      "                                                      guestAddress 0x0  size 0x400000  userAddress 0x7f0000000000  mmapOffset 0x0  [memfd guest-memory, 4 MiB]",
      "1 ms            → SET_VRING_CALL           index 1  [eventfd]",
      "1 ms +ms  ← GET_FEATURES             0x40000000  PROTOCOL_FEATURES",
      "1 ms +ms  ← SET_MEM_TABLE            failed with 1",
      "1 ms            closed by the front end, after 7 messages",
      "",
    ]
  `);
  expect(traced.run.stdout).toContain(
    `listening on ${traced.path}, for ${traced.back.path}; Ctrl-C ends\n`,
  );
});

test('a name that a peer chose does not steer the terminal', async () => {
  const traced = await trace([]);
  const [front, back] = await connectThrough(traced);
  const fd = openSync(`${socketPath()}\x1b[2J`, 'w');
  front.send(GET_FEATURES, [sendable(fd)]);
  closeSync(fd);
  await hear(back, 12);
  await until(() => traced.run.stdout.includes('?[2J'), 'the file');
  expect(traced.run.stdout).not.toContain('\x1b');
});

test('where it may open no more descriptors the connection ends with an error, and it goes on', async () => {
  const back = listen('stream');
  const path = socketPath();
  const command = [process.execPath, CLI, 'trace', path, '--to', back.path, '--json'];
  const limited = new Run('sh', ['-c', 'ulimit -n 40; exec "$@"', 'sh', ...command]);
  await limited.line('listening');
  const traced = { run: limited, path, back };
  const [front, far] = await connectThrough(traced);
  front.send(GET_FEATURES, events(60));
  await hearEnd(front);
  await hearEnd(far);
  expect(await limited.line('closed')).toMatchObject({
    error: expect.stringContaining('descriptors'),
  });
  const [next, nextFar] = await connectThrough(traced);
  next.send(GET_FEATURES);
  await hear(nextFar, 12);
});
