import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { BUILT } from '../support/child.js';
import { tapName } from '../support/host.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';

/** Rings behind a dirty log, with frames coming in, which nobody closes. */
const SOURCE = `
  const { parentPort, workerData } = require('node:worker_threads');
  import(workerData.library).then(async (vhost) => {
    const SIZE = 64;
    const memory = vhost.GuestMemory.create([{ guestAddress: 0n, size: 1 << 20 }]);
    const tap = vhost.Tap.open(workerData.name);
    tap.setVnetHeaderSize(12);
    tap.interface.setUp();
    const [receive, transmit] = [0n, 0x8000n].map((at) => {
      const addresses = vhost.placeVring(at, SIZE);
      const ring = new vhost.VringDriver(memory, { size: SIZE, addresses });
      const [kick, call] = [vhost.EventFd.create(), vhost.EventFd.create()];
      return { ring, kick, config: { size: SIZE, addresses, base: 0, kick, call } };
    });
    const log = vhost.DirtyLog.create(memory);
    const backend = vhost.KernelBackend.open([tap]);
    await backend.setDirtyLog(log);
    const pairs = [{ receive: receive.config, transmit: transmit.config }];
    await backend.start({ memory, features: 1n << 32n, pairs });
    const socket = vhost.PacketSocket.open(workerData.name, { protocol: 0x88b5 });
    const frame = new Uint8Array(1000).fill(0xff);
    globalThis.kept = { memory, tap, log, backend, socket };
    let frames = 0;
    const work = () => {
      while (receive.ring.pop() >= 0) frames++;
      for (let i = 0; receive.ring.addWritable(0x10000 + (frames + i) % 400 * 2048, 0, 2048) >= 0; i++);
      if (receive.ring.publish()) receive.kick.signal();
      for (let i = 0; i < 50; i++) socket.send(frame, 1000, Uint32Array.of(1000), 1);
      if (frames > 100 && [...log.harvest()].length > 0) parentPort.postMessage(frames);
      setImmediate(work);
    };
    work();
  });
`;

test('threads that end with a dirty log in use leave nothing behind', async () => {
  const before = await leakSnapshot();
  for (let round = 0; round < 8; round++) {
    const workerData = { library: BUILT, name: tapName() };
    const worker = new Worker(SOURCE, { eval: true, workerData });
    const frames = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    expect(frames).toBeGreaterThan(100);
    await setTimeout(round);
    await worker.terminate();
  }
  await expectNoLeaks(before);
});
