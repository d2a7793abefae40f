/** The library under measurement: a program of one thread that sends and receives through NetPort. */
import { NetPort, type PortBackend, type Sendable } from '../../../lib/index.js';
import { clocked, obey } from './commands.js';
import { makeBatches, makeFrame, QUEUE_SIZE } from './frames.js';

/** What brings super-frames, each in one buffer. */
const SUPER_FRAMES = ['csum', 'tso4', 'tso6'] as const;

/** Who serves the rings, where that is said: `node port.js in-process`. */
const BACKEND = process.argv[2] as PortBackend | undefined;

const ports: NetPort[] = [];

function firstPort(): NetPort {
  const [port] = ports;
  if (!port) throw new Error('no port is open');
  return port;
}

async function send(batches: Sendable[][], batch: number, count: number): Promise<void> {
  const port = firstPort();
  for (let sent = 0, next = 0; sent < count; sent += batch) {
    const frames = batches[next] as Sendable[];
    next = next + 1 === batches.length ? 0 : next + 1;
    const taken = port.trySend(frames);
    if (taken < frames.length) await port.send(taken === 0 ? frames : frames.slice(taken));
  }
  await port.flush();
}

/** Looks at the first byte of each frame; returns their sum, lest it be left out. */
async function receive(count: number): Promise<number> {
  let received = 0;
  let sum = 0;
  for await (const frames of firstPort()) {
    for (const frame of frames) sum += frame.bytes[0] as number;
    received += frames.length;
    if (received >= count) break;
  }
  return sum;
}

/** Frames that are still to be answered, and what to do when all are. */
let unanswered = 0;
let answeredAll = () => {};

/** Sends every frame back from where it came, from now until the port is closed. */
function answer(port: NetPort): void {
  port.onFrames((frames) => {
    for (const { bytes } of frames) {
      for (let i = 0; i < 6; i++) {
        const own = bytes[i] as number;
        bytes[i] = bytes[i + 6] as number;
        bytes[i + 6] = own;
      }
    }
    port.trySend(frames);
    unanswered -= frames.length;
    if (unanswered <= 0) answeredAll();
  });
}

const answering = new WeakSet<NetPort>();

function respond(count: number): Promise<void> {
  const port = firstPort();
  unanswered = count;
  if (!answering.has(port)) answer(port);
  answering.add(port);
  return new Promise((resolve) => {
    answeredAll = resolve;
  });
}

async function closeAll(): Promise<void> {
  await Promise.all(ports.splice(0).map((port) => port.close()));
}

await obey({
  open: ([tap = '', pairs, bufferSize]) =>
    clocked(0, async () => {
      const offload = Number(bufferSize) > 65_535 ? SUPER_FRAMES : [];
      const shape = { queuePairs: Number(pairs), queueSize: QUEUE_SIZE };
      const backend = BACKEND === undefined ? {} : { backend: BACKEND };
      ports.push(await NetPort.open({ tap, offload, ...shape, ...backend }));
    }),
  send: ([length, batch, count]) => {
    const batches = makeBatches(Number(length), Number(batch));
    return clocked(Number(count), () => send(batches, Number(batch), Number(count)));
  },
  receive: ([, count]) => clocked(Number(count), () => receive(Number(count))),
  respond: ([count]) => clocked(Number(count), () => respond(Number(count))),
  first: async ([tap = '']) => {
    const frame = makeFrame(64, 0);
    const took = await clocked(1, async () => {
      const port = await NetPort.open({ tap, queueSize: QUEUE_SIZE });
      ports.push(port);
      await port.send(frame);
      await port.flush();
    });
    await closeAll();
    return took;
  },
  close: () => clocked(0, closeAll),
});
