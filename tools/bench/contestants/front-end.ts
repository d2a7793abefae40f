/** The library as the front end of a vhost-user connection: a port on a socket. */
import { NetPort } from '../../../lib/index.js';
import { QUEUE_SIZE } from './frames.js';
import { BATCHES_PER_TURN, obeyAs, repeat, type Waiting } from './moving.js';

const ports: NetPort[] = [];
let waits: Waiting = 'sleeping';
/** Of the first bytes of all frames, lest they be left out. */
let sum = 0;

function firstPort(): NetPort {
  const [port] = ports;
  if (!port) throw new Error('no port is open');
  return port;
}

await obeyAs({
  async open(path, waiting) {
    waits = waiting;
    const port = await NetPort.open({ socket: path, queueSize: QUEUE_SIZE });
    ports.push(port);
    port.onFrames((frames) => {
      for (const frame of frames) sum += frame.bytes[0] as number;
    });
  },
  async send(batches, going) {
    const port = firstPort();
    let next = 0;
    const batch = () => {
      const frames = batches[next] ?? [];
      next = next + 1 === batches.length ? 0 : next + 1;
      return frames;
    };
    if (waits === 'polling') await repeat(going, () => port.trySend(batch()));
    for (let sent = 1; going(); sent++) {
      const frames = batch();
      const taken = port.trySend(frames);
      if (taken < frames.length) await port.send(taken === 0 ? frames : frames.slice(taken));
      if (sent % BATCHES_PER_TURN === 0) await new Promise(setImmediate);
    }
    await port.flush();
  },
  // Frames are handed out as they come.
  async receive() {},
  counts() {
    const [port] = ports;
    return { sent: port?.counters.txFrames ?? 0, received: port?.counters.rxFrames ?? 0 };
  },
  async close() {
    await Promise.all(ports.splice(0).map((port) => port.close()));
  },
});
process.exitCode = Number.isNaN(sum) ? 1 : 0;
