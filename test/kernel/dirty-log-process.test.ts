import { expect, test } from 'vitest';
import { BUILT, runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';

holdNothingLeaks();

/** Rings with a dirty log behind them, which nobody closes. */
const WORKER = `
  import { parentPort, workerData } from 'node:worker_threads';
  import * as vhost from '${BUILT}';
  const SIZE = 64;
  const memory = vhost.GuestMemory.create([{ guestAddress: 0n, size: 1 << 20 }]);
  const features = 1n << 32n;
  const tap = vhost.Tap.open(workerData);
  tap.setVnetHeaderSize(12);
  tap.interface.setUp();
  const ends = [0n, 0x8000n].map((at) => {
    const addresses = vhost.placeVring(at, SIZE);
    const ring = new vhost.VringDriver(memory, { size: SIZE, addresses });
    const [kick, call] = [vhost.EventFd.create(), vhost.EventFd.create()];
    return { ring, kick, call, config: { size: SIZE, addresses, base: 0, kick, call } };
  });
  const [receive, transmit] = ends;
  const log = vhost.DirtyLog.create(memory);
  const backend = vhost.KernelBackend.open([tap]);
  await backend.setDirtyLog(log);
  const pairs = [{ receive: receive.config, transmit: transmit.config }];
  await backend.start({ memory, features, pairs });
  const post = () => {
    while (receive.ring.addWritable(0x10000 + Math.floor(Math.random() * 400) * 2048, 0, 2048) >= 0);
    if (receive.ring.publish()) receive.kick.signal();
  };
  post();
  let frames = 0;
  setInterval(() => {
    while (receive.ring.pop() >= 0) frames++;
    post();
    if (frames > 0 && [...log.harvest()].length > 0) parentPort.postMessage(frames);
  }, 1);
`;

test('a thread that ends with a dirty log in use leaves nothing behind, and no harm', async () => {
  const name = tapName();
  const { code, stdout, stderr } = await runChild(`
    import { readFileSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const url = new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(WORKER)}));
    const slot = new Uint8Array(1000).fill(0xff);
    for (let round = 0; round < 8; round++) {
      const worker = new Worker(url, { workerData: '${name}' });
      worker.on('error', (error) => { throw error; });
      let flood;
      await new Promise((resolve) => {
        worker.on('message', resolve);
        const begin = () => {
          try {
            const socket = vhost.PacketSocket.open('${name}');
            flood = setInterval(() => {
              try {
                for (let i = 0; i < 20; i++) socket.send(slot, 1000, Uint32Array.of(1000), 1);
              } catch {
                // The TAP goes with the thread.
                clearInterval(flood);
                socket.close();
              }
            }, 1);
          } catch {
            setTimeout(begin, 5);
          }
        };
        begin();
      });
      await worker.terminate();
      await new Promise((resolve) => setTimeout(resolve, 50));
      clearInterval(flood);
    }
    const left = readFileSync('/proc/self/maps', 'utf8').split('\\n');
    console.log(left.filter((line) => line.includes('memfd:guest-memory')).length);
    process.exit(0);
  `);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout.trim()).toBe('0');
});
