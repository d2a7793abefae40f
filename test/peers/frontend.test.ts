/** Ports on the socket of DPDK's vhost: frames both ways, several queues, and a back end that dies. */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DirtyLog, GuestMemory, VhostUserFrontend } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import { sealed, UDP, udp } from '../support/packets.js';
import { echoed, pingThrough, Returned, socketPort } from '../support/peer-ports.js';
import { peerFolder } from '../support/peer-process.js';
import { kept } from '../support/sockets.js';
import { Testpmd, type TestpmdOptions, vhostPort } from '../support/testpmd.js';

holdNothingLeaks();

/** A testpmd that serves `path`. */
async function backEnd(path: string, options: Partial<TestpmdOptions> = {}): Promise<Testpmd> {
  const { queues = 1 } = options;
  return Testpmd.start({ port: vhostPort(path, { queues }), ...options });
}

const socket = () => join(peerFolder(), 'be.sock');

describe('a port on the socket of a testpmd', () => {
  test('gets its pings answered by icmpecho', async () => {
    const path = socket();
    await backEnd(path, { forward: 'icmpecho' });
    const port = await socketPort(path);
    expect(port.linkUp).toBe(true);
    const { arp, echo } = await pingThrough(port, new Returned(port));
    expect([...arp.subarray(20, 22)]).toEqual([0, 2]);
    expect([...arp.subarray(28, 32)]).toEqual([10, 99, 0, 2]);
    expect(echo[34]).toBe(0);
    expect(echo.subarray(42, 74)).toEqual(new Uint8Array(32).fill(0x55));
  });

  test.each(['io', 'macswap'] as const)('gets every frame back from %s', async (forward) => {
    const path = socket();
    const testpmd = await backEnd(path, { forward });
    const port = await socketPort(path);
    await testpmd.linkUp();
    const returned = new Returned(port);
    await echoed(port, returned, 0, 2000);
    expect(returned.irregular(0, 2000)).toEqual(new Map());
    const { rxPackets, txPackets } = await testpmd.statsOnce((stats) => stats.txPackets >= 2000);
    expect({ rxPackets, txPackets }).toEqual({ rxPackets: 2000, txPackets: 2000 });
    await testpmd.stop();
  });

  test('has as many queue pairs as it asks for, and each serves its flows', async () => {
    const path = socket();
    const testpmd = await backEnd(path, { queues: 2 });
    const port = await socketPort(path, { queuePairs: 2 });
    await testpmd.linkUp();
    let received = 0;
    port.onFrames((frames) => {
      received += frames.length;
    });
    const flows = Array.from({ length: 64 }, (_, flow) => udpFrame(flow));
    await port.send(flows);
    await until(() => received === flows.length, 'every frame comes back');
    const pairs = port.pairCounters.map(({ txFrames, rxFrames }) => ({ txFrames, rxFrames }));
    expect(pairs[0]?.txFrames).toBeGreaterThan(0);
    expect(pairs[1]?.txFrames).toBeGreaterThan(0);
    // testpmd gives a frame back by the pair that it came by.
    expect(pairs.map(({ rxFrames }) => rxFrames)).toEqual(pairs.map(({ txFrames }) => txFrames));
    await testpmd.stop();
  });

  test('stops and goes on without the loss of a frame', async () => {
    const path = socket();
    const testpmd = await backEnd(path);
    const port = await socketPort(path);
    await testpmd.linkUp();
    const returned = new Returned(port);
    await echoed(port, returned, 0, 300);
    const { pairs } = await port.stop();
    expect(pairs[0]?.transmit).toMatchObject({ base: 300, avail: 300, used: 300 });
    await port.start();
    await echoed(port, returned, 300, 300);
    expect(returned.irregular(0, 600)).toEqual(new Map());
    await testpmd.stop();
  });
});

test('a port outlives its back end, and what that left in the ring goes by the next one', async () => {
  const path = socket();
  const first = await backEnd(path);
  const port = await socketPort({ path, reconnect: 50 });
  const links: boolean[] = [];
  port.on('link', (up) => links.push(up));
  await first.linkUp();
  const returned = new Returned(port);
  await echoed(port, returned, 0, 300);
  // It serves the rings no more, and dies with frames in them.
  await first.command('stop');
  await port.send(Array.from({ length: 100 }, (_, i) => makeFrame(64, 300 + i)));
  await first.kill();
  await until(() => !port.linkUp, 'the link goes down');
  await expectCode(() => port.send(makeFrame(64, 0)), 'ENETDOWN');
  expect(returned.count).toBe(300);
  // A testpmd that was killed leaves its socket, and the next does not listen on it.
  rmSync(path);
  const second = await backEnd(path);
  await until(() => port.linkUp, 'the link comes up');
  await until(() => returned.count === 400, 'what was in the ring comes back');
  await echoed(port, returned, 400, 300);
  expect(returned.irregular(0, 700)).toEqual(new Map());
  expect(links).toEqual([false, true]);
  await second.stop();
});

test('a port that listens is come to by a testpmd in client mode, and by the next', async () => {
  const path = socket();
  const port = socketPort({ path, mode: 'server', reconnect: 50 });
  const client = { port: vhostPort(path, { more: ',client=1' }), forward: 'icmpecho' } as const;
  const first = await Testpmd.start(client);
  const opened = await port;
  const returned = new Returned(opened);
  await pingThrough(opened, returned);
  await first.kill();
  await until(() => !opened.linkUp, 'the link goes down');
  await Testpmd.start(client);
  await until(() => opened.linkUp, 'the link comes up');
  await pingThrough(opened, returned);
});

test('a port moves to the back end of another socket, which marks the pages that it writes', async () => {
  const port = await socketPort(await idle());
  const path = socket();
  const testpmd = await backEnd(path);
  const frontend = await VhostUserFrontend.open({ path });
  cleanup(() => frontend.close());
  // The port's memory, once more: for a log of its pages.
  const region = { guestAddress: 0n, size: 0x20_0000, backing: { fd: port.descriptors.memory } };
  const size = statSync(`/proc/self/fd/${port.descriptors.memory}`).size;
  const memory = kept(GuestMemory.create([{ ...region, size }]));
  const log = kept(DirtyLog.create(memory));
  await port.stop();
  await port.start(frontend);
  cleanup(() => port.close());
  await frontend.setDirtyLog(log);
  await testpmd.linkUp();
  const returned = new Returned(port);
  await echoed(port, returned, 0, 300);
  expect(returned.irregular(0, 300)).toEqual(new Map());
  // 256 buffers of 1600 bytes, all of them used, are 100 pages.
  const bytes = [...log.harvest()].reduce((sum, range) => sum + range.size, 0);
  expect(bytes).toBeGreaterThanOrEqual(100 * 4096);
  await frontend.setDirtyLog(null);
  await echoed(port, returned, 300, 100);
  expect([...log.harvest()]).toEqual([]);
  await testpmd.kill();
  await until(() => !port.linkUp, 'the link goes down');
});

/** The socket of a testpmd that forwards nothing. */
async function idle(): Promise<string> {
  const path = socket();
  await backEnd(path, { start: false });
  return path;
}

/** From the port 1000 + `flow`. */
function udpFrame(flow: number): Uint8Array {
  const transport = udp(new Uint8Array(32), [1000 + flow, 9]);
  return sealed({ source: '10.99.0.1', destination: '10.99.0.2', protocol: UDP, transport });
}
