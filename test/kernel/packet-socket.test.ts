import { readSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PacketSocket, type PacketSocketOptions, type Tap } from '../../lib/index.js';
import { keep, newTap } from '../support/device.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { tapName } from '../support/host.js';

/** An EtherType for experiments, which no protocol of the host answers. */
const PROTOCOL = 0x88b5;
const HEADER = 10;
const SLOT = 256;

/** A frame of `length` bytes with a number in it. */
function frame(number: number, length = 60): Buffer {
  const bytes = Buffer.alloc(length, number);
  bytes.fill(0xff, 0, 6).write('020000000001', 6, 'hex');
  bytes.writeUInt16BE(PROTOCOL, 12);
  return bytes;
}

/** A TAP that is up, and its host's side as a socket sees it. */
function wire(options: PacketSocketOptions = {}): { tap: Tap; socket: PacketSocket } {
  const tap = newTap();
  tap.interface.setUp();
  const all = { protocol: PROTOCOL, ...options };
  return { tap, socket: keep(PacketSocket.open(tap.interface.name, all)) };
}

/** The frames that the socket has: up to 64. */
function receive(socket: PacketSocket): { lengths: number[]; frames: Buffer[] } {
  const buffer = Buffer.alloc(64 * SLOT);
  const lengths = new Uint32Array(64);
  const count = socket.receive(buffer, SLOT, lengths);
  const all = Array.from(lengths.subarray(0, count));
  const slot = (i: number, length: number) =>
    buffer.subarray(i * SLOT, i * SLOT + Math.min(length, SLOT));
  return { lengths: all, frames: all.map((length, i) => Buffer.from(slot(i, length))) };
}

/** Lets the TAP's side send `bytes`. */
function inject(tap: Tap, bytes: Buffer): void {
  writeSync(tap.fd, Buffer.concat([Buffer.alloc(HEADER), bytes]));
}

/** The frames of the test's protocol that reached the TAP's side. */
function arrived(tap: Tap): Buffer[] {
  const frames: Buffer[] = [];
  const buffer = Buffer.alloc(2048);
  for (;;) {
    try {
      const bytes = Buffer.from(buffer.subarray(HEADER, readSync(tap.fd, buffer)));
      if (bytes.readUInt16BE(12) === PROTOCOL) frames.push(bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return frames;
      throw error;
    }
  }
}

describe('a packet socket', () => {
  test('receives the frames of its interface in order, and none when none waits', () => {
    const { tap, socket } = wire();
    expect(receive(socket).frames).toEqual([]);
    const frames = [1, 2, 3].map((number) => frame(number));
    for (const bytes of frames) inject(tap, bytes);
    expect(receive(socket)).toEqual({ lengths: [60, 60, 60], frames });
    expect(receive(socket).frames).toEqual([]);
  });

  test('receives 64 frames at a time', () => {
    const { tap, socket } = wire();
    for (let i = 0; i < 70; i++) inject(tap, frame(i));
    expect([receive(socket).lengths.length, receive(socket).lengths.length]).toEqual([64, 6]);
  });

  test('cuts a frame to its slot, and tells its length', () => {
    const { tap, socket } = wire();
    inject(tap, frame(7, 1000));
    const { lengths, frames } = receive(socket);
    expect([lengths, frames[0]?.length]).toEqual([[1000], SLOT]);
    expect(frames[0]).toEqual(frame(7, 1000).subarray(0, SLOT));
  });

  test('receives no frame of another protocol', () => {
    const { tap, socket } = wire({ protocol: PROTOCOL + 1 });
    inject(tap, frame(1));
    expect(receive(socket).frames).toEqual([]);
  });

  test('sends frames to the TAP’s side', () => {
    const { tap, socket } = wire();
    const slots = Buffer.alloc(3 * SLOT);
    for (const i of [0, 1, 2]) slots.set(frame(i + 1), i * SLOT);
    expect(socket.send(slots, SLOT, Uint32Array.of(60, 60, 60), 3)).toBe(3);
    expect(arrived(tap)).toEqual([frame(1), frame(2), frame(3)]);
  });

  test('sends as many as it is told, whatever the buffers hold', () => {
    const { tap, socket } = wire();
    const slots = Buffer.concat([frame(1), frame(2)]);
    expect(socket.send(slots, 60, Uint32Array.of(60, 60), 1)).toBe(1);
    expect(socket.send(slots, 60, Uint32Array.of(60, 60), 64)).toBe(2);
    expect(arrived(tap)).toHaveLength(3);
  });

  test('sees what the host sends, unless it is told not to', () => {
    const tap = newTap();
    tap.interface.setUp();
    const { name } = tap.interface;
    const everything = keep(PacketSocket.open(name));
    const incoming = keep(PacketSocket.open(name, { ignoreOutgoing: true }));
    const sender = keep(PacketSocket.open(name, { protocol: PROTOCOL }));
    sender.send(frame(9), 60, Uint32Array.of(60), 1);
    const ours = ({ frames }: { frames: Buffer[] }) => frames.filter((one) => one.equals(frame(9)));
    expect([ours(receive(everything)).length, ours(receive(incoming)).length]).toEqual([1, 0]);
  });

  test('has a virtio-net header of 10 bytes before every frame where it is asked for', () => {
    const { tap, socket } = wire({ vnetHeader: true });
    inject(tap, frame(5));
    expect(receive(socket)).toEqual({
      lengths: [HEADER + 60],
      frames: [Buffer.concat([Buffer.alloc(HEADER), frame(5)])],
    });
    const bytes = Buffer.concat([Buffer.alloc(HEADER), frame(6)]);
    expect(socket.send(bytes, bytes.length, Uint32Array.of(bytes.length), 1)).toBe(1);
    expect(arrived(tap)).toEqual([frame(6)]);
  });

  test('counts what it saw and what it dropped since it was last asked', () => {
    const { tap, socket } = wire({ receiveBuffer: 1 });
    expect(socket.statistics()).toEqual({ received: 0, dropped: 0 });
    for (let i = 0; i < 200; i++) inject(tap, frame(i));
    const { received, dropped } = socket.statistics();
    expect(received).toBe(200);
    expect(dropped).toBeGreaterThan(0);
    expect(receive(socket).lengths.length).toBe(Math.min(64, received - dropped));
    expect(socket.statistics()).toEqual({ received: 0, dropped: 0 });
  });

  test('calls its listener while frames wait', async () => {
    const { tap, socket } = wire();
    const frames: Buffer[] = [];
    const heard = new Promise<void>((resolve) => {
      socket.onReadable(() => {
        frames.push(...receive(socket).frames);
        if (frames.length === 2) resolve();
      });
    });
    await expectCode(() => socket.onReadable(() => {}), 'ERR_BUSY');
    inject(tap, frame(1));
    inject(tap, frame(2));
    await heard;
    expect(frames).toEqual([frame(1), frame(2)]);
  });

  test('fails with ENETDOWN while the interface is down', async () => {
    const { tap, socket } = wire();
    tap.interface.setDown();
    await expectSystemError(() => receive(socket), 'ENETDOWN', 'recvmmsg(AF_PACKET)');
    const send = () => socket.send(frame(1), 60, Uint32Array.of(60), 1);
    await expectSystemError(send, 'ENETDOWN', 'sendmmsg(AF_PACKET)');
  });

  test('fails with EMSGSIZE for a frame beyond the MTU, EINVAL for less than a header', async () => {
    const { socket } = wire();
    const long = () => socket.send(frame(1, 1600), 1600, Uint32Array.of(1600), 1);
    await expectSystemError(long, 'EMSGSIZE', 'sendmmsg(AF_PACKET)');
    const short = () => socket.send(Buffer.alloc(13), 13, Uint32Array.of(13), 1);
    await expectSystemError(short, 'EINVAL', 'sendmmsg(AF_PACKET)');
  });

  test('is not opened on an interface that is not there, nor without CAP_NET_RAW', async () => {
    const name = tapName();
    await expectSystemError(() => PacketSocket.open(name), 'ENODEV', 'ioctl(SIOCGIFINDEX)', name);
    process.seteuid?.(65534);
    let error: unknown;
    try {
      PacketSocket.open('lo');
    } catch (thrown) {
      error = thrown;
    } finally {
      process.seteuid?.(0);
    }
    await expectSystemError(() => Promise.reject(error), 'EPERM', 'socket(AF_PACKET)', 'lo');
  });

  test('fails with ERR_CLOSED once closed', async () => {
    const { socket } = wire();
    socket.close();
    socket.close();
    await expectCode(() => receive(socket), 'ERR_CLOSED');
    await expectCode(() => socket.statistics(), 'ERR_CLOSED');
  });
});
