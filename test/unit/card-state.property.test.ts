/** Whatever becomes of a state on its way: a card goes on with it, or says in one way that it cannot. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { VirtioPciState } from '../../lib/device/pci-state.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, makePci } from '../support/pci.js';

holdNothingLeaks();

const RUNS = 1500;
const NEEDS_RESET = 0x40;
/** What a control ring outside the memory is; where the others are, the backend looks. */
const OUTSIDE = 'ERR_OUT_OF_RANGE';

/** Every place in a value, each as the keys that lead to it. */
function placesIn(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [
    [],
    ...Object.entries(value).flatMap(([key, inner]) =>
      placesIn(inner).map((place) => [key, ...place]),
    ),
  ];
}

function replaced(value: unknown, [key, ...rest]: string[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy = structuredClone(value) as Record<string, unknown>;
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

const anything = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, 1, 3, 7, 8, 0xf, 0x40, 0xff, 0x100, 0xffff, 0x10000, -1, 1.5, 2 ** 53),
  fc.boolean(),
  fc.constantFrom(null, undefined, '', '0x', '0x0', '0x100000000', `0x${'f'.repeat(33)}`),
  fc.string(),
  fc.bigInt({ min: 0n, max: (1n << 66n) - 1n }).map((value) => `0x${value.toString(16)}`),
  fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
  fc.constantFrom({}, []),
);

test(`${RUNS} states in which something is not as it was`, { timeout: 60_000 }, async () => {
  const pci = makePci({ msi: new FakeMsi() });
  const { transport, driver, device } = pci;
  await driver.bringUp((1n << 32n) | (1n << 17n) | (1n << 18n));
  const state = await transport.stop();
  const fresh = () => [device.status, driver.common(16, 2), driver.common(28, 2)];
  const before = fresh();
  const results = { good: 0, bad: 0 };
  const property = fc.asyncProperty(
    fc.constantFrom(...placesIn(state)),
    anything,
    async (place, by) => {
      const changed = replaced(state, place, by) as VirtioPciState;
      const error = await transport.start(changed).then(
        () => undefined,
        (reason: unknown) => reason as { code: string },
      );
      if (error) {
        results.bad++;
        expect(['ERR_INVALID_ARG_VALUE', OUTSIDE]).toContain(error.code);
        expect(fresh()).toEqual(before);
      } else {
        results.good++;
        // Where a ring is another, whoever serves it may find it broken at once.
        expect(device.status | NEEDS_RESET).toBe(changed.card.status | NEEDS_RESET);
        await transport.stop();
      }
    },
  );
  await fc.assert(property, { numRuns: RUNS });
  expect(Math.min(results.good, results.bad)).toBeGreaterThan(RUNS / 50);
  await transport.start(state);
  expect(driver.status).toBe(0xf);
});
