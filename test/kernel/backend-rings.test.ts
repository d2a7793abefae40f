import { describe, expect, test } from 'vitest';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { Rig, type Segment } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const RECEIVE = 0;
const TRANSMIT = 1;
const BUFFER: Segment = [1n << 20n, 2048];
const FRAME: Segment = [2n << 20n, 12 + 60];

async function prepare(): Promise<{ rig: Rig; wire: Wire }> {
  const rig = await Rig.start({ size: 8 });
  const wire = new Wire(rig.tap.interface.name);
  cleanup(() => wire.close());
  return { rig, wire };
}

async function send(rig: Rig, wire: Wire, sequence: number): Promise<void> {
  rig.fill([FRAME], makeFrame(60, sequence));
  rig.addReadable([FRAME]);
  rig.transmit.publish();
  await rig.transmit.pop();
  await wire.expect(1, () => 60, sequence);
}

async function receive(rig: Rig, wire: Wire, sequence: number): Promise<void> {
  rig.addWritable([BUFFER]);
  rig.receive.publish();
  await wire.send(
    1,
    () => 60,
    () => 0,
    { first: sequence },
  );
  await rig.receive.pop();
  expect(rig.frame([BUFFER], rig.receive.ring.usedLength)).toEqual(makeFrame(60, sequence));
}

describe('one ring of a running backend', () => {
  test('stops, and goes on where it stopped, while the other runs', async () => {
    const { rig, wire } = await prepare();
    for (let i = 0; i < 3; i++) await receive(rig, wire, i);
    const base = await rig.backend.stopRing(RECEIVE);
    expect(base).toBe(3);
    for (let i = 0; i < 5; i++) await send(rig, wire, 100 + i);
    await rig.backend.startRing(RECEIVE, rig.receive.config(base));
    for (let i = 3; i < 6; i++) await receive(rig, wire, i);
    expect(await rig.stop()).toEqual({ receive: 6, transmit: 5 });
  });

  test('is reset: it begins at 0 again, with memory of zeroes, while the other runs', async () => {
    const { rig, wire } = await prepare();
    for (let i = 0; i < 5; i++) await send(rig, wire, i);
    await rig.backend.stopRing(TRANSMIT);
    rig.transmit.ring.reset();
    await receive(rig, wire, 50);
    await rig.backend.startRing(TRANSMIT, rig.transmit.config(0));
    for (let i = 5; i < 20; i++) await send(rig, wire, i);
    expect(await rig.stop()).toEqual({ receive: 1, transmit: 15 });
  });

  test('takes nothing while it is stopped', async () => {
    const { rig, wire } = await prepare();
    const base = await rig.backend.stopRing(TRANSMIT);
    rig.fill([FRAME], makeFrame(60, 7));
    rig.addReadable([FRAME]);
    rig.transmit.publish();
    rig.transmit.kick.signal();
    await receive(rig, wire, 1);
    expect(rig.transmit.ring.pop()).toBe(-1);
    await rig.backend.startRing(TRANSMIT, rig.transmit.config(base));
    await rig.transmit.pop();
    await wire.expect(1, () => 60, 7);
  });

  test('that cannot start stays stopped, and can start again', async () => {
    const { rig, wire } = await prepare();
    const base = await rig.backend.stopRing(TRANSMIT);
    const wrong = { ...rig.transmit.config(base), size: 3 };
    await expectCode(() => rig.backend.startRing(TRANSMIT, wrong), 'EINVAL');
    await expectCode(() => rig.backend.stopRing(TRANSMIT), 'ERR_BUSY');
    await rig.backend.startRing(TRANSMIT, rig.transmit.config(base));
    await send(rig, wire, 1);
  });

  test('is refused where it cannot be meant', async () => {
    const { rig } = await prepare();
    const config = rig.transmit.config(0);
    await expectCode(() => rig.backend.startRing(TRANSMIT, config), 'ERR_BUSY');
    await expectCode(() => rig.backend.startRing(2, config), 'ERR_OUT_OF_RANGE');
    await expectCode(() => rig.backend.stopRing(-1), 'ERR_OUT_OF_RANGE');
    await rig.stop();
    await expectCode(() => rig.backend.stopRing(TRANSMIT), 'ERR_BUSY');
    await expectCode(() => rig.backend.startRing(TRANSMIT, config), 'ERR_BUSY');
    await rig.backend.close();
    await expectCode(() => rig.backend.stopRing(TRANSMIT), 'ERR_CLOSED');
  });
});
