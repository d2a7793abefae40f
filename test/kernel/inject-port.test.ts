/** ENOMEM and EMFILE at every step of opening a port: all of it comes down, and the next one works. */
import { expect, test } from 'vitest';
import { NetPort } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';
import { expectAtEach, SHORTAGES, type Step, stepsOf, withFault } from '../support/inject.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';

holdNothingLeaks();

/** Holds that no fault while a port is opened leaves anything, and that it can be opened after all. */
async function expectNothingOf(
  code: string,
  fault: (step: Step, open: () => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const tap = tapName();
  const open = () => NetPort.open({ tap });
  const opened: NetPort[] = [];
  const steps = await stepsOf(async () => opened.push(await open()));
  for (const port of opened) await port.close();
  expect(steps.length).toBeGreaterThan(40);
  await expectAtEach(steps, code, (step) => fault(step, open));
  const { port, wire } = await openPortAndWire({ tap });
  await hostToPort(wire, port, 10, () => 60);
  await portToHost(port, wire, 10, () => 60);
}

test.each(SHORTAGES)('$code at any step leaves nothing of a port', ({ code, errno }) =>
  expectNothingOf(code, (step, open) => withFault(step, errno, open)),
);

test.each(SHORTAGES)(
  '$code from any step on, so that the rollback meets it too, leaves nothing',
  ({ code, errno }) =>
    expectNothingOf(code, (step, open) => withFault(step, errno, open, { onwards: true })),
);
