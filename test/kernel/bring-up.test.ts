import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { KernelBackend, type QueuePairState, VhostNet } from '../../lib/index.js';
import { keep } from '../support/device.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { configOf, RingPair, upTap } from '../support/ring-pair.js';

const ROUNDS = 20;

beforeEach(async () => {
  const before = await leakSnapshot();
  // The first to be asked for is the last to run: when everything was given back.
  onTestFinished(() => expectNoLeaks(before));
});

describe('a queue pair that is brought up and stopped', () => {
  test(`as bare ioctls: resumed and reset ${ROUNDS} times, frames pass both ways each time`, async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const vhost = keep(VhostNet.open());
    let at: QueuePairState = { receive: 0, transmit: 0 };
    const stop = async () => {
      await vhost.setBackend(0, null);
      await vhost.setBackend(1, null);
      return { receive: vhost.getVringBase(0), transmit: vhost.getVringBase(1) };
    };
    for (let round = 1; round <= ROUNDS; round++) {
      await vhost.setOwner();
      await rings.bringUp(vhost, tap, at);
      await rings.exchange(tap);
      at = await stop();
      expect(at.transmit).toBe(2 * round - 1);
      await rings.bringUp(vhost, tap, at);
      await rings.exchange(tap);
      at = await stop();
      expect(at.transmit).toBe(2 * round);
      expect(at.receive).toBeGreaterThanOrEqual(2 * round);
      await vhost.resetOwner();
    }
  });

  test(`as a backend: resumed ${ROUNDS} times, frames pass both ways each time`, async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    let at: QueuePairState | undefined;
    for (let round = 1; round <= ROUNDS; round++) {
      await backend.start(configOf(rings, at));
      expect(backend.running).toBe(true);
      await rings.exchange(tap);
      [at] = await backend.stop();
      expect(backend.running).toBe(false);
      expect(at?.transmit).toBe(round);
    }
  });

  test('goes on in another device where the first one stopped', async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    let at: QueuePairState | undefined;
    for (let round = 1; round <= 5; round++) {
      const backend = KernelBackend.open([tap]);
      await backend.start(configOf(rings, at));
      await rings.exchange(tap);
      [at] = await backend.stop();
      await backend.close();
    }
    expect(at?.transmit).toBe(5);
  });

  test('without a stop is closed all the same', async () => {
    for (let round = 0; round < 5; round++) {
      const tap = upTap();
      const rings = new RingPair();
      const backend = KernelBackend.open([tap]);
      await backend.start(configOf(rings));
      await rings.exchange(tap);
      await backend.close();
      rings.close();
      tap.close();
    }
  });

  test('touches nothing between a stop and the resumption', async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    await backend.start(configOf(rings));
    await rings.exchange(tap);
    const [at] = await backend.stop();
    const before = Buffer.from(rings.memory.read(0n, 0x4000));
    rings.config().receive.kick.signal();
    rings.config().transmit.kick.signal();
    expect(Buffer.from(rings.memory.read(0n, 0x4000)).equals(before)).toBe(true);
    await backend.start(configOf(rings, at));
    await rings.exchange(tap);
  });
});
