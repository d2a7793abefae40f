/** Undoes what a test set up, whatever became of the test, and holds that nothing is left of it. */
import { afterEach, beforeEach } from 'vitest';
import { giveBack } from '../../lib/port/give-back.js';
import { expectNoLeaks, type LeakSnapshot, leakSnapshot } from './leaks.js';

const steps: (() => unknown)[] = [];

/** Runs `step` when the test is over, whatever the steps before it threw; the last one given runs first. */
export function cleanup(step: () => unknown): void {
  steps.push(step);
}

/** For the top of a file: every test of it must give everything back. */
export function holdNothingLeaks(): void {
  let before: LeakSnapshot;
  beforeEach(async () => {
    before = await leakSnapshot();
  });
  afterEach(async () => {
    await giveBack(steps.splice(0).reverse());
    await expectNoLeaks(before);
  });
}
