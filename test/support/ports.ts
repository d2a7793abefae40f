/** Ports with the wire at their other side, and frames that go through both. */
import { existsSync, writeFileSync } from 'node:fs';
import { NetPort, type NetPortOptions } from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { checkFrameBytes, isOurs, type LengthOf, makeFrame } from './frames.js';
import { tapName, until } from './host.js';
import { Wire, whileGoing } from './wire.js';

export interface OpenPortOptions extends Partial<NetPortOptions> {
  /** MTU of the interface, in bytes. */
  mtu?: number;
}

/** Keeps the host's own IPv6 chatter off an interface, so that counters are exact. */
export function hush(name: string): void {
  const file = `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`;
  if (existsSync(file)) writeFileSync(file, '1');
}

/** A port on a TAP of its own, up and silent; it is closed when the test is over. */
export async function openPort(
  options: OpenPortOptions = {},
): Promise<{ port: NetPort; name: string }> {
  const { mtu, ...rest } = options;
  const name = options.tap ?? tapName();
  const port = await NetPort.open({ tap: name, up: false, ...rest });
  cleanup(() => port.close());
  hush(name);
  if (mtu !== undefined) port.tap.interface.setMtu(mtu);
  port.tap.interface.setUp();
  await until(() => port.linkUp, 'the link comes up');
  return { port, name };
}

/** As {@link openPort}, with a wire for frames of at most `slotSize` bytes. */
export async function openPortAndWire(
  options: OpenPortOptions = {},
  slotSize = 2048,
): Promise<{ port: NetPort; name: string; wire: Wire }> {
  const { port, name } = await openPort(options);
  const wire = new Wire(name, slotSize);
  cleanup(() => wire.close());
  return { port, name, wire };
}

/** Frames `first` to `first + count - 1` from the host to the port, in order, each checked. */
export async function hostToPort(
  wire: Wire,
  port: NetPort,
  count: number,
  lengthOf: LengthOf,
  { first = 0, window = 256 } = {},
): Promise<void> {
  let received = 0;
  const read = async () => {
    for await (const frames of port) {
      for (const { bytes } of frames) {
        if (!isOurs(bytes)) continue;
        const sequence = first + received++;
        checkFrameBytes(bytes, lengthOf(sequence), sequence);
      }
      if (received === count) return;
    }
    throw new Error(`the iteration ended after ${received} frames of ${count}`);
  };
  const sending = wire.send(count, lengthOf, () => received, { first, window });
  await whileGoing(() => received, Promise.all([read(), sending]));
}

/** Frames `first` to `first + count - 1` from the port to the host, in order, each checked. */
export async function portToHost(
  port: NetPort,
  wire: Wire,
  count: number,
  lengthOf: LengthOf,
  { first = 0 } = {},
): Promise<void> {
  const start = wire.received;
  const send = async () => {
    for (let sent = 0; sent < count; ) {
      const n = Math.min(64, count - sent);
      const frames = Array.from({ length: n }, (_, i) =>
        makeFrame(lengthOf(first + sent + i), first + sent + i),
      );
      await port.send(frames);
      sent += n;
      // The socket's buffer holds 400 of the longest frames.
      await until(() => sent - (wire.received - start) < 256, 'the host reads');
    }
  };
  await Promise.all([send(), wire.expect(count, lengthOf, first)]);
}
