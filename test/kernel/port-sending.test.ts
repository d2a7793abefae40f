import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { openPortAndWire } from '../support/ports.js';
import { Patience, whileGoing } from '../support/wire.js';

holdNothingLeaks();

const frames = (count: number, first = 0) =>
  Array.from({ length: count }, (_, i) => makeFrame(60, first + i));

describe('back-pressure', () => {
  test('send() of 10,000 frames waits for the device, and all arrive', async () => {
    const { port, wire } = await openPortAndWire();
    const sending = port.send(frames(10_000));
    await Promise.all([sending, wire.expect(10_000, () => 60)]);
    expect(port.counters.txFrames).toBe(10_000);
  });

  test('trySend() takes what there is room for and says how much', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 16 });
    const all = frames(3000);
    let sent = 0;
    let full = 0;
    const patience = new Patience();
    const sending = (async () => {
      while (sent < all.length) {
        const rest = all.slice(sent);
        const taken = port.trySend(rest);
        expect(taken).toBeLessThanOrEqual(rest.length);
        if (taken < rest.length) full++;
        sent += taken;
        patience.check(sent, 'trySend');
        await new Promise(setImmediate);
      }
    })();
    await Promise.all([sending, wire.expect(3000, () => 60)]);
    expect(full).toBeGreaterThan(0);
    expect(port.trySend(makeFrame(60, 0))).toBe(1);
    expect(port.trySend([])).toBe(0);
  });

  test("'drain' tells of room after trySend() took too few, once for each time", async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 16 });
    const all = frames(3000);
    let [sent, short, drains] = [0, 0, 0];
    const go = () => {
      while (sent < all.length) {
        const batch = all.slice(sent, sent + 50);
        const taken = port.trySend(batch);
        sent += taken;
        if (taken === batch.length) continue;
        short++;
        return;
      }
    };
    port.on('drain', () => {
      drains++;
      go();
    });
    go();
    // Who was refused is told later, never from within the call.
    expect(drains).toBe(0);
    await wire.expect(3000, () => 60);
    expect(short).toBeGreaterThan(10);
    expect(drains).toBe(short);
    // Nobody was refused since.
    await port.send(frames(100));
    await port.flush();
    expect(drains).toBe(short);
  });

  test('trySend() does not overtake a send() that waits', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 16 }, 65_600);
    // Long ones: the device must not be done with them before we look.
    const sending = port.send(Array.from({ length: 100 }, (_, i) => makeFrame(65_000, i)));
    expect(port.trySend(makeFrame(60, 9999))).toBe(0);
    await Promise.all([sending, wire.expect(100, () => 65_000)]);
  });

  test('sends keep their order, however many wait at once', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 16 });
    const order: number[] = [];
    const sends: Promise<unknown>[] = [];
    for (let i = 0; i < 50; i++) {
      const what = i % 3 === 0 ? makeFrame(60, i * 20) : frames(20, i * 20);
      sends.push(port.send(what).then(() => order.push(i)));
    }
    const sequences = Array.from({ length: 50 }, (_, i) =>
      i % 3 === 0 ? [i * 20] : Array.from({ length: 20 }, (_, n) => i * 20 + n),
    ).flat();
    for (const sequence of sequences) await wireFrame(sequence);
    await Promise.all(sends);
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));

    async function wireFrame(sequence: number): Promise<void> {
      pending ??= [];
      const patience = new Patience();
      while (pending.length === 0) {
        pending = wire.read().map((bytes) => Uint8Array.from(bytes));
        patience.check(sequence, 'reading');
        await new Promise(setImmediate);
      }
      checkFrameBytes(pending.shift() as Uint8Array, 60, sequence);
    }
  });
  let pending: Uint8Array[] | undefined;

  test('flush() waits until the device has sent everything', async () => {
    const { port, wire } = await openPortAndWire();
    await port.flush();
    await port.send(frames(200));
    await Promise.all([port.flush(), port.flush()]);
    expect(port.inFlight).toBe(0);
    // Everything is at the host already.
    await wire.expect(200, () => 60);
    const sending = port.send(frames(2000));
    await port.flush();
    await sending;
    expect(port.counters.txFrames).toBe(2200);
  });
});

describe('a loop that answers', () => {
  test('for await with send() in it echoes every frame', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 64 });
    const loop = (async () => {
      for await (const batch of port) await port.send(batch);
    })();
    let echoed = 0;
    const COUNT = 3000;
    const read = async () => {
      while (echoed < COUNT) {
        for (const bytes of wire.read()) checkFrameBytes(bytes, 60 + (echoed % 700), echoed++);
        await new Promise(setImmediate);
      }
    };
    const sender = wire.send(
      COUNT,
      (n) => 60 + (n % 700),
      () => echoed,
    );
    await whileGoing(() => echoed, Promise.all([sender, read()]));
    await port.close();
    await loop;
    expect(port.counters).toMatchObject({ rxFrames: COUNT, txFrames: COUNT });
  });

  test('as in the README, without await, survives the end of the port', async () => {
    const { port, wire } = await openPortAndWire({ queueSize: 16 });
    let echoed = 0;
    const loop = (async () => {
      for await (const batch of port) {
        port.send(batch.map(({ bytes }) => Uint8Array.from(bytes)));
        echoed += batch.length;
      }
    })();
    await wire.send(
      1000,
      () => 60,
      () => echoed,
    );
    await port.close();
    await loop;
  });
});

test('a busy stream leaves timers their turn', async () => {
  const { port, wire } = await openPortAndWire();
  let received = 0;
  port.onFrames((batch) => {
    received += batch.length;
  });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const COUNT = 30_000;
  await wire.send(
    COUNT,
    () => 60,
    () => received,
  );
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(20);
});
