import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Frame, NetPort, Tap } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { FlowCheck, FlowSocket, flowFrame, isFlow, readFlow } from '../support/flows.js';
import { tapName, until } from '../support/host.js';
import { openPort } from '../support/ports.js';
import { Patience } from '../support/wire.js';

holdNothingLeaks();

const PAIRS = 4;
const FLOWS = 24;

async function open(queuePairs = PAIRS): Promise<{ port: NetPort; host: FlowSocket }> {
  const { port, name } = await openPort({ queuePairs });
  const host = new FlowSocket(name);
  cleanup(() => host.close());
  return { port, host };
}

/** `count` frames, one flow after the other, `first` being the number of the first. */
function frames(count: number, first: number, reversed = false): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const n = first + i;
    return flowFrame(n % FLOWS, Math.floor(n / FLOWS), reversed);
  });
}

/** Reads at the host until `count` frames were seen. */
async function readAll(host: FlowSocket, check: FlowCheck, count: number): Promise<void> {
  const patience = new Patience();
  while (check.count < count) {
    for (const frame of host.read()) check.see(frame);
    patience.check(check.count, 'reading at the host');
    await turn();
  }
}

/** Sends frames of all flows from the port to the host, and checks that each flow is in order. */
async function portToHost(port: NetPort, host: FlowSocket, count: number): Promise<void> {
  const check = new FlowCheck();
  const send = async () => {
    const patience = new Patience();
    for (let sent = 0; sent < count; ) {
      const n = Math.min(32, count - sent);
      await port.send(frames(n, sent));
      sent += n;
      while (sent - check.count > 1000) {
        patience.check(check.count, 'the host reads');
        await turn();
      }
    }
  };
  await Promise.all([send(), readAll(host, check, count)]);
}

describe('a port of several queue pairs', () => {
  test('sends each flow in order by one pair, and uses them all', async () => {
    const { port, host } = await open();
    await portToHost(port, host, 4800);
    const { pairCounters, counters } = port;
    expect(pairCounters).toHaveLength(PAIRS);
    expect(counters.txFrames).toBe(4800);
    for (const { txFrames } of pairCounters) {
      expect(txFrames).toBeGreaterThan(0);
      // Every flow has 200 frames.
      expect(txFrames % 200).toBe(0);
    }
  });

  test.each(['listener', 'iterator'])(
    'gives a %s every flow by one pair, in order',
    async (consumer) => {
      const { port, host } = await open();
      const check = new FlowCheck();
      const pairOf = new Map<number, number>();
      const wrong: unknown[] = [];
      // What a listener throws ends the process.
      const see = (batch: readonly Frame[]) => {
        for (const { bytes, pair } of batch) {
          const { flow } = readFlow(bytes);
          if (!pairOf.has(flow)) pairOf.set(flow, pair);
          if (pair !== pairOf.get(flow)) wrong.push(`flow ${flow} changed to pair ${pair}`);
          try {
            check.see(bytes);
          } catch (error) {
            wrong.push(error);
          }
        }
      };
      const read = async () => {
        for await (const batch of port) {
          see(batch);
          if (check.count === 4800) return;
        }
      };
      if (consumer === 'listener') port.onFrames(see);
      const reading = consumer === 'iterator' ? read() : Promise.resolve();
      const patience = new Patience();
      for (let sent = 0; check.count < 4800 && wrong.length === 0; ) {
        const n = Math.min(64, 4800 - sent, 256 - (sent - check.count));
        if (n > 0) sent += host.send(frames(n, sent, true));
        patience.check(check.count, 'the port reads');
        await turn();
      }
      expect(wrong).toEqual([]);
      await reading;
      expect(new Set(pairOf.values()).size).toBe(PAIRS);
    },
  );

  test('gets a flow back by the pair that it was sent by', async () => {
    const { port, host } = await open();
    const sentBy: number[] = [];
    for (let flow = 0; flow < FLOWS; flow++) {
      const before = port.pairCounters.map(({ txFrames }) => txFrames);
      await port.send(flowFrame(flow, 0));
      sentBy.push(port.pairCounters.findIndex(({ txFrames }, i) => txFrames > (before[i] ?? 0)));
    }
    await port.flush();
    await readAll(host, new FlowCheck(), FLOWS);
    const came: number[] = [];
    port.onFrames((batch) => {
      for (const { bytes, pair } of batch) came[readFlow(bytes).flow] = pair;
    });
    host.send(frames(FLOWS, 0, true));
    const patience = new Patience();
    while (came.filter((pair) => pair !== undefined).length < FLOWS) {
      patience.check(came.length, 'the port reads');
      await turn();
    }
    expect(came).toEqual(sentBy);
  });

  test('goes on with the others while a pair is stopped, and with it again', async () => {
    const { port, host } = await open();
    const check = new FlowCheck();
    let sent = 0;
    const some = async (count: number) => {
      await port.send(frames(count, sent));
      sent += count;
      await port.flush();
      await readAll(host, check, sent);
    };
    await some(240);
    for (let round = 0; round < 8; round++) {
      const pair = round % PAIRS;
      await port.stopPair(pair);
      expect(port.servedPairs).toEqual([0, 1, 2, 3].map((i) => i !== pair));
      const before = port.pairCounters.map(({ txFrames }) => txFrames);
      await some(240);
      const after = port.pairCounters.map(({ txFrames }) => txFrames);
      expect(after[pair]).toBe(before[pair]);
      for (const other of [0, 1, 2, 3].filter((i) => i !== pair)) {
        expect(after[other]).toBeGreaterThan(before[other] as number);
      }
      await port.startPair(pair);
      await some(240);
      expect(port.pairCounters[pair]?.txFrames).toBeGreaterThan(before[pair] as number);
    }
  });

  test('is given no frame by a pair that is stopped', async () => {
    const { port, host } = await open(2);
    const pairs: number[] = [];
    port.onFrames((batch) => {
      for (const { pair } of batch) pairs.push(pair);
    });
    await port.stopPair(1);
    for (let sent = 0; sent < FLOWS; ) sent += host.send(frames(FLOWS - sent, sent, true));
    const patience = new Patience();
    while (pairs.length < FLOWS) {
      patience.check(pairs.length, 'the port reads');
      await turn();
    }
    expect(new Set(pairs)).toEqual(new Set([0]));
  });

  test('refuses what cannot be meant of a pair', async () => {
    const { port } = await open(2);
    await expectCode(() => port.stopPair(2), 'ERR_OUT_OF_RANGE');
    await expectCode(() => port.startPair(0), 'ERR_BUSY');
    await port.stopPair(0);
    await expectCode(() => port.stopPair(0), 'ERR_BUSY');
    await port.stopPair(1);
    expect(port.servedPairs).toEqual([false, false]);
    await port.close();
    await expectCode(() => port.startPair(0), 'ERR_CLOSED');
  });

  test('may have 256 pairs, and gives all of them back', async () => {
    const { port, host } = await open(256);
    expect(port.taps).toHaveLength(256);
    await portToHost(port, host, 480);
  });
});

describe('an interface with several queues', () => {
  test('is joined by a port of one pair too', async () => {
    const name = tapName();
    const other = Tap.open(name, { multiQueue: true });
    cleanup(() => other.closeAsync());
    const port = await NetPort.open({ tap: name });
    await port.close();
  });

  test('shares its frames between two ports, and takes those of both', async () => {
    const { port, name } = await openPort({ queuePairs: 2 });
    const other = await NetPort.open({ tap: name });
    cleanup(() => other.close());
    const host = new FlowSocket(name);
    cleanup(() => host.close());
    const check = new FlowCheck();
    const received = [0, 0];
    [port, other].forEach((one, i) => {
      one.onFrames((batch) => {
        for (const { bytes } of batch) if (isFlow(bytes)) received[i] = (received[i] ?? 0) + 1;
      });
    });
    const patience = new Patience();
    for (let sent = 0; sent < 2400; ) {
      const got = (received[0] ?? 0) + (received[1] ?? 0);
      const n = Math.min(64, 2400 - sent, 256 - (sent - got));
      if (n > 0) sent += host.send(frames(n, sent, true));
      patience.check(got, 'the ports read');
      await turn();
    }
    await until(() => (received[0] ?? 0) + (received[1] ?? 0) === 2400, 'all frames came');
    expect(Math.min(...received)).toBeGreaterThan(0);
    await port.send(flowFrame(1, 0));
    await other.send(flowFrame(2, 0));
    await readAll(host, check, 2);
  });

  test('is not made of one that has a single queue', async () => {
    const name = tapName();
    const other = Tap.open(name);
    cleanup(() => other.closeAsync());
    const opening = () => NetPort.open({ tap: name, queuePairs: 2 });
    await expectSystemError(opening, 'EINVAL', 'ioctl(TUNSETIFF)', name);
  });

  test('has 256 at most: a port that needs more is refused, and leaves none behind', async () => {
    const name = tapName();
    const taps = Tap.openQueues(name, 255);
    cleanup(() => Promise.all(taps.map((tap) => tap.closeAsync())));
    const opening = () => NetPort.open({ tap: name, queuePairs: 2 });
    await expectSystemError(opening, 'E2BIG', 'ioctl(TUNSETIFF)', name);
    const port = await NetPort.open({ tap: name });
    await port.close();
  });

  test('can be opened by somebody else, who passes the queues on', async () => {
    const taps = Tap.openQueues(tapName(), 2);
    cleanup(() => Promise.all(taps.map((tap) => tap.closeAsync())));
    const port = await NetPort.open({ queues: taps.map(({ fd }) => ({ tap: fd })) });
    cleanup(() => port.close());
    const [{ interface: link }] = taps as [Tap];
    expect(link.up).toBe(false);
    link.setUp();
    const host = new FlowSocket(link.name);
    cleanup(() => host.close());
    await portToHost(port, host, 240);
    await port.close();
    expect(link.exists).toBe(true);
  });
});
