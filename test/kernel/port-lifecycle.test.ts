import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Frame, NetPort, Tap } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { hostToPort, openPort, openPortAndWire } from '../support/ports.js';

holdNothingLeaks();

const exists = (name: string) => existsSync(`/sys/class/net/${name}`);
const FRAME = makeFrame(60, 0);
/** It takes the device longer to send it than us to queue it. */
const LONG = makeFrame(65_000, 0);

/** A TAP that nobody has open, until the test is over. */
async function persistentTap(): Promise<string> {
  const name = tapName();
  const persist = async (on: boolean) => {
    const tap = Tap.open(name);
    tap.setPersist(on);
    await tap.closeAsync();
  };
  await persist(true);
  cleanup(() => persist(false));
  return name;
}

describe('opening by name', () => {
  test('creates the TAP, up, and closing removes it', async () => {
    const name = tapName();
    const port = await NetPort.open({ tap: name });
    cleanup(() => port.close());
    expect(exists(name)).toBe(true);
    expect(port.tap.created).toBe(true);
    expect(port.linkUp).toBe(true);
    expect(port.tap.interface.running).toBe(true);
    await port.close();
    expect(exists(name)).toBe(false);
  });

  test('takes a free number for %d', async () => {
    const ports = await Promise.all([1, 2].map(() => NetPort.open({ tap: 'vnt%d' })));
    for (const port of ports) cleanup(() => port.close());
    const names = ports.map((port) => port.tap.interface.name);
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name).toMatch(/^vnt\d+$/);
  });

  test('joins a persistent TAP, which stays as it was', async () => {
    const name = await persistentTap();
    for (let round = 0; round < 2; round++) {
      const port = await NetPort.open({ tap: name });
      expect(port.tap.created).toBe(false);
      await port.send(FRAME);
      await port.close();
      expect(exists(name)).toBe(true);
    }
    await expectCode(() => NetPort.open({ tap: name, exclusive: true }), 'EBUSY');
  });

  test('leaves the link down where that is asked for', async () => {
    const port = await NetPort.open({ tap: tapName(), up: false });
    cleanup(() => port.close());
    expect(port.linkUp).toBe(false);
    expect(port.tap.interface.up).toBe(false);
  });
});

describe('closing gives everything back', () => {
  async function closesClean(use: (port: NetPort, name: string) => unknown): Promise<void> {
    const before = await leakSnapshot();
    const port = await NetPort.open({ tap: tapName() });
    try {
      await use(port, port.tap.interface.name);
    } finally {
      await port.close();
    }
    expect(port.closed).toBe(true);
    await expectNoLeaks(before);
  }

  test('while idle', () => closesClean(() => {}));

  test('with await using', async () => {
    const before = await leakSnapshot();
    const port = await NetPort.open({ tap: tapName() });
    await port[Symbol.asyncDispose]();
    await expectNoLeaks(before);
  });

  test('twice, and by several at once, and tells it once', () =>
    closesClean(async (port) => {
      let told = 0;
      port.on('close', () => told++);
      await Promise.all([port.close(), port.close(), port[Symbol.asyncDispose]()]);
      await port.close();
      expect(told).toBe(1);
    }));

  test('during traffic both ways', async () => {
    const { port, wire } = await openPortAndWire();
    let frames = 0;
    port.onFrames((batch) => {
      frames += batch.length;
      port.trySend(batch);
    });
    // As fast as it goes, whatever is lost, until the interface is gone under the sender.
    const all = () => Number.POSITIVE_INFINITY;
    const gone = { code: expect.stringMatching(/ENXIO|ENETDOWN|ENODEV/) };
    const sending = expect(wire.send(1_000_000, () => 60, all)).rejects.toMatchObject(gone);
    await until(() => frames > 1000, 'traffic runs');
    await port.close();
    const seen = frames;
    await sending;
    expect(frames).toBe(seen);
  });

  test('with sends that wait for room: they are rejected', () =>
    closesClean(async (port) => {
      const many = new Array<Uint8Array>(1000).fill(LONG);
      const sends = [port.send(many), port.send(many), port.send(FRAME)];
      const closing = port.close();
      for (const send of sends) await expectCode(() => send, 'ERR_CLOSED');
      await closing;
    }));

  test('with sends that wait and that nobody looks at: the process goes on', () =>
    closesClean(async (port) => {
      void port.send(new Array<Uint8Array>(1000).fill(LONG));
      expect(port.trySend(FRAME)).toBe(0);
      await port.close();
    }));

  test('with an iteration that waits: it ends', () =>
    closesClean(async (port) => {
      const iterator = port[Symbol.asyncIterator]();
      const batches: number[] = [];
      const loop = (async () => {
        for await (const frames of iterator) batches.push(frames.length);
      })();
      await new Promise((resolve) => setTimeout(resolve, 50));
      await port.close();
      await loop;
      expect(await iterator.next()).toEqual({ done: true, value: undefined });
    }));

  test('after the device has sent what it was given', async () => {
    // A TAP that persists, so that what came can be read after the port is gone.
    const name = await persistentTap();
    const { port, wire } = await openPortAndWire({ tap: name });
    await port.send(Array.from({ length: 200 }, (_, i) => makeFrame(60, i)));
    await port.close();
    await wire.expect(200, () => 60);
  });

  test('twenty times over', async () => {
    const before = await leakSnapshot();
    for (let i = 0; i < 5; i++) {
      const ports = await Promise.all(
        [0, 1, 2, 3].map(() => NetPort.open({ tap: tapName(), queueSize: 64 })),
      );
      await Promise.all(ports.map((port) => port.close()));
    }
    await expectNoLeaks(before);
  });
});

test('after close every method says so', async () => {
  const { port } = await openPort();
  await port.send(FRAME);
  await port.close();
  await expectCode(() => port.send(FRAME), 'ERR_CLOSED');
  await expectCode(() => port.trySend(FRAME), 'ERR_CLOSED');
  await expectCode(() => port.flush(), 'ERR_CLOSED');
  await expectCode(() => port.onFrames(() => {}), 'ERR_CLOSED');
  await expectCode(() => port[Symbol.asyncIterator](), 'ERR_CLOSED');
  await expectCode(() => port.tap.name, 'ERR_CLOSED');
  // What only tells goes on telling.
  expect(port.counters.txFrames).toBe(1);
  expect(port.closed).toBe(true);
  expect(() => port.ref().unref()).not.toThrow();
});

describe('a port has one consumer', () => {
  test('a second one is refused', async () => {
    const { port } = await openPort();
    port.onFrames(() => {});
    await expectCode(() => port.onFrames(() => {}), 'ERR_BUSY');
    await expectCode(() => port[Symbol.asyncIterator](), 'ERR_BUSY');
  });

  test('an iterator that returned makes room, and stays done', async () => {
    const { port, wire } = await openPortAndWire();
    const first = port[Symbol.asyncIterator]();
    const waiting = first.next();
    await expectCode(() => port[Symbol.asyncIterator](), 'ERR_BUSY');
    await expectCode(() => first.next(), 'ERR_BUSY');
    await first.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const second = port[Symbol.asyncIterator]();
    await first.return?.();
    expect(await first.next()).toEqual({ done: true, value: undefined });
    const next = second.next();
    await wire.send(
      1,
      () => 60,
      () => 0,
    );
    expect((await next).value).toHaveLength(1);
    await second.return?.();
    // And a callback after it.
    let frames: Frame[] = [];
    port.onFrames((batch) => {
      frames = [...batch];
    });
    await wire.send(
      1,
      () => 60,
      () => 0,
    );
    await until(() => frames.length === 1, 'the callback gets the frame');
  });

  test('a loop that breaks can be followed by another', async () => {
    const { port, wire } = await openPortAndWire();
    for (let round = 0; round < 3; round++) {
      await hostToPort(wire, port, 100, () => 60, { first: 100 * round });
    }
  });
});
