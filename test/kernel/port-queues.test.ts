import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { MacVtap, NetPort, Tap } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { tapName, until } from '../support/host.js';
import { hostToPort, hush, portToHost } from '../support/ports.js';
import { macvtapPair } from '../support/veth.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

test('a port serves a macvtap that somebody opened', async () => {
  const { name, there } = macvtapPair();
  const queue = MacVtap.open(name);
  const port = await NetPort.open({ queues: [{ tap: queue.fd }] });
  cleanup(() => port.close());
  queue.close();
  expect(port.tap.interface.name).toBe(name);
  const wire = new Wire(there, 16_384);
  cleanup(() => wire.close());
  const lengthOf = (sequence: number) => 60 + ((sequence * 977) % 8000);
  await hostToPort(wire, port, 200, lengthOf, { window: 64 });
  await portToHost(port, wire, 200, lengthOf);
});

test('a port serves a TUN: its frames are IP packets', async () => {
  const tun = Tap.open(tapName(), { mode: 'tun' });
  const { name } = tun;
  hush(name);
  const port = await NetPort.open({ queues: [{ tap: tun.fd }] });
  cleanup(() => port.close());
  tun.close();
  port.tap.interface.addAddress('10.78.0.1/24');
  port.tap.interface.setUp();
  port.onFrames((frames) => {
    for (const { bytes } of frames) {
      // Back as it came, with the ends swapped: the sums stay right.
      const packet = Uint8Array.from(bytes);
      packet.set(bytes.subarray(12, 16), 16);
      packet.set(bytes.subarray(16, 20), 12);
      packet.set(bytes.subarray(20, 22), 22);
      packet.set(bytes.subarray(22, 24), 20);
      port.trySend(packet);
    }
  });
  const socket = createSocket('udp4');
  cleanup(() => socket.close());
  socket.bind(0, '10.78.0.1');
  await once(socket, 'listening');
  const echoed: string[] = [];
  socket.on('message', (message) => echoed.push(message.toString()));
  const texts = Array.from({ length: 40 }, (_, i) => `packet ${i} `.repeat(i + 1));
  for (const text of texts) socket.send(text, 7777, '10.78.0.2');
  await until(() => echoed.length === texts.length, 'every packet comes back');
  expect(echoed).toEqual(texts);
});
