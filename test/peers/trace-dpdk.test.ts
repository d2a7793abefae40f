/** `vhost-net trace` between two of DPDK: virtio-user, the front end, and vhost, the back end. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { peerFolder } from '../support/peer-process.js';
import { Testpmd, vhostPort, virtioUserPort } from '../support/testpmd.js';
import { expectInOrder, expectSound, toldOf } from '../support/told.js';
import { startTrace, type Trace } from '../support/traced.js';

holdNothingLeaks();

const ONE_PAIR = [0, 1];
const TWO_PAIRS = [0, 1, 2, 3];
const receiveFirst = (rings: readonly number[]) => [...rings].sort((a, b) => (a % 2) - (b % 2));

/** What the front end says until its rings run, and when it stops. */
const start = (rings: readonly number[]) => [
  'SET_OWNER',
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'SET_PROTOCOL_FEATURES',
  ...receiveFirst(rings).map((ring) => `SET_VRING_CALL ${ring}`),
  'SET_FEATURES',
  'SET_STATUS 0xb',
  'SET_MEM_TABLE',
  ...receiveFirst(rings).flatMap((ring) => [
    `SET_VRING_NUM ${ring} 256`,
    `SET_VRING_BASE ${ring}`,
    `SET_VRING_ADDR ${ring}`,
    `SET_VRING_KICK ${ring}`,
  ]),
  ...ONE_PAIR.map((ring) => `SET_VRING_ENABLE ${ring} 1`),
  'SET_STATUS 0xf',
  ...rings.slice(2).map((ring) => `SET_VRING_ENABLE ${ring} 1`),
];
const stop = (rings: readonly number[]) => [
  ...rings.map((ring) => `SET_VRING_ENABLE ${ring} 0`),
  ...rings.map((ring) => `GET_VRING_BASE ${ring}`),
];

/** Fails unless rings have come up by what the trace told, with their descriptors. */
function expectStart(trace: Trace, rings: readonly number[]): void {
  const told = toldOf(trace);
  expectSound(told);
  expectInOrder(told, start(rings));
  const kinds = (name: string) =>
    told
      .filter(({ request }) => request === name)
      .map(({ descriptors }) => descriptors.map(({ kind }) => kind));
  for (const name of ['VHOST_USER_SET_VRING_KICK', 'VHOST_USER_SET_VRING_CALL']) {
    expect(kinds(name)).toEqual(rings.map(() => ['eventfd']));
  }
  // All memory of a process without huge pages is one file.
  const table = told.find(({ request }) => request === 'VHOST_USER_SET_MEM_TABLE');
  expect(table?.payload).toHaveLength(1);
  expect(table?.descriptors).toMatchObject([{ kind: 'memfd', size: 256 << 20 }]);
}

test.each([
  ['one queue pair', ONE_PAIR],
  ['two', TWO_PAIRS],
])(
  'frames flow by %s, every message is one of the protocol, and they come in the known order',
  async (_, rings) => {
    const path = join(peerFolder(), 'socket');
    const queues = rings.length / 2;
    const served = { port: vhostPort(path, { queues }), queues };
    const back = await Testpmd.start({ ...served, forward: 'rxonly', processor: 1 });
    const trace = await startTrace(path);
    const used = { port: virtioUserPort(trace.path, { queues }), queues };
    const front = await Testpmd.start({ ...used, forward: 'txonly', processor: 0 });
    await back.statsOnce(({ rxPackets }) => rxPackets > 1000);
    expect(await front.stop()).toBe(0);
    const closed = await trace.run.line('closed');
    expect(closed).toMatchObject({ by: 'front-end', unanswered: [] });
    expect(closed).not.toHaveProperty('error');
    expectStart(trace, rings);
    expectInOrder(toldOf(trace), [...start(rings), ...stop(rings)]);
    expect(await back.stop()).toBe(0);
  },
);

test('the front end may be the one that listens', async () => {
  const path = join(peerFolder(), 'socket');
  const port = virtioUserPort(path, { more: ',server=1' });
  // It waits for a back end before it has a prompt, and a back end tries until there is one.
  const starting = Testpmd.start({ port, forward: 'txonly', processor: 0 });
  const trace = await startTrace(path);
  const client = vhostPort(trace.path, { more: ',client=1' });
  const back = await Testpmd.start({ port: client, forward: 'rxonly', processor: 1 });
  const front = await starting;
  await back.statsOnce(({ rxPackets }) => rxPackets > 1000);
  await front.stop();
  await back.stop();
  // The back end tried before the front end listened, and again when it had gone.
  const { connection } = await trace.run.line('message');
  const told = toldOf(trace, Number(connection));
  expectSound(told);
  expectInOrder(told, [
    'GET_PROTOCOL_FEATURES',
    'SET_FEATURES',
    'SET_MEM_TABLE',
    'SET_VRING_KICK 1',
  ]);
});

test('a back end that is killed ends the connection, and the trace serves the next', async () => {
  const path = join(peerFolder(), 'socket');
  const back = await Testpmd.start({ port: vhostPort(path), forward: 'rxonly', processor: 1 });
  const trace = await startTrace(path);
  const front = await Testpmd.start({
    ...{ port: virtioUserPort(trace.path), forward: 'txonly', processor: 0 },
  });
  await back.statsOnce(({ rxPackets }) => rxPackets > 1000);
  await back.kill();
  expect(await trace.run.line('closed')).toMatchObject({ by: 'back-end', unanswered: [] });
  await front.stop();
  expectStart(trace, ONE_PAIR);
  // DPDK does not take the place of a socket that a crash left behind.
  rmSync(path);
  const again = await Testpmd.start({ port: vhostPort(path), forward: 'rxonly', processor: 1 });
  const next = await Testpmd.start({
    ...{ port: virtioUserPort(trace.path), forward: 'txonly', processor: 0 },
  });
  await again.statsOnce(({ rxPackets }) => rxPackets > 1000);
  await next.stop();
  await again.stop();
  expectSound(toldOf(trace, 2));
});
