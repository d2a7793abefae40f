import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { KernelBackend, NetPort, type PortState } from '../../lib/index.js';
import { BUILT } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';
import { Patience, type Wire } from '../support/wire.js';

holdNothingLeaks();

const length = (sequence: number) => 60 + ((sequence * 37) % 1400);

/**
 * Frames both ways, each checked, while `disturb` does what it does: from the host to the port through
 * the iterator, from the port to the host through send().
 */
async function underTraffic(
  port: NetPort,
  wire: Wire,
  disturb: () => Promise<void>,
  count = 4000,
): Promise<void> {
  let going = true;
  const disturbing = async () => {
    while (going) {
      await disturb();
      await delay(20);
    }
  };
  const traffic = Promise.all([
    hostToPort(wire, port, count, length, { window: 200 }),
    portToHost(port, wire, count, length),
  ]).finally(() => {
    going = false;
  });
  await Promise.all([traffic, disturbing()]);
}

describe('a port that stops and goes on', () => {
  test('loses no frame, repeats none, and keeps their order, with the same device', async () => {
    const { port, wire } = await openPortAndWire();
    let rounds = 0;
    await underTraffic(port, wire, async () => {
      await port.stop();
      expect(port.running).toBe(false);
      await port.start();
      rounds++;
    });
    expect(rounds).toBeGreaterThan(3);
  });

  test('moves between vhost devices under traffic', async () => {
    const { port, wire } = await openPortAndWire();
    let rounds = 0;
    await underTraffic(port, wire, async () => {
      await port.stop();
      await port.start(KernelBackend.open(port.taps));
      rounds++;
    });
    expect(rounds).toBeGreaterThan(3);
  });

  test('keeps what is sent meanwhile for later', async () => {
    const { port, wire } = await openPortAndWire();
    await port.stop();
    const frames = Array.from({ length: 600 }, (_, i) => makeFrame(60, i));
    expect(port.trySend(frames)).toBe(0);
    const sending = port.send(frames);
    await wire.send(
      10,
      () => 60,
      () => 10,
    );
    await delay(50);
    expect(wire.read()).toEqual([]);
    expect(port.counters).toMatchObject({ rxFrames: 0, txFrames: 0 });
    await port.start();
    await Promise.all([sending, wire.expect(600, () => 60)]);
    const batch = await port[Symbol.asyncIterator]().next();
    expect(batch.value?.[0]?.bytes).toEqual(makeFrame(60, 0));
  });

  test('says so where it cannot be meant, and goes on', async () => {
    const { port, wire } = await openPortAndWire();
    await expectCode(() => port.start(), 'ERR_BUSY');
    await port.stop();
    await expectCode(() => port.stop(), 'ERR_BUSY');
    await expectCode(() => port.stopPair(0), 'ERR_BUSY');
    const broken = KernelBackend.open(port.taps);
    await broken.close();
    await expectCode(() => port.start(broken), 'ERR_CLOSED');
    expect(port.running).toBe(false);
    await port.start();
    await portToHost(port, wire, 100, length);
  });

  test('can be closed while it is stopped', async () => {
    const { port } = await openPortAndWire();
    await port.stop();
    const sending = port.send(makeFrame(60, 0));
    await port.close();
    await expectCode(() => sending, 'ERR_CLOSED');
    await expectCode(() => port.start(), 'ERR_CLOSED');
  });
});

/**
 * Goes on with the port whose state its first line of input is, sends frames 400 to 599, and prints each
 * that it receives. The second line ends it.
 */
const HEIR = `
  import { createInterface } from 'node:readline';
  const { NetPort } = await import(process.argv[1]);
  const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
  process.stdout.write('loaded\\n');
  const state = JSON.parse((await lines.next()).value);
  const port = await NetPort.resume(state, { memory: 3, queues: [{ tap: 4 }] });
  process.stdout.write('ready\\n');
  port.onFrames((frames) => {
    for (const { bytes } of frames) {
      if (bytes[12] === 0x88) process.stdout.write(Buffer.from(bytes).toString('base64') + '\\n');
    }
  });
  for (let i = 400; i < 600; i++) {
    const frame = Buffer.alloc(60, 7);
    frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
    frame.writeUInt32BE(i, 14);
    await port.send(frame);
  }
  await lines.next();
  await port.close();
  process.exit(0);
`;

/** A process that waits for a port's state; `line` hears what it prints. */
function startHeir(port: NetPort, line: (text: string) => void): ChildProcess {
  const { memory, queues } = port.descriptors;
  const heir = spawn(process.execPath, ['--input-type=module', '-e', HEIR, BUILT], {
    stdio: ['pipe', 'pipe', 'inherit', memory, queues[0]?.tap as number],
  });
  cleanup(() => heir.kill('SIGKILL'));
  createInterface(heir.stdout as Readable).on('line', line);
  return heir;
}

describe('a port that stopped', () => {
  test('goes on in another process: no frame is lost, twice, or out of order', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 512 });
    const HOST_FRAMES = 3000;
    let received = 0;
    const taken = (bytes: Uint8Array) => {
      checkFrameBytes(bytes, length(received), received);
      received++;
    };
    const said = new Set<string>();
    const heir = startHeir(port, (line) => {
      if (/^[a-z]{5,6}$/.test(line)) said.add(line);
      else taken(Uint8Array.from(Buffer.from(line, 'base64')));
    });
    const patience = new Patience();
    while (!said.has('loaded')) {
      patience.check(0, 'the heir begins');
      await delay(10);
    }
    // The host sends all the time, whoever has the port.
    const sending = wire.send(HOST_FRAMES, length, () => received, { window: 200 });
    for await (const frames of port) {
      for (const { bytes } of frames) taken(bytes);
      if (received > 1000) break;
    }
    // More than the device sends until it is stopped, less than the ring holds.
    const own = Array.from({ length: 400 }, (_, i) => makeFrame(60, i));
    expect(port.trySend(own)).toBe(400);
    const state = await port.stop();
    heir.stdin?.write(`${JSON.stringify(state)}\n`);
    while (!said.has('ready')) {
      patience.check(1, 'the heir opens the port');
      await delay(10);
    }
    await port.close();
    const sequences: number[] = [];
    while (received < HOST_FRAMES || sequences.length < 600) {
      for (const bytes of wire.read()) sequences.push(Buffer.from(bytes).readUInt32BE(14));
      patience.check(received + sequences.length, 'frames go both ways');
      await turn();
    }
    await sending;
    expect(sequences).toEqual(Array.from({ length: 600 }, (_, i) => i));
    expect(port.tap.interface.exists).toBe(true);
    heir.stdin?.write('end\n');
    expect(await once(heir, 'exit')).toEqual([0, null]);
    expect(port.tap.interface.exists).toBe(false);
  });

  test('has a state of plain data, which is refused where it is not true', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 64 });
    await portToHost(port, wire, 100, length);
    const { memory, queues } = port.descriptors;
    const state = await port.stop();
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    const [pair] = state.pairs as [PortState['pairs'][number]];
    const { receive } = pair;
    const wrong: [Partial<PortState>, string][] = [
      [{ version: 2 as 1 }, 'ERR_INVALID_ARG_VALUE'],
      [{ features: 'all' }, 'ERR_INVALID_ARG_TYPE'],
      [{ pairs: [] }, 'ERR_INVALID_ARG_VALUE'],
      [{ queueSize: 128 }, 'ERR_OUT_OF_RANGE'],
      [
        { pairs: [{ ...pair, receive: { ...receive, avail: receive.avail + 1 } }] },
        'ERR_OUT_OF_RANGE',
      ],
      [{ pairs: [{ ...pair, receive: { ...receive, chains: [[64, 1, 9]] } }] }, 'ERR_OUT_OF_RANGE'],
    ];
    for (const [change, code] of wrong) {
      await expectCode(() => NetPort.resume({ ...state, ...change }, { memory, queues }), code);
    }
    await port.start();
    await portToHost(port, wire, 100, length);
  });
});
