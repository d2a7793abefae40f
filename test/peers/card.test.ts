/** A guest's card on the socket of a testpmd, driven as a guest's driver would, without a transport or a TAP. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  GuestMemory,
  hasBit,
  placeVring,
  VhostUserFrontend,
  VirtioNetDevice,
  VringDriver,
} from '../../lib/index.js';
import {
  ACKNOWLEDGE,
  ControlDriver,
  DRIVER,
  DRIVER_OK,
  enableQueue,
  FEATURES_OK,
  takeFeatures,
} from '../support/card-driver.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { makeFrame, sequenceOf } from '../support/frames.js';
import { until } from '../support/host.js';
import { peerFolder } from '../support/peer-process.js';
import { Testpmd, vhostPort } from '../support/testpmd.js';

holdNothingLeaks();

const SIZE = 64;
const SLOT = 2048;
const SLOTS_AT = 0x20_0000;
/** Bytes of the header with VERSION_1. */
const HEADER = 12;
/** VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET. */
const USE_TWO_PAIRS = [4, 0, 2, 0];

/** A card and its driver's rings: two pairs, of which the first is in use. */
async function cardOn(path: string) {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 8 << 20 }]);
  cleanup(() => memory.close());
  const backend = await VhostUserFrontend.open({ path, queuePairs: 2, reconnect: 50 });
  cleanup(() => backend.close());
  const device = new VirtioNetDevice({ memory, backend, mac: '02:00:00:00:00:01' });
  cleanup(() => device.close());
  return { memory, backend, device };
}

type Card = Awaited<ReturnType<typeof cardOn>>;

/** The whole handshake, receive buffers posted. */
async function bringUp(card: Card) {
  const { memory, device } = card;
  takeFeatures(card);
  const control = new ControlDriver(card);
  const rings: VringDriver[] = [];
  for (const index of device.queues.keys()) {
    enableQueue(card, index, SIZE);
    const addresses = device.queues[index]?.addresses ?? placeVring(0n, SIZE);
    if (index >= 2 * device.queuePairs) continue;
    const ring = new VringDriver(memory, {
      size: SIZE,
      addresses,
      eventIdx: hasBit(device.offered, 29),
    });
    rings.push(ring);
    if (index % 2 === 1) continue;
    for (let i = 0; i < SIZE; i++) ring.addWritable(SLOTS_AT + (index * SIZE + i) * SLOT, 0, SLOT);
    ring.publish();
  }
  await device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  return { control, rings };
}

/** Sends a frame by a pair, and waits until it came back by the same. */
async function echo({ memory, device }: Card, rings: VringDriver[], pair: number, number: number) {
  const [receive, transmit] = rings.slice(2 * pair) as [VringDriver, VringDriver];
  const at = SLOTS_AT + (2 * pair + 1) * SIZE * SLOT;
  const frame = makeFrame(64, number);
  while (transmit.pop() >= 0);
  memory.write(BigInt(at), new Uint8Array(HEADER));
  memory.write(BigInt(at + HEADER), frame);
  transmit.addReadable(at, 0, HEADER + frame.length);
  if (transmit.publish()) device.queues[2 * pair + 1]?.kick.signal();
  await until(() => {
    const head = receive.pop();
    if (head < 0) return false;
    // Buffers were posted in the order of the heads.
    const slot = SLOTS_AT + (2 * pair * SIZE + head) * SLOT;
    const back = memory.read(BigInt(slot + HEADER), receive.usedLength - HEADER);
    expect(sequenceOf(back)).toBe(number);
    return true;
  }, `frame ${number} comes back by pair ${pair}`);
}

test('a card runs over a socket: pairs on and off, resets, and a back end that dies', async () => {
  const path = join(peerFolder(), 'be.sock');
  const first = await Testpmd.start({ port: vhostPort(path, { queues: 2 }), queues: 2 });
  const card = await cardOn(path);
  const failed: Error[] = [];
  card.device.on('failed', (error) => failed.push(error));
  const { rings, control } = await bringUp(card);
  await echo(card, rings, 0, 1);
  expect(await control.send(USE_TWO_PAIRS)).toBe(0);
  await echo(card, rings, 1, 2);
  await echo(card, rings, 0, 3);
  await first.kill();
  await until(() => !card.backend.linkUp, 'the back end is gone');
  rmSync(path);
  await Testpmd.start({ port: vhostPort(path, { queues: 2 }), queues: 2 });
  await until(() => card.backend.linkUp, 'another is there');
  await echo(card, rings, 1, 4);
  await echo(card, rings, 0, 5);
  await card.device.reset();
  expect(card.backend.running).toBe(false);
  const again = await bringUp(card);
  await echo(card, again.rings, 0, 6);
  expect(failed).toEqual([]);
});
