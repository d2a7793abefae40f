import { readSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PacketSocket, type Tap } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { keep, newTap } from '../support/device.js';
import { expectSystemError } from '../support/errors.js';

/** An EtherType for experiments, which no protocol of the host answers. */
const ETH_P_TEST = 0x88b5;
const HEADER = 10;

/** A frame to `to` that only its sender and receiver know. */
function frame(to: Uint8Array): Buffer {
  const from = Buffer.from('020000000001', 'hex');
  return Buffer.concat([to, from, Buffer.from([0x88, 0xb5]), Buffer.alloc(46, 0x5a)]);
}

/** Sends `bytes` out of the interface; says whether the TAP's reader gets it. */
function arrives(tap: Tap, bytes: Buffer): boolean {
  const socket = keep(PacketSocket.open(tap.interface.name));
  const got = Buffer.alloc(2048);
  // What the host sends by itself, as router solicitations, is not ours.
  const next = () => {
    try {
      return readSync(tap.fd, got);
    } catch {
      return -1;
    }
  };
  while (next() > 0);
  socket.send(bytes, bytes.length, Uint32Array.of(bytes.length), 1);
  socket.close();
  for (let length = next(); length > 0; length = next()) {
    if (got.readUInt16BE(tap.vnetHeaderSize + 12) === ETH_P_TEST) return true;
  }
  return false;
}

describe('filters of what reaches the reader of a TAP', () => {
  const here = Buffer.from('020000000002', 'hex');
  const there = Buffer.from('020000000003', 'hex');
  /** Classic BPF: drop everything; keep everything. */
  const DROP = Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0);
  const KEEP = Uint8Array.of(6, 0, 0, 0, 0xff, 0xff, 0, 0);

  function upTap(): Tap {
    const tap = newTap();
    tap.interface.setUp();
    return tap;
  }

  test('without one every frame arrives', () => {
    const tap = upTap();
    expect([arrives(tap, frame(here)), arrives(tap, frame(there))]).toEqual([true, true]);
  });

  test('a filter of addresses lets frames to these through, until it is emptied', () => {
    const tap = upTap();
    expect(tap.setTxFilter(here)).toBe(1);
    expect([arrives(tap, frame(here)), arrives(tap, frame(there))]).toEqual([true, false]);
    expect(tap.setTxFilter(new Uint8Array(0))).toBe(0);
    expect(arrives(tap, frame(there))).toBe(true);
  });

  test('a program drops and keeps, until it is detached', () => {
    const tap = upTap();
    tap.attachFilter(DROP);
    expect(native.tunGetFilter(tap.handle)).toBe(1);
    expect(arrives(tap, frame(here))).toBe(false);
    tap.attachFilter(KEEP);
    expect(arrives(tap, frame(here))).toBe(true);
    tap.attachFilter(DROP);
    tap.detachFilter();
    expect(arrives(tap, frame(here))).toBe(true);
  });

  test('a program that is none fails with EINVAL', async () => {
    const tap = newTap();
    const { name } = tap.interface;
    const empty = () => tap.attachFilter(new Uint8Array(0));
    await expectSystemError(empty, 'EINVAL', 'ioctl(TUNATTACHFILTER)', name);
    const unknown = () => tap.attachFilter(new Uint8Array(8).fill(0xff));
    await expectSystemError(unknown, 'EINVAL', 'ioctl(TUNATTACHFILTER)', name);
  });

  test('a TUN has none of either: EINVAL', async () => {
    const tun = newTap({ mode: 'tun' });
    const { name } = tun.interface;
    await expectSystemError(() => tun.setTxFilter(here), 'EINVAL', 'ioctl(TUNSETTXFILTER)', name);
    await expectSystemError(() => tun.attachFilter(DROP), 'EINVAL', 'ioctl(TUNATTACHFILTER)', name);
    await expectSystemError(() => tun.detachFilter(), 'EINVAL', 'ioctl(TUNDETACHFILTER)', name);
  });
});

describe('a queue of a TAP', () => {
  test('is detached and attached again, and each once only: EINVAL', async () => {
    const tap = newTap({ multiQueue: true });
    const { name } = tap.interface;
    const set = (state: 'attached' | 'detached') => () => tap.setQueue(state);
    await expectSystemError(set('attached'), 'EINVAL', 'ioctl(TUNSETQUEUE)', name);
    tap.setQueue('detached');
    await expectSystemError(set('detached'), 'EINVAL', 'ioctl(TUNSETQUEUE)', name);
    tap.setQueue('attached');
  });

  test('that is the only one possible cannot be detached: EINVAL', async () => {
    const tap = newTap();
    const detach = () => tap.setQueue('detached');
    await expectSystemError(detach, 'EINVAL', 'ioctl(TUNSETQUEUE)', tap.interface.name);
  });

  test('takes no program for one that is not open: EBADF', async () => {
    const tap = newTap({ multiQueue: true });
    const { name } = tap.interface;
    tap.setSteeringEbpf(-1);
    tap.setFilterEbpf(-1);
    const steer = () => tap.setSteeringEbpf(999);
    await expectSystemError(steer, 'EBADF', 'ioctl(TUNSETSTEERINGEBPF)', name);
    const filter = () => tap.setFilterEbpf(999);
    await expectSystemError(filter, 'EBADF', 'ioctl(TUNSETFILTEREBPF)', name);
  });

  test('takes frames of its side to the host’s', () => {
    const tap = newTap();
    tap.interface.setUp();
    const socket = keep(PacketSocket.open(tap.interface.name, { protocol: ETH_P_TEST }));
    const bytes = frame(tap.interface.mac);
    writeSync(tap.fd, Buffer.concat([Buffer.alloc(HEADER), bytes]));
    const got = Buffer.alloc(2048);
    const lengths = new Uint32Array(1);
    expect(socket.receive(got, got.length, lengths)).toBe(1);
    expect(got.subarray(0, lengths[0])).toEqual(bytes);
  });
});
