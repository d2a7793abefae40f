import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Frame, Sendable } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { ip } from '../support/ip.js';
import { hostToPort, openPort, openPortAndWire, portToHost } from '../support/ports.js';
import { Rig } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const FRAME = makeFrame(60, 0);

/** More changes than the netlink socket's buffer holds: the kernel drops the rest of the messages. */
const flood = (name: string) =>
  Array.from({ length: 600 }, (_, i) => `link set dev ${name} mtu ${1000 + (i % 100)}`);

describe('frames that cannot be sent', () => {
  test('are refused by their size, from 14 to 65557 bytes', async () => {
    const { port } = await openPort();
    for (const length of [0, 13, 65_558, 70_000]) {
      const error = await expectCode(() => port.send(new Uint8Array(length)), 'ERR_FRAME_SIZE');
      expect(error.message).toBe(
        `a frame of ${length} bytes cannot be sent: it has 14 to 65557 bytes`,
      );
      await expectCode(() => port.trySend([FRAME, new Uint8Array(length)]), 'ERR_FRAME_SIZE');
    }
    // One bad frame keeps the others of its call from being sent, too.
    expect(port.counters.txFrames).toBe(0);
    for (const length of [14, 65_557]) await port.send(new Uint8Array(length));
    await port.flush();
    expect(port.counters.txFrames).toBe(2);
  });

  test('are refused by their type', async () => {
    const { port } = await openPort();
    const cases: [unknown, string][] = [
      ['a string of more than 14 letters', 'string'],
      [undefined, 'undefined'],
      [null, 'object'],
      [[1, 2, 3], 'number'],
      [[FRAME, 'x'.repeat(60)], 'string'],
      [new ArrayBuffer(60), 'ArrayBuffer'],
      [new DataView(new ArrayBuffer(60)), 'DataView'],
      [new Uint16Array(60), 'Uint16Array'],
      [{ length: 60 }, 'Object'],
    ];
    for (const [frame, what] of cases) {
      for (const call of [
        () => port.send(frame as Sendable),
        () => port.trySend(frame as Sendable),
      ]) {
        const error = await expectCode(call, 'ERR_INVALID_ARG_TYPE');
        expect(error.message).toBe(`a frame must be a Uint8Array or a Frame, not ${what}`);
      }
    }
    await port.send(Buffer.from(FRAME));
    await port.send([]);
    expect(port.counters.txFrames).toBe(1);
  });

  test('are refused where they outlived the port they came from', async () => {
    const { port: other } = await openPort();
    const { port, wire } = await openPortAndWire();
    let kept: Frame | undefined;
    port.onFrames(([frame]) => {
      kept = frame;
    });
    await wire.send(
      1,
      () => 60,
      () => 0,
    );
    await until(() => kept !== undefined, 'a frame comes');
    await port.close();
    const error = await expectCode(() => other.send(kept as Frame), 'ERR_FRAME_SIZE');
    expect(error.hint).toMatch(/copy/);
    for (let i = 0; i < 1000; i++) await other.send(FRAME);
  });
});

test('a consumer that is no function is refused', async () => {
  const { port } = await openPort();
  await expectCode(() => port.onFrames('frames' as never), 'ERR_INVALID_ARG_TYPE');
  port.onFrames(() => {});
});

test('memory that a device knows cannot be freed first, and the device goes on', async () => {
  const rig = await Rig.start();
  const error = await expectCode(() => rig.memory.close(), 'ERR_MEMORY_IN_USE');
  expect(error.hint).toMatch(/close the device/);
  rig.fill([[1n << 20n, 72]], FRAME);
  rig.addReadable([[1n << 20n, 72]]);
  rig.transmit.publish();
  await rig.transmit.pop();
  await rig.backend.close();
  rig.memory.close();
});

describe('a TAP that is deleted under a port', () => {
  test('ends the iteration and the sends with ENODEV, and the port closes', async () => {
    const { port, name } = await openPort();
    const errors: Error[] = [];
    port.on('error', (error) => errors.push(error));
    const iteration = expectSystemError(
      () => port[Symbol.asyncIterator]().next(),
      'ENODEV',
      'tap',
      name,
    );
    const waiting = port.send(new Array<Uint8Array>(1000).fill(makeFrame(65_000, 0)));
    const ended = waiting.catch((error: Error) => error);
    ip(`link del ${name}`);
    const error = await iteration;
    expect(error.hint).toMatch(/deleted.*close the port/);
    // What waited is either sent into the void or rejected with the same error.
    expect([undefined, error]).toContain(await ended);
    expect(errors).toEqual([error]);
    expect(port.linkUp).toBe(false);
    for (const call of [() => port.send(FRAME), () => port.trySend(FRAME), () => port.flush()]) {
      expect(await expectCode(call, 'ENODEV')).toBe(error);
    }
    expect(port.closed).toBe(false);
    await port.close();
    await expectCode(() => port.send(FRAME), 'ERR_CLOSED');
  });

  test('is noticed without a listener, and where the news of it was lost', async () => {
    const { port, name } = await openPort();
    ip(...flood(name), `link del ${name}`);
    await until(() => !port.linkUp, 'the loss is noticed');
    await expectSystemError(() => port.send(FRAME), 'ENODEV', 'tap', name);
    await port.close();
  });
});

describe('a TAP that is renamed', () => {
  async function renamed() {
    const { port, name } = await openPort();
    const other = tapName();
    ip(
      `link set dev ${name} down`,
      `link set dev ${name} name ${other}`,
      `link set dev ${other} up`,
    );
    const wire = new Wire(other);
    cleanup(() => wire.close());
    return { port, wire, other };
  }

  test('goes on under its new name', async () => {
    const { port, wire, other } = await renamed();
    await hostToPort(wire, port, 50, () => 60);
    await portToHost(port, wire, 50, () => 60);
    expect(port.tap.name).toBe(other);
    // The host's side is still in reach, and after the end it goes by the last name.
    port.tap.interface.setMtu(1400);
    expect(port.tap.interface.mtu).toBe(1400);
    await port.close();
    expect(port.tap.interface.name).toBe(other);
  });

  test('goes on also where messages were lost', async () => {
    const { port, wire, other } = await renamed();
    ip(...flood(other));
    await sleep(100);
    expect(port.linkUp).toBe(true);
    await hostToPort(wire, port, 50, () => 60);
    await portToHost(port, wire, 50, () => 60);
  });
});

describe('a link that is taken down', () => {
  test('refuses sends with ENETDOWN until it is up, and tells of both', async () => {
    const { port, name, wire } = await openPortAndWire();
    const events: boolean[] = [];
    port.on('link', (up) => events.push(up));
    port.tap.interface.setDown();
    await until(() => !port.linkUp, 'the link goes down');
    const error = await expectSystemError(() => port.send(FRAME), 'ENETDOWN', 'send', name);
    expect(error.hint).toContain(`ip link set`);
    await expectCode(() => port.trySend(FRAME), 'ENETDOWN');
    port.tap.interface.setUp();
    // At once: the news that it is up need not have come.
    await port.send(FRAME);
    await until(() => port.linkUp, 'the link comes up');
    expect(events).toEqual([false, true]);
    await until(() => wire.socket.statistics().received > 0 || wire.read().length > 0, 'the frame');
  });

  test('is closed as any other', async () => {
    const { port } = await openPort();
    void port.send(new Array<Uint8Array>(500).fill(makeFrame(65_000, 0)));
    port.tap.interface.setDown();
    await until(() => !port.linkUp, 'the link goes down');
    await port.close();
  });

  test('lets frames through again after it was down', async () => {
    const { port, name } = await openPort();
    for (let round = 0; round < 3; round++) {
      port.tap.interface.setDown();
      await until(() => !port.linkUp, 'the link goes down');
      port.tap.interface.setUp();
      await until(() => port.linkUp, 'the link comes up');
      const wire = new Wire(name);
      await hostToPort(wire, port, 50, () => 60);
      await portToHost(port, wire, 50, () => 60);
      wire.close();
    }
  });
});
