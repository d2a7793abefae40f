/**
 * What a memory checker watches: every function of the addon called with arguments of every kind, then the
 * library used as it should be, in this thread and in a worker, each a number of times.
 *
 * `node dist/tools/memcheck/exercise.js CALLS`, calls per function. Prints what it did. Where there is a
 * `/dev/vhost-net`, frames cross it too.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';
import {
  EventFd,
  GuestMemory,
  LinkMonitor,
  NetPort,
  PacketSocket,
  placeVring,
  VringDriver,
} from '../../lib/index.js';

type Call = (...args: unknown[]) => unknown;
interface Fd {
  close(): number;
}
type Addon = Record<string, Call> & {
  Poller: new (fd: Fd, drain: boolean, callback: () => void) => { close(): void };
};

const CALLS = Number(process.argv[2] ?? 100);
const ROUNDS = 20;
const MOST_ARGUMENTS = 8;
/** Classes, which are not called, and what is no function. */
const NO_FUNCTIONS = new Set(['Fd', 'IoUring', 'Poller', 'pageSize']);
const addon = createRequire(import.meta.url)('../../../build/Release/vhost_net.node') as Addon;

/** A number below `limit`, the same ones in every run. */
const random = (() => {
  let state = 0x2545f491;
  return (limit: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
})();

/**
 * Arguments that harm nobody: no name of anything there is, no descriptor but our own, no bytes that could
 * be an address of loopback, which is interface 1.
 */
function argumentPool(): { values: unknown[]; fds: Fd[] } {
  const closed = addon.eventfdCreate?.(0) as Fd;
  closed.close();
  const fds = [
    addon.eventfdCreate?.(1),
    addon.memfdCreate?.('exercise', 0),
    addon.open?.('/dev/null', 2),
    closed,
  ] as Fd[];
  const numbers = [-1, 0, 1, 2, 7, 255, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 53, Number.NaN];
  const bigints = [0n, 1n, 4096n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n, -1n, 2n ** 64n];
  const arrays = [
    ...[0, 1, 3, 8, 64, 4096].map((size) => new Uint8Array(size)),
    new Uint8Array(new ArrayBuffer(64), 61, 3),
    new Uint8Array(new ArrayBuffer(64), 1, 40),
    ...[new Uint32Array(5), new BigUint64Array(4), new BigUint64Array(0), new Float64Array(3)],
    new ArrayBuffer(16),
  ];
  const texts = ['', '/nonexistent/exercise', 'x'.repeat(300), '/nonexistent/ä\0ö'];
  const others = [undefined, null, true, {}, [], () => {}, Symbol('exercise')];
  return { values: [...fds, ...numbers, ...bigints, ...arrays, ...texts, ...others], fds };
}

/** Calls every function with arguments that are mostly wrong. Returns how many calls that were. */
async function abuse(): Promise<number> {
  let calls = 0;
  const { values, fds } = argumentPool();
  for (const name of Object.keys(addon).filter((each) => !NO_FUNCTIONS.has(each))) {
    for (let i = 0; i < CALLS; i++, calls++) {
      // Most functions look at nothing else before they have a descriptor of ours.
      const args = Array.from({ length: random(MOST_ARGUMENTS + 1) }, (_, at) =>
        at === 0 && random(2) === 0 ? fds[random(fds.length)] : values[random(values.length)],
      );
      try {
        const result: unknown = await addon[name]?.(...args);
        if (isFd(result)) result.close();
      } catch (error) {
        if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      }
    }
  }
  for (const fd of fds) {
    new addon.Poller(fd, false, () => {}).close();
    fd.close();
  }
  return calls;
}

function isFd(value: unknown): value is Fd {
  return value instanceof (addon.Fd as unknown as new () => Fd);
}

/** Uses the library as it should be used; nothing here needs a right. */
async function use(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const memory = GuestMemory.create([{ guestAddress: 0n, size: 65_536 }]);
    const ring = new VringDriver(memory, { size: 8, addresses: placeVring(0n, 8) });
    ring.addReadable(4096, 0, 60);
    ring.publish();
    const event = EventFd.create();
    const signalled = new Promise((resolve) => event.onSignal(resolve));
    event.signal();
    await signalled;
    await event.closeAsync();
    memory.close();
    const monitor = LinkMonitor.open();
    monitor.close();
  }
}

/** Sends frames to a TAP, and takes some from it. */
async function cross(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    await using port = await NetPort.open({ tap: 'exercise%d' });
    const wire = PacketSocket.open(port.tap.interface.name, { protocol: 0x88b5 });
    const frame = Uint8Array.from({ length: 60 }, (_, i) => (i === 12 ? 0x88 : 0xb5));
    const received = new Promise((resolve) => port.onFrames(resolve));
    await port.send([frame, frame]);
    wire.send(frame, 60, Uint32Array.of(60), 1);
    await received;
    wire.close();
  }
}

const calls = await abuse();
await use();
const crosses = existsSync('/dev/vhost-net');
if (crosses) await cross();
if (isMainThread) {
  const worker = new Worker(fileURLToPath(import.meta.url), { argv: [CALLS] });
  await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  process.stdout.write(
    `${calls} calls in each of two threads${crosses ? ', frames across vhost-net' : ''}\n`,
  );
} else {
  // Left open: the end of a thread has to close what nobody closed.
  EventFd.create().onSignal(() => {});
  process.exit();
}
