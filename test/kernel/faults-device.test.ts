/** What happens when vhost's descriptor, or the memory that it knows, goes away under a port. */
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd, GuestMemory, NetPort, Tap, VhostNet } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { hostToPort, openPort, openPortAndWire } from '../support/ports.js';

holdNothingLeaks();

const FRAME = makeFrame(60, 0);

/** The numbers of this process's descriptors of vhost-net. */
function vhostNumbers(): number[] {
  return readdirSync('/proc/self/fd')
    .filter((number) => {
      try {
        return readlinkSync(`/proc/self/fd/${number}`) === '/dev/vhost-net';
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** A file that takes the lowest free number; it must still be that file afterwards. */
function bystander(): { number: number; isThere(): boolean } {
  const number = openSync('/proc/self/status', 'r');
  const { ino, dev } = fstatSync(number);
  cleanup(() => closeSync(number));
  const isThere = () => {
    const now = fstatSync(number);
    return now.ino === ino && now.dev === dev;
  };
  return { number, isThere };
}

/** A port whose end is the test's own business. */
async function openFragile(): Promise<{ port: NetPort; name: string }> {
  const name = tapName();
  const port = await NetPort.open({ tap: name });
  cleanup(() => port.close().catch(() => {}));
  return { port, name };
}

describe('a vhost descriptor whose number somebody else closed', () => {
  test('ends with EBADF in words when the port is closed, which gives all else back', async () => {
    const { port, name } = await openFragile();
    await port.send(FRAME);
    await port.flush();
    closeSync(vhostNumbers()[0] as number);
    // Nobody serves the rings any more; what is sent fills them, and waits.
    expect(port.trySend(FRAME)).toBe(1);
    const waiting = port.send(new Array<Uint8Array>(1000).fill(FRAME));
    const ended = expectCode(() => waiting, 'ERR_CLOSED');
    const error = await expectSystemError(() => port.close(), 'EBADF', 'close');
    expect(error.hint).toMatch(/somebody else closed/);
    await ended;
    // The same error again, and nothing is closed twice.
    await expectCode(() => port.close(), 'EBADF');
    // The name is free again.
    const again = Tap.open(name, { exclusive: true });
    await again.closeAsync();
  });

  test('is not closed once more where the number is a file now', async () => {
    const { port } = await openFragile();
    const [number] = vhostNumbers() as [number];
    closeSync(number);
    const file = bystander();
    expect(file.number).toBe(number);
    await expectCode(() => port.close(), 'EBADF');
    expect(file.isThere()).toBe(true);
  });

  test('is nothing that a class takes for its own: each says EBADF and leaves the file alone', async () => {
    const objects = [
      VhostNet.open(),
      Tap.open(tapName()),
      EventFd.create(),
      VhostNet.open(),
      Tap.open(tapName()),
    ];
    for (const object of objects) {
      const number = object.fd;
      closeSync(number);
      const file = bystander();
      expect(file.number).toBe(number);
      await expectCode(
        () => (object === objects.at(-1) ? object.closeAsync() : object.close()),
        'EBADF',
      );
      expect(object.closed).toBe(true);
      expect(file.isThere()).toBe(true);
    }
  });
});

describe('memory that vhost no longer knows', () => {
  /** Another object for the port's device. */
  function deviceOf(): VhostNet {
    const vhost = VhostNet.fromFd(vhostNumbers()[0] as number);
    cleanup(() => vhost.close());
    return vhost;
  }

  test('ends the transmit ring with the next frame: the port fails in words', async () => {
    const { port } = await openPort();
    await port.send(FRAME);
    await port.flush();
    const errors: Error[] = [];
    port.on('error', (error) => errors.push(error));
    const vhost = deviceOf();
    vhost.setMemTable([]);
    port.trySend(FRAME);
    await until(() => errors.length > 0, 'the port fails');
    expect(errors).toMatchObject([
      {
        code: 'ERR_RING_BROKEN',
        message: 'vhost gave up the transmit ring of queue pair 0',
        hint: expect.stringContaining('dmesg'),
      },
    ]);
    expect(await expectCode(() => port.send(FRAME), 'ERR_RING_BROKEN')).toBe(errors[0]);
    vhost.close();
    await port.close();
  });

  test('ends the receive ring with the next frame: the iteration throws it', async () => {
    const { port, wire } = await openPortAndWire();
    await hostToPort(wire, port, 300, () => 60);
    const next = port[Symbol.asyncIterator]().next();
    const vhost = deviceOf();
    vhost.setMemTable([]);
    const failed = expectCode(() => next, 'ERR_RING_BROKEN');
    await wire.send(
      1,
      () => 60,
      () => 0,
    );
    const error = await failed;
    expect(error.message).toBe('vhost gave up the receive ring of queue pair 0');
    expect(error.hint).toContain('dmesg');
    vhost.close();
    await port.close();
  });

  test('can be replaced by other memory, which the ring does not reach into', async () => {
    const { port } = await openPort();
    const other = GuestMemory.create([{ guestAddress: 1n << 40n, size: 65_536 }]);
    cleanup(() => other.close());
    const vhost = deviceOf();
    vhost.setMemTable(other);
    const failed = new Promise<Error>((resolve) => port.once('error', resolve));
    port.trySend(FRAME);
    expect(await failed).toMatchObject({ code: 'ERR_RING_BROKEN' });
    vhost.close();
    await port.close();
  });
});
