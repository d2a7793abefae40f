/**
 * A guest that writes to its ring and its headers while the device reads them, from another process: what was checked is
 * what is used, for it was read once.
 */
import { describe, expect, test } from 'vitest';
import { bit, VIRTIO_NET_F_CSUM, VringDevice } from '../../lib/index.js';
import { OffloadRules } from '../../lib/net/offload-rules.js';
import { newCounters } from '../../lib/vhost-user/backend-counters.js';
import { RingBurst } from '../../lib/vhost-user/ring-burst.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { guestMemory, MEMORY, TRANSMIT_AT } from '../support/front-end.js';
import { until } from '../support/host.js';
import { runModule } from '../support/node-child.js';
import { le } from '../support/vhost-user.js';

holdNothingLeaks();

const SIZE = 16;
const ADDRESSES = { desc: 0n, avail: 0x1000n, used: 0x2000n };
/** Words of the memory in which the processes tell each other that the race is on, and that it is over. */
const [BEGUN, OVER] = [0x7000 / 4, 0x7004 / 4];
/** Looks that found something else than the look before, which is how it shows that the race is one. */
const CHANGES = 2000;
/** For a machine on which both have one processor, in ms. */
const LIMIT = 10_000;
const F_NEXT = 1;

/** Memory of which another process sets the word at `address` to one value and to the other, as fast as it can. */
async function race(address: number, one: number, other: number) {
  const memory = guestMemory();
  const [region] = memory.regions;
  const words = new Uint32Array(region?.buffer as ArrayBuffer);
  words[address / 4] = one;
  const path = `/proc/${process.pid}/fd/${region?.fd}`;
  const ended = runModule(`
    import { GuestMemory } from './lib/index.js';
    const backing = { path: ${JSON.stringify(path)} };
    const memory = GuestMemory.create([{ guestAddress: 0n, size: ${MEMORY}, backing }]);
    const words = new Uint32Array(memory.regions[0].buffer);
    Atomics.store(words, ${BEGUN}, 1);
    const limit = Date.now() + 40_000;
    while (Atomics.load(words, ${OVER}) === 0 && Date.now() < limit) {
      for (let i = 0; i < 1000; i++) {
        Atomics.store(words, ${address / 4}, ${one});
        Atomics.store(words, ${address / 4}, ${other});
      }
    }
  `);
  cleanup(async () => {
    Atomics.store(words, OVER, 1);
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
  });
  await until(() => Atomics.load(words, BEGUN) === 1, 'the other process');
  return memory;
}

/** Looks again and again, until what it found changed often enough. */
function look(once: () => boolean): void {
  const limit = Date.now() + LIMIT;
  let last: boolean | undefined;
  for (let changes = 0; changes < CHANGES && Date.now() < limit; ) {
    const found = once();
    if (last !== undefined && found !== last) changes++;
    last = found;
  }
}

const AT = Number(TRANSMIT_AT);

describe('134228ca39, 93ed2f49de: a descriptor is read once:', () => {
  test.each([
    ['its length', 8, 64, 0xffff_ff00],
    ['its address', 0, AT, 0x7fff_f000],
    ['its link', 12, F_NEXT | (1 << 16), F_NEXT | (999 << 16)],
  ])('%s is what was checked', async (_, at, good, bad) => {
    const memory = await race(at, good, bad);
    const chain = (next: number) => le([8, AT], [4, 64], [2, next], [2, 1]);
    // The word that is raced for is the other process's.
    chain(at === 12 ? F_NEXT : 0).forEach((byte, i) => {
      if (i < at || i >= at + 4) memory.bytes(BigInt(i), 1)[0] = byte;
    });
    memory.write(16n, chain(0));
    memory.write(ADDRESSES.avail, le([2, 0], [2, 1], [2, 0]));
    const device = new VringDevice(memory, { size: SIZE, addresses: ADDRESSES });
    const taken = new Set<string>();
    let broken = 0;
    look(() => {
      try {
        device.take();
        const { count, readableBytes } = device.chain;
        taken.add([count, readableBytes, device.chain.offsetOf(0)].join());
        device.untake(1);
        return true;
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_RING_BROKEN') throw error;
        broken++;
        device.mend();
        return false;
      }
    });
    const count = at === 12 ? 2 : 1;
    expect([...taken]).toEqual([[count, 64 * count, AT].join()]);
    expect(broken).toBeGreaterThan(0);
  });
});

test('285e6b8b18: a header is read once: where its checksum begins is what was checked', async () => {
  const start = 34 << 16;
  const memory = await race(AT + 4, start, 0xffff << 16);
  memory.write(0n, le([8, AT], [4, 72], [4, 0]));
  // It needs a checksum, six bytes behind where that begins.
  memory.write(BigInt(AT), le([4, 1]));
  memory.write(BigInt(AT + 8), le([4, 6]));
  const ring = new VringDevice(memory, { size: SIZE, addresses: ADDRESSES });
  const counters = newCounters();
  const rules = OffloadRules.ofSent(bit(VIRTIO_NET_F_CSUM));
  const burst = new RingBurst({ ring, counters, headerLength: 12, rules, pair: 0 });
  const starts = new Set<number>();
  let offered = 0;
  look(() => {
    memory.write(ADDRESSES.avail, le([2, 0], [2, ++offered & 0xffff]));
    const frames = burst.collect();
    for (const { offload } of frames) starts.add(offload.checksumStart);
    burst.release();
    return frames.length > 0;
  });
  expect([...starts]).toEqual([34]);
  expect(counters.errors).toBeGreaterThan(0);
});
