/** A frame that the in-process back end has read, and whose driver goes before there are buffers for it. */
import { expect, test } from 'vitest';
import { bit, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { until } from '../support/host.js';
import { inProcessRig } from '../support/in-process-rig.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

const BUFFER = 1526;
const LENGTH = 4000;
const BUFFERS_AT = 0x8000;
const PLAIN = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = PLAIN | bit(VIRTIO_NET_F_MRG_RXBUF);

/** A back end that holds a frame of 4000 bytes for a driver with mergeable buffers, which has stopped it. */
async function holding() {
  const { backend, receive, transmit, far, start } = inProcessRig([
    { guestAddress: 0n, size: 0x4_0000 },
  ]);
  function post(count: number): void {
    for (let i = 0; i < count; i++) {
      receive.ring.addWritable(BUFFERS_AT + i * 2048, 0, BUFFER);
    }
    receive.publish();
  }
  await start(MERGEABLE);
  post(1);
  far.send(new Uint8Array(LENGTH));
  await aWhile();
  expect(receive.ring.returned).toBe(0);
  await backend.stop();
  for (const { ring } of [receive, transmit]) ring.reset();
  return { backend, receive, far, start, post };
}

test('is for whoever goes on with the same features', async () => {
  const { backend, receive, start, post } = await holding();
  await start(MERGEABLE);
  post(3);
  await until(() => receive.ring.returned === 3, 'the frame');
  expect(backend.counters[0]).toMatchObject({ received: 1, receiveDropped: 0 });
});

test('is dropped for a driver that took others, whose frames come behind it', async () => {
  const { backend, receive, far, start, post } = await holding();
  await start(PLAIN);
  post(3);
  far.send(new Uint8Array(100));
  await until(() => receive.ring.returned > 0, 'the frame');
  receive.ring.pop();
  expect([receive.ring.usedLength, receive.ring.returned]).toEqual([100, 0]);
  expect(backend.counters[0]).toMatchObject({ received: 1, receiveDropped: 1 });
});
