import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { KernelBackend, VhostNet } from '../../lib/index.js';
import { keep } from '../support/device.js';
import { expectCode } from '../support/errors.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { configOf, RingPair, upTap } from '../support/ring-pair.js';

beforeEach(async () => {
  const before = await leakSnapshot();
  // The first to be asked for is the last to run: when everything was given back.
  onTestFinished(() => expectNoLeaks(before));
});

describe('a backend at the wrong time', () => {
  test('is not started twice, nor stopped when it does not run', async () => {
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([upTap()]));
    await expectCode(() => backend.stop(), 'ERR_BUSY');
    const twice = await Promise.allSettled([
      backend.start(configOf(rings)),
      backend.start(configOf(rings)),
    ]);
    expect(twice).toMatchObject([{ status: 'fulfilled' }, { reason: { code: 'ERR_BUSY' } }]);
    await backend.stop();
    await expectCode(() => backend.stop(), 'ERR_BUSY');
  });

  test('is closed once, and not started after', async () => {
    const rings = keep(new RingPair());
    const backend = KernelBackend.open([upTap()]);
    await Promise.all([backend.close(), backend.close()]);
    await backend.close();
    await expectCode(() => backend.start(configOf(rings)), 'ERR_CLOSED');
  });

  test('closed while it starts lets start fail and leaves nothing', async () => {
    const rings = keep(new RingPair());
    const backend = KernelBackend.open([upTap()]);
    const starting = expectCode(() => backend.start(configOf(rings)), 'ERR_CLOSED');
    await backend.close();
    await starting;
    expect(backend.running).toBe(false);
  });

  test('closed while it stops leaves nothing', async () => {
    const rings = keep(new RingPair());
    const backend = KernelBackend.open([upTap()]);
    await backend.start(configOf(rings));
    const stopping = Promise.allSettled([backend.stop()]);
    await backend.close();
    await stopping;
  });
});

describe('a device at the wrong time', () => {
  test('is not closed under a call: ERR_BUSY; closeAsync waits for it', async () => {
    const vhost = VhostNet.open();
    // All of the pool's threads have something to do: the call waits there for as long as we look.
    const others = Array.from({ length: 4 }, () => promisify(pbkdf2)('', '', 5000, 64, 'sha512'));
    const owning = vhost.setOwner();
    // The call is on the thread pool from the next microtask on.
    await Promise.resolve();
    await expectCode(() => vhost.close(), 'ERR_BUSY');
    const closing = vhost.closeAsync();
    await owning;
    await closing;
    await Promise.all(others);
    expect(vhost.closed).toBe(true);
  });

  test('is closed once, and every call after fails with ERR_CLOSED', async () => {
    const vhost = VhostNet.open();
    vhost.close();
    vhost.close();
    await vhost.closeAsync();
    for (const call of [
      () => vhost.fd,
      () => vhost.getFeatures(),
      () => vhost.setFeatures(0n),
      () => vhost.setOwner(),
      () => vhost.resetOwner(),
      () => vhost.setMemTable([]),
      () => vhost.setVringNum(0, 8),
      () => vhost.setBackend(0, null),
      () => vhost.readIotlb(),
    ]) {
      await expectCode(call, 'ERR_CLOSED');
    }
  });

  test('keeps the memory from being closed until it is closed itself', async () => {
    const rings = new RingPair();
    const backend = KernelBackend.open([upTap()]);
    await backend.start(configOf(rings));
    const error = await expectCode(() => rings.memory.close(), 'ERR_MEMORY_IN_USE');
    expect(error.hint).toMatch(/close the device/);
    await backend.stop();
    await expectCode(() => rings.memory.close(), 'ERR_MEMORY_IN_USE');
    await backend.close();
    rings.close();
  });
});
