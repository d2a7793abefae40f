/** The library as the back end of a vhost-user connection: it listens, and serves whoever comes. */
import { once } from 'node:events';
import { VhostUserBackend, type VhostUserDevice } from '../../../lib/index.js';
import { BATCHES_PER_TURN, obeyAs, repeat, type Waiting } from './moving.js';

let backend: VhostUserBackend | undefined;
let device: VhostUserDevice | undefined;
let waits: Waiting = 'sleeping';
let sent = 0;
let received = 0;
/** Of the first bytes of all frames, lest they be left out. */
let sum = 0;

function connected(): VhostUserDevice {
  if (!device) throw new Error('no front end is connected');
  return device;
}

function look(frames: ReturnType<VhostUserDevice['dequeue']>): void {
  for (const frame of frames) sum += frame.bytes[0] as number;
  received += frames.length;
}

await obeyAs({
  async open(path, waiting) {
    waits = waiting;
    backend = VhostUserBackend.listen({ path, queuePairs: 1 });
    backend.on('connect', (one) => {
      device ??= one;
      if (waits === 'sleeping') one.onFrames(look);
    });
  },
  async send(batches, going) {
    const to = connected();
    let next = 0;
    /** Frames of the next batch that the guest has. */
    let done = 0;
    const step = () => {
      const frames = batches[next] ?? [];
      const taken = to.enqueue(done === 0 ? frames : frames.slice(done));
      sent += taken;
      done += taken;
      if (done < frames.length) return false;
      done = 0;
      next = next + 1 === batches.length ? 0 : next + 1;
      return true;
    };
    if (waits === 'polling') return repeat(going, step);
    for (let batch = 1; going(); batch++) {
      if (!step()) await to.whenRoom();
      if (batch % BATCHES_PER_TURN === 0) await new Promise(setImmediate);
    }
  },
  async receive(going) {
    if (waits === 'sleeping') return;
    const from = connected();
    await repeat(going, () => look(from.dequeue()));
    from.release();
  },
  counts: () => ({ sent, received }),
  async close() {
    const closing = backend;
    backend = device = undefined;
    if (!closing) return;
    const gone = [...closing.devices].map(() => once(closing, 'disconnect'));
    closing.close();
    await Promise.all(gone);
  },
});
process.exitCode = Number.isNaN(sum) ? 1 : 0;
