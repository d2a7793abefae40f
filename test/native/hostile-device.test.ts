/**
 * A thread that writes over a ring as fast as it can while the driver works on it: what the driver
 * reads may be another thing whenever it looks again.
 */
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { GuestMemory, placeVring, VringDriver, vringBytes } from '../../lib/index.js';
import { BUILT } from '../support/child.js';
import { closedAfterwards } from '../support/ring.js';

const SIZE = 8;
const BUFFER = 64;
/** Chains that must come back, and rings that must break. */
const ENOUGH = 500;
/** How long the other thread may take for it, on a busy machine, in ms. */
const LIMIT = 40_000;

/** Plausible words, mostly, so that the ring lives for a while: small ids, lengths, steps of the index. */
const SCRIBBLER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { library, fd, bytes, used, size, stop } = workerData;
  import(library).then(({ GuestMemory }) => {
    const memory = GuestMemory.create([{ guestAddress: 0n, size: bytes, backing: { fd } }]);
    const [{ buffer }] = memory.regions;
    const all = new Uint32Array(buffer, 0, bytes / 4);
    const elements = new Uint32Array(buffer, used + 4, 2 * size);
    const index = new Uint16Array(buffer, used, 2);
    const stopped = new Int32Array(stop);
    parentPort.postMessage('ready');
    let x = 1;
    const random = (limit) => {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      return (x >>> 8) % limit;
    };
    for (let i = 0; Atomics.load(stopped, 0) === 0; i++) {
      const at = random(size);
      elements[2 * at] = random(size + (i % 64 === 0 ? 1 : 0));
      elements[2 * at + 1] = random(8) * 10;
      index[1] = random(4);
      if (i % 512 === 0) all[random(all.length)] = random(2 ** 24);
    }
    memory.close();
  });
`;

test('memory that changes at any moment breaks the ring, and nothing but the ring', async () => {
  const bytes = Math.ceil((vringBytes(SIZE) + SIZE * BUFFER) / 4096) * 4096;
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: bytes }]));
  const addresses = placeVring(0n, SIZE);
  const driver = new VringDriver(memory, { size: SIZE, addresses });
  const stop = new SharedArrayBuffer(4);
  const fd = memory.regions[0]?.fd;
  const worker = new Worker(SCRIBBLER, {
    eval: true,
    workerData: { library: BUILT, fd, bytes, used: Number(addresses.used), size: SIZE, stop },
  });
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));

  let inFlight = new Set<number>();
  const seen = { back: 0, broken: 0 };
  const post = () => {
    for (let head = 0; head >= 0; ) {
      head = driver.addWritable(vringBytes(SIZE), 0, BUFFER);
      if (head >= 0 && inFlight.has(head)) throw new Error(`chain ${head} is in flight`);
      if (head >= 0) inFlight.add(head);
    }
    driver.publish();
  };
  const takeBack = () => {
    let left = SIZE;
    for (let head = driver.pop(); head >= 0; head = driver.pop()) {
      if (!inFlight.delete(head)) throw new Error(`chain ${head} was not in flight`);
      if (driver.usedLength > BUFFER) throw new Error(`${driver.usedLength} bytes came`);
      if (--left < 0) throw new Error('more came back than was out');
      seen.back++;
    }
  };
  const deadline = Date.now() + LIMIT;
  const enough = () => seen.back >= ENOUGH && seen.broken >= ENOUGH;
  for (let round = 0; !enough(); round++) {
    if (round % 1000 === 0 && Date.now() > deadline) break;
    try {
      post();
      driver.enableCalls();
      takeBack();
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_RING_BROKEN') throw error;
      seen.broken++;
      driver.reset();
      inFlight = new Set();
    }
    if (driver.free + driver.inFlight !== SIZE || driver.inFlight !== inFlight.size) {
      throw new Error(`${driver.free} free, ${driver.inFlight} in flight of ${inFlight.size}`);
    }
  }
  Atomics.store(new Int32Array(stop), 0, 1);
  await new Promise((resolve) => worker.once('exit', resolve));
  expect(seen.back).toBeGreaterThanOrEqual(ENOUGH);
  expect(seen.broken).toBeGreaterThanOrEqual(ENOUGH);
});
