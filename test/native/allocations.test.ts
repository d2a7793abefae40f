/** What the rings that this process serves leave for the garbage collector: nothing, frame for frame. */
import { expect, test } from 'vitest';
import { MODULES, runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

const ALLOCATIONS = new URL('../tools/bench/contestants/allocations.js', MODULES).href;

/** Rings of 256 with a driver, and rounds of frames each way, until one costs nothing: the compiler allocates as well, and some engines compile late. */
const COMMON = `
  import { allocatedBy } from '${ALLOCATIONS}';
  import { readSync, writeSync } from 'node:fs';
  const lib = await import('${MODULES}index.js');
  const { bit, EventFd, GuestMemory, placeVring, VringDriver } = lib;
  const SIZE = 256, BATCH = 64, BATCHES = 50, LENGTH = 60, HEADER = 12, ROUNDS = 150;
  const features = bit(lib.VIRTIO_F_VERSION_1) | bit(lib.VIRTIO_NET_F_MRG_RXBUF) | bit(lib.VIRTIO_RING_F_EVENT_IDX);
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 4 << 20 }]);
  const ends = [0n, 0x10000n].map((at) => {
    const addresses = placeVring(at, SIZE);
    const ring = new VringDriver(memory, { size: SIZE, addresses, eventIdx: true });
    const events = { kick: EventFd.create(), call: EventFd.create(), err: EventFd.create() };
    return { ring, ...events, config: { size: SIZE, addresses, base: 0, ...events } };
  });
  const [receive, transmit] = ends;
  const config = { memory, features, pairs: [{ receive: receive.config, transmit: transmit.config }] };
  const BUFFERS = 1 << 20;
  const turn = () => new Promise(setImmediate);
  function offer({ ring }, readable, from) {
    const length = readable ? HEADER + LENGTH : 2048;
    for (let i = 0; i < BATCH; i++) {
      const at = from + i * 2048;
      if (readable) ring.addReadable(at, 0, length); else ring.addWritable(at, 0, length);
    }
    return ring.publish();
  }
  function popped({ ring }) {
    let count = 0;
    while (ring.pop() >= 0) count++;
    return count;
  }
  async function best(work) {
    let least = Infinity;
    for (let round = 0; round < ROUNDS && least >= 1; round++) {
      least = Math.min(least, (await allocatedBy('${MODULES}', work)) / (BATCH * BATCHES));
    }
    return least;
  }
`;

async function measured(script: string, args: string[] = []): Promise<Record<string, number>> {
  const { code, stdout, stderr } = await runChild(COMMON + script, { args });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** Bytes a frame. Less than one is none: Node 24's engine boxes a number in some bursts of 64, 16 bytes. */
function expectNothing(bytes: Record<string, number>): void {
  for (const [what, count] of Object.entries(bytes)) expect(count, what).toBeLessThan(1);
}

/** Every frame of every round came: the work was done. */
function expectWholeRounds(...counts: (number | undefined)[]): void {
  for (const count of counts) {
    expect(count).toBeGreaterThan(0);
    expect((count as number) % (64 * 50)).toBe(0);
  }
}

test('a frame that a vhost-user back end takes of a guest, or gives it, costs no garbage', async () => {
  const script = `
    const path = process.argv[1];
    const backend = lib.VhostUserBackend.listen({ path });
    const frontend = await lib.VhostUserFrontend.open({ path });
    await frontend.start(config);
    const [device] = backend.devices;
    const frames = new Array(BATCH).fill(new Uint8Array(LENGTH));
    let taken = 0, given = 0;
    const result = {
      dequeue: await best(async () => {
        for (let i = 0; i < BATCHES; i++) {
          offer(transmit, true, BUFFERS);
          taken += device.dequeue().length;
          device.release();
          popped(transmit);
        }
      }),
      enqueue: await best(async () => {
        for (let i = 0; i < BATCHES; i++) {
          offer(receive, false, BUFFERS * 2);
          given += device.enqueue(frames);
          popped(receive);
        }
      }),
    };
    console.log(JSON.stringify({ ...result, taken, given }));
    await frontend.close();
    backend.close();
    process.exit();
  `;
  const { taken, given, ...bytes } = await measured(script, [socketPath()]);
  expectNothing(bytes);
  expectWholeRounds(taken, given);
});

test('a frame that goes between a queue and rings served in process costs no garbage', async () => {
  const script = `
    // A socket that keeps frames apart, in the place of a TAP's queue: it needs no rights.
    const [queue, far] = lib.UnixSocket.pair('seqpacket');
    const on = { fd: queue.fd, kind: 'socket', layer: 2, interface: { name: 'none' }, headerLength: HEADER };
    const backend = lib.InProcessBackend.open([on]);
    await backend.start(config);
    const packet = new Uint8Array(HEADER + LENGTH), buffer = new Uint8Array(2048);
    const result = {
      send: await best(async () => {
        for (let i = 0; i < BATCHES; i++) {
          if (offer(transmit, true, BUFFERS)) transmit.kick.signal();
          for (let done = 0; done < BATCH; done += popped(transmit)) await turn();
          for (let read = 0; read < BATCH; read++) readSync(far.fd, buffer);
        }
      }),
      receive: await best(async () => {
        for (let i = 0; i < BATCHES; i++) {
          for (let sent = 0; sent < BATCH; sent++) writeSync(far.fd, packet);
          if (offer(receive, false, BUFFERS * 2)) receive.kick.signal();
          for (let done = 0; done < BATCH; done += popped(receive)) await turn();
        }
      }),
    };
    const [{ sent, received }] = backend.counters;
    console.log(JSON.stringify({ ...result, sent, received }));
    process.exit();
  `;
  const { sent, received, ...bytes } = await measured(script);
  expectNothing(bytes);
  expectWholeRounds(sent, received);
});
