/** Every VhostBackend starts, stops and goes on, all rings or one, and another goes on where it stopped. */
import { describe, expect, test } from 'vitest';
import { bit, type Tap, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { arrive, type BackendKind, into, out, prepareBench, startBench } from './conformance.js';
import { expectCode } from './errors.js';
import { checkFrameBytes, makeFrame } from './frames.js';
import { Rig, type Segment, silentTap } from './rings.js';
import { Wire } from './wire.js';

const RECEIVE = 0;
const TRANSMIT = 1;
const BUFFER: Segment = [1n << 20n, 2048];
const FRAME: Segment = [2n << 20n, 12 + 60];
const MERGEABLE = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF);

export function startsAndStops(kind: BackendKind): void {
  describe(kind.name, () => {
    test('says where it stopped, and goes on there with what lies in the rings', async () => {
      const bench = await startBench(kind, { size: 8 });
      const { rig, wire } = bench;
      for (let i = 0; i < 3; i++) await into(bench, [BUFFER], 60, i);
      for (let i = 0; i < 5; i++) await out(bench, [FRAME], 60, i);
      const state = await rig.stop();
      expect(state).toEqual({ receive: 3, transmit: 5 });
      expect(rig.backend.running).toBe(false);
      // What comes meanwhile waits at both sides.
      rig.fill([FRAME], makeFrame(60, 77));
      rig.addReadable([FRAME]);
      rig.transmit.publish();
      rig.transmit.kick.signal();
      rig.addWritable([BUFFER]);
      rig.receive.publish();
      await arrive(bench, 60, 88);
      expect([rig.transmit.ring.pop(), rig.receive.ring.pop()]).toEqual([-1, -1]);
      rig.transmit.kick.read();
      await rig.resume(state);
      await wire.expect(1, () => 60, 77);
      await rig.transmit.pop();
      await rig.receive.pop();
      checkFrameBytes(rig.frame([BUFFER], rig.receive.ring.usedLength), 60, 88);
      expect(await rig.stop()).toEqual({ receive: 4, transmit: 6 });
    });

    test('leaves buffers in the ring that no frame came for', async () => {
      const bench = await startBench(kind, { size: 8, features: MERGEABLE });
      const { rig } = bench;
      const segment = (i: number): Segment => [(1n << 20n) + BigInt(i * 2048), 2048];
      for (let i = 0; i < 8; i++) rig.addWritable([segment(i)]);
      rig.receive.publish();
      await arrive(bench, 60, 0, 3);
      for (let i = 0; i < 3; i++) await rig.receive.pop();
      const state = await rig.stop();
      expect(state.receive).toBe(3);
      await rig.resume(state);
      await arrive(bench, 60, 3, 5);
      for (let i = 3; i < 8; i++) {
        await rig.receive.pop();
        checkFrameBytes(rig.frame([segment(i)], rig.receive.ring.usedLength), 60, i);
      }
    });

    test('stops one ring, and goes on with it or from the beginning, while the other runs', async () => {
      const bench = await startBench(kind, { size: 8 });
      const { rig, wire } = bench;
      for (let i = 0; i < 3; i++) await into(bench, [BUFFER], 60, i);
      const base = await rig.backend.stopRing(RECEIVE);
      expect(base).toBe(3);
      for (let i = 0; i < 5; i++) await out(bench, [FRAME], 60, i);
      await rig.backend.startRing(RECEIVE, rig.receive.config(base));
      await into(bench, [BUFFER], 60, 3);
      await rig.backend.stopRing(TRANSMIT);
      rig.transmit.ring.reset();
      rig.fill([FRAME], makeFrame(60, 7));
      rig.addReadable([FRAME]);
      rig.transmit.publish();
      await into(bench, [BUFFER], 60, 4);
      expect(rig.transmit.ring.pop()).toBe(-1);
      await rig.backend.startRing(TRANSMIT, rig.transmit.config(0));
      await wire.expect(1, () => 60, 7);
      await rig.transmit.pop();
      expect(await rig.stop()).toEqual({ receive: 5, transmit: 1 });
    });

    test('begins with one pair, and serves another when it is told to', async () => {
      const features = MERGEABLE;
      const taps = [0, 1].map(() => {
        const tap = silentTap(features);
        cleanup(() => tap.closeAsync());
        return tap;
      });
      const served = await kind.open(taps);
      const first = Rig.prepare({ features, tap: taps[0] as Tap, served, size: 16 });
      await served.start({ memory: first.memory, features, pairs: [undefined] });
      await served.stop();
      await first.resume({ receive: 0, transmit: 0 });
      const wires = taps.map(({ name }) => {
        const wire = new Wire(name);
        cleanup(() => wire.close());
        return wire;
      });
      const [one, other] = wires as [Wire, Wire];
      await out({ rig: first, wire: one }, [FRAME], 60, 1);
      // The second pair's rings, in the memory that the backend has.
      const pair = Rig.within(first, 3n << 20n);
      await served.startRing(2, pair.receive.config(0));
      await served.startRing(3, pair.transmit.config(0));
      await out({ rig: pair, wire: other }, [FRAME], 60, 2);
      await into({ rig: pair, wire: other }, [BUFFER], 60, 3);
      await into({ rig: first, wire: one }, [BUFFER], 60, 4);
      expect(await served.stop()).toEqual([
        { receive: 1, transmit: 1 },
        { receive: 1, transmit: 1 },
      ]);
    });

    test('holds the memory while it runs, and lets go of it when it is closed', async () => {
      const { rig } = await startBench(kind);
      await expectCode(() => rig.memory.close(), 'ERR_MEMORY_IN_USE');
      await rig.backend.close();
      await rig.backend.close();
      rig.memory.close();
    });

    test('refuses what comes at the wrong time', async () => {
      const { rig } = await prepareBench(kind, { size: 8 });
      const { backend } = rig;
      const config = rig.transmit.config(0);
      await expectCode(() => backend.stop(), 'ERR_BUSY');
      await expectCode(() => backend.startRing(TRANSMIT, config), 'ERR_BUSY');
      await rig.resume({ receive: 0, transmit: 0 });
      await expectCode(() => rig.resume({ receive: 0, transmit: 0 }), 'ERR_BUSY');
      await expectCode(() => backend.startRing(TRANSMIT, config), 'ERR_BUSY');
      await expectCode(() => backend.startRing(2, config), 'ERR_OUT_OF_RANGE');
      await backend.stopRing(TRANSMIT);
      await expectCode(() => backend.stopRing(TRANSMIT), 'ERR_BUSY');
      await backend.close();
      await expectCode(() => backend.stopRing(RECEIVE), 'ERR_CLOSED');
      await expectCode(() => rig.resume({ receive: 0, transmit: 0 }), 'ERR_CLOSED');
      await expectCode(() => backend.setDirtyLog(null), 'ERR_CLOSED');
    });
  });
}

/** `to` goes on in the middle of traffic where `from` stopped, on the same TAP and the same rings. */
export function movesState(from: BackendKind, to: BackendKind): void {
  test(`what ${from.name} left goes on with ${to.name}, in order and whole`, async () => {
    const features = MERGEABLE;
    const bench = await startBench(from, { size: 32, features });
    const { rig, wire } = bench;
    const segment = (at: bigint, i: number): Segment => [at + BigInt((i % 16) * 2048), 2048];
    const post = (i: number) => rig.addWritable([segment(1n << 20n, i)]);
    for (let i = 0; i < 16; i++) post(i);
    rig.receive.publish();
    let next = 0;
    const receive = async (count: number) => {
      for (const end = next + count; next < end; next++) {
        await rig.receive.pop();
        const { usedLength } = rig.receive.ring;
        checkFrameBytes(rig.frame([segment(1n << 20n, next)], usedLength), 600, next);
        post(next);
        rig.receive.publish();
      }
    };
    await arrive(bench, 600, 0, 10);
    await receive(6);
    for (let i = 0; i < 5; i++) await out(bench, [FRAME], 60, i);
    const state = await rig.stop();
    // Some that came were not looked at, others come while nobody serves.
    await arrive(bench, 600, 10, 20);
    rig.fill([FRAME], makeFrame(60, 5));
    rig.addReadable([FRAME]);
    rig.transmit.publish();
    await rig.backend.close();
    const second = await to.open(rig.taps);
    cleanup(() => second.close());
    await rig.resume(state, second);
    await wire.expect(1, () => 60, 5);
    await rig.transmit.pop();
    await receive(24);
    for (let i = 6; i < 10; i++) {
      rig.fill([FRAME], makeFrame(60, i));
      rig.addReadable([FRAME]);
      rig.transmit.publish();
      await wire.expect(1, () => 60, i);
      await rig.transmit.pop();
    }
    expect(await second.stop()).toEqual([{ receive: 30, transmit: 10 }]);
  });
}
