/**
 * The library without a promise for each batch, as a program uses it that leaves no garbage: `trySend` and
 * `'drain'` one way, `onFrames` the other. Its answers tell what the library allocated meanwhile.
 */
import { NetPort, type Sendable } from '../../../lib/index.js';
import { allocatedBy } from './allocations.js';
import { clocked, obey, type Took } from './commands.js';
import { makeBatches, QUEUE_SIZE } from './frames.js';

let port: NetPort | undefined;
/** Frames that came, and the number at which to say so. */
let received = 0;
let expected = 0;
let enough = () => {};
let sum = 0;

function opened(): NetPort {
  if (!port) throw new Error('no port is open');
  return port;
}

function send(batches: Sendable[][], count: number): Promise<void> {
  const to = opened();
  let sent = 0;
  let next = 0;
  /** Frames of the next batch that are on their way. */
  let done = 0;
  return new Promise((resolve) => {
    const go = () => {
      while (sent < count) {
        const batch = batches[next] as Sendable[];
        if (done === 0) done = to.trySend(batch);
        else while (done < batch.length && to.trySend(batch[done] as Sendable) === 1) done++;
        if (done < batch.length) return;
        sent += done;
        done = 0;
        next = next + 1 === batches.length ? 0 : next + 1;
      }
      to.off('drain', go);
      resolve();
    };
    to.on('drain', go);
    go();
  });
}

function receive(count: number): Promise<void> {
  expected = received + count;
  return new Promise((resolve) => {
    enough = resolve;
    if (received >= expected) resolve();
  });
}

const LIBRARY = new URL('../../../lib/', import.meta.url).href;

async function watched(count: number, work: () => Promise<void>): Promise<Took> {
  let took: Took | undefined;
  const garbage = await allocatedBy(LIBRARY, async () => {
    took = await clocked(count, work);
  });
  return { ...(took as Took), garbage };
}

await obey({
  open: ([tap = '']) =>
    clocked(0, async () => {
      port = await NetPort.open({ tap, queueSize: QUEUE_SIZE });
      port.onFrames((frames) => {
        for (const frame of frames) sum += frame.bytes[0] as number;
        received += frames.length;
        if (received >= expected) enough();
      });
    }),
  send: async ([length, batch, count]) => {
    const batches = makeBatches(Number(length), Number(batch));
    const took = await watched(Number(count), () => send(batches, Number(count)));
    await opened().flush();
    return took;
  },
  receive: ([, count]) => watched(Number(count), () => receive(Number(count))),
  close: () => clocked(0, () => opened().close()),
});
process.exitCode = Number.isNaN(sum) ? 1 : 0;
