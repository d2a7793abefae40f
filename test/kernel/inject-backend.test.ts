/** ENOMEM and EMFILE at every step of starting a backend: it stops again, and can be started. */
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { KernelBackend } from '../../lib/index.js';
import { keep } from '../support/device.js';
import { expectAtEach, SHORTAGES, stepsOf, withFault } from '../support/inject.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { configOf, RingPair, upTap } from '../support/ring-pair.js';

beforeEach(async () => {
  const before = await leakSnapshot();
  // The first to be asked for is the last to run: when everything was given back.
  onTestFinished(() => expectNoLeaks(before));
});

test.each(SHORTAGES)('$code at any step stops what had started', async ({ code, errno }) => {
  const tap = upTap();
  const rings = keep(new RingPair());
  // No device has looked at these when they are used.
  const unseen = keep(new RingPair());
  const first = KernelBackend.open([tap]);
  const steps = await stepsOf(() => first.start(configOf(rings)));
  await first.close();
  expect(steps.length).toBeGreaterThan(15);
  const backend = keep(KernelBackend.open([tap]));
  await expectAtEach(steps, code, (step) =>
    withFault(step, errno, () => backend.start(configOf(rings))),
  );
  expect(backend.running).toBe(false);
  await backend.start(configOf(unseen));
  await unseen.exchange(tap);
});
