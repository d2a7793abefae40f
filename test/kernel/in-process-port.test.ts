import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import {
  bit,
  InProcessBackend,
  type Tap,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
} from '../../lib/index.js';
import { type IoUring, native } from '../../lib/native.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { cli, program } from '../support/cli.js';
import { arrive, out, startBench } from '../support/conformance.js';
import { IN_PROCESS } from '../support/conformance-kinds.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { tapName } from '../support/host.js';
import { stepsOf } from '../support/inject.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';
import type { Segment } from '../support/rings.js';

holdNothingLeaks();

const MERGEABLE =
  bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_RING_F_EVENT_IDX);
const FRAME: Segment = [1n << 20n, 12 + 60];
const LENGTHS = (n: number) => 60 + (n % 50) * 29;

/** Puts another function of the addon in the place of one until the test is over. */
function replace<K extends keyof typeof native>(name: K, by: (typeof native)[K]): void {
  const real = native[name];
  native[name] = by;
  cleanup(() => {
    native[name] = real;
  });
}

/** How often a descriptor was found readable, or an immediate was asked for, from now on. */
function countTurns(): () => number {
  let turns = 0;
  const { Poller } = native;
  const counting = function poller(...[fd, drain, callback]: ConstructorParameters<typeof Poller>) {
    return new Poller(fd, drain, (value) => {
      turns++;
      callback(value);
    });
  };
  replace('Poller', counting as unknown as typeof Poller);
  const spy = vi.spyOn(globalThis, 'setImmediate');
  cleanup(() => spy.mockRestore());
  return () => turns + spy.mock.calls.length;
}

/** An io_uring that the kernel refuses, at once or when it is used. */
function refusedUring(error: number, refuse: IoUring['write']): typeof native.IoUring {
  return class {
    readonly error = error;
    write = refuse;
    close(): void {}
  };
}

describe('a port that this process serves', () => {
  test('carries frames both ways, stops, and goes on', async () => {
    const { port, wire } = await openPortAndWire({ backend: 'in-process' });
    expect(port.backend).toBe('in-process');
    await hostToPort(wire, port, 500, LENGTHS);
    await portToHost(port, wire, 500, LENGTHS);
    await port.stop();
    expect(port.running).toBe(false);
    await port.start();
    await hostToPort(wire, port, 100, LENGTHS, { first: 500 });
    await portToHost(port, wire, 100, LENGTHS, { first: 500 });
  });

  test('goes on with another backend of the same kind, on the same queues', async () => {
    const { port, wire } = await openPortAndWire({ backend: 'in-process' });
    await portToHost(port, wire, 70, LENGTHS);
    await port.stop();
    await port.start(InProcessBackend.open(port.taps));
    await hostToPort(wire, port, 70, LENGTHS);
  });

  test('stops and starts one of its queue pairs while the other carries frames', async () => {
    const { port, wire } = await openPortAndWire({ backend: 'in-process', queuePairs: 2 });
    await portToHost(port, wire, 100, LENGTHS);
    await port.stopPair(1);
    await portToHost(port, wire, 100, LENGTHS, { first: 100 });
    await hostToPort(wire, port, 100, LENGTHS);
    await port.startPair(1);
    await portToHost(port, wire, 100, LENGTHS, { first: 200 });
  });

  test('answers ping from the command, which says what serves it', async () => {
    const name = tapName();
    const run = cli([
      ...['attach', name, '--backend', 'in-process', '--address', '10.83.0.1/24'],
      ...['--respond', '10.83.0.2'],
    ]);
    expect(await run.line('attached')).toMatchObject({ backend: 'in-process' });
    const { stdout } = await program('ping', ['-c', '3', '-i', '0.2', '-W', '5', '10.83.0.2']);
    expect(stdout).toContain('3 packets transmitted, 3 received');
    run.child.kill('SIGINT');
    expect(await run.exitCode()).toBe(0);
    expect((await run.line('detached')).answered).toMatchObject({ echo: 3 });
  });
});

describe('an in-process back end with nothing to do', () => {
  test('makes no system call: neither without frames, nor with frames and no buffers', async () => {
    const bench = await startBench(IN_PROCESS);
    await sleep(20);
    const idle = () => stepsOf(() => sleep(50));
    expect(await idle()).toEqual([]);
    bench.rig.addWritable([[2n << 20n, 2048]]);
    bench.rig.receive.publish();
    await sleep(20);
    expect(await idle()).toEqual([]);
    await arrive(bench, 60, 0, 10);
    await bench.rig.receive.pop();
    await sleep(20);
    expect(await idle()).toEqual([]);
  });

  test('takes no turn of the event loop while frames wait, and too few buffers, or none', async () => {
    const turns = countTurns();
    const bench = await startBench(IN_PROCESS, { features: MERGEABLE, size: 8 });
    const { rig } = bench;
    const quiet = async () => {
      await sleep(20);
      const before = turns();
      await sleep(50);
      return turns() - before;
    };
    const postOne = () => {
      rig.addWritable([[2n << 20n, 2048]]);
      rig.receive.publish();
    };
    // It waits for frames; then for buffers, with frames in the queue.
    postOne();
    expect(await quiet()).toBe(0);
    await arrive(bench, 60, 0, 3);
    await rig.receive.pop();
    expect(await quiet()).toBe(0);
    for (let i = 1; i < 3; i++) {
      postOne();
      await rig.receive.pop();
    }
    expect(await quiet()).toBe(0);
    // A frame that is held, for it takes two buffers.
    await arrive(bench, 3000, 3);
    rig.addWritable([[6n << 18n, 2048]]);
    rig.receive.publish();
    expect(await quiet()).toBe(0);
    expect(rig.receive.ring.returned).toBe(0);
    rig.addWritable([[8n << 18n, 2048]]);
    rig.receive.publish();
    await rig.receive.pop();
    await rig.receive.pop();
    checkFrameBytes(
      rig.frame(
        [
          [6n << 18n, 2048],
          [8n << 18n, 2048],
        ],
        12 + 3000,
      ),
      3000,
      3,
    );
  });

  test('does not spin on a queue that was detached, and takes it up when it is back', async () => {
    const { port, wire } = await openPortAndWire({ backend: 'in-process', queuePairs: 2 });
    const [, second] = port.taps as [Tap, Tap];
    second.setQueue('detached');
    await sleep(20);
    const calls = await stepsOf(() => sleep(250));
    expect(calls.length).toBeLessThan(20);
    second.setQueue('attached');
    await portToHost(port, wire, 100, LENGTHS);
    await hostToPort(wire, port, 100, LENGTHS);
  });
});

describe('without io_uring', () => {
  test.each([
    ['that may not be had', -1, () => -1],
    [
      'that refuses this kind of queue',
      0,
      (...[, , , results]: Parameters<IoUring['write']>) => {
        results[0] = -95;
        return 1;
      },
    ],
    ['that fails later', 0, () => -16],
  ] as const)('%s, frames are sent all the same', async (_, error, refuse) => {
    replace('IoUring', refusedUring(error, refuse));
    const { port, wire } = await openPortAndWire({ backend: 'in-process' });
    await portToHost(port, wire, 300, LENGTHS);
  });

  test('what a full queue does not take is sent when it does, in order', async () => {
    replace(
      'IoUring',
      refusedUring(-1, () => -1),
    );
    const real = native.framesWrite;
    let calls = 0;
    replace('framesWrite', (fd, vectors, ends, results, first, count) => {
      if (calls++ % 3 !== 0) return real(fd, vectors, ends, results, first, Math.min(count, 7));
      results[first] = -11;
      return 1;
    });
    const { rig, wire } = await startBench(IN_PROCESS);
    for (let i = 0; i < 100; i++) {
      const segment: Segment = [FRAME[0] + BigInt(i * 128), FRAME[1]];
      rig.fill([segment], makeFrame(60, i));
      rig.addReadable([segment]);
    }
    rig.transmit.publish();
    await wire.expect(100, () => 60);
    for (let i = 0; i < 100; i++) await rig.transmit.pop();
    expect((rig.backend as InProcessBackend).counters[0]).toMatchObject({
      sent: 100,
      sendDropped: 0,
    });
  });
});

test('frames that are dropped are counted: too long for a buffer, refused by the queue', async () => {
  const bench = await startBench(IN_PROCESS, { size: 8 });
  const { rig } = bench;
  rig.addWritable([[2n << 20n, 500]]);
  rig.receive.publish();
  await arrive(bench, 489, 1);
  await arrive(bench, 488, 2);
  await rig.receive.pop();
  rig.addReadable([[1n << 20n, 12 + 5]]);
  rig.transmit.publish();
  await rig.transmit.pop();
  await out(bench, [FRAME], 60, 3);
  expect((rig.backend as InProcessBackend).counters).toEqual([
    { received: 1, receiveDropped: 1, sent: 1, sendDropped: 1 },
  ]);
});
