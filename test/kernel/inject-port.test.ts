/** ENOMEM and EMFILE at every step of opening a port: all of it comes down, and the next one works. */
import { once } from 'node:events';
import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { NetPort } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';
import { expectAtEach, SHORTAGES, type Step, stepsOf, withFault } from '../support/inject.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';

holdNothingLeaks();

const { ENOMEM, EMFILE } = constants.errno;

type Fault = (step: Step, open: () => Promise<unknown>) => Promise<unknown>;

/** Holds that no fault while a port is opened leaves anything, and that it can be opened after all. */
async function expectNothingOf(code: string, queuePairs: number, fault: Fault): Promise<void> {
  const options = { tap: tapName(), queuePairs };
  const open = () => NetPort.open(options);
  const opened: NetPort[] = [];
  const steps = await stepsOf(async () => opened.push(await open()));
  for (const port of opened) await port.close();
  expect(steps.length).toBeGreaterThan(20 + 20 * queuePairs);
  await expectAtEach(steps, code, (step) => fault(step, open));
  const { port, wire } = await openPortAndWire(options);
  await hostToPort(wire, port, 10, () => 60);
  await portToHost(port, wire, 10, () => 60);
}

test.each(SHORTAGES)('$code at any step leaves nothing of a port', ({ code, errno }) =>
  expectNothingOf(code, 1, (step, open) => withFault(step, errno, open)),
);

test('ENOMEM at any step leaves nothing of a port with two queue pairs', () =>
  expectNothingOf('ENOMEM', 2, (step, open) => withFault(step, -ENOMEM, open)));

test('EMFILE from any step on, so that the rollback meets it too, leaves nothing', () =>
  expectNothingOf('EMFILE', 1, (step, open) => withFault(step, -EMFILE, open, { onwards: true })));

test('a port looks for itself when the kernel cannot tell it of its link', async () => {
  const { port } = await openPortAndWire({ tap: tapName() });
  expect(port.linkUp).toBe(true);
  const heard = once(port, 'link');
  await withFault('linkMonitorRead 1', -ENOMEM, async () => {
    port.tap.interface.setDown();
    expect(await heard).toEqual([false]);
  });
  expect(port.linkUp).toBe(false);
});
