import { describe, expect, test } from 'vitest';
import {
  bit,
  headerLengthOf,
  NetPort,
  Tap,
  VHOST_NET_F_VIRTIO_NET_HDR,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { stamp } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { address, ping, SELF } from '../support/ping.js';
import { openPortAndWire } from '../support/ports.js';
import { answer } from '../support/responder.js';
import { Rig, type Segment } from '../support/rings.js';

holdNothingLeaks();

/** What the TAP puts before a frame: a header of so many bytes, or none (its length set all the same). */
const TAPS = [
  { header: true, size: 10 },
  { header: true, size: 12 },
  { header: false, size: 10 },
  { header: false, size: 12 },
] as const;
const BOOLEANS = [false, true];

const MATRIX = TAPS.flatMap((tap) =>
  BOOLEANS.flatMap((version1) =>
    BOOLEANS.flatMap((mergeable) =>
      BOOLEANS.map((supplied) => {
        const features =
          (version1 ? bit(VIRTIO_F_VERSION_1) : 0n) |
          (mergeable ? bit(VIRTIO_NET_F_MRG_RXBUF) : 0n) |
          (supplied ? bit(VHOST_NET_F_VIRTIO_NET_HDR) : 0n);
        const length = version1 || mergeable ? 12 : 10;
        // Where vhost supplies the header the TAP has none, else one of the rings' length.
        const works = supplied ? !tap.header : tap.header && tap.size === length;
        const flags = `VERSION_1 ${+version1}, MRG_RXBUF ${+mergeable}, VIRTIO_NET_HDR ${+supplied}`;
        const header = tap.header ? `of ${tap.size} bytes` : `none (set to ${tap.size})`;
        return { ...tap, supplied, features, length, works, name: `${header}; ${flags}` };
      }),
    ),
  ),
);
const WORKING = MATRIX.filter(({ works }) => works);
const REFUSED = MATRIX.filter(({ works }) => !works);

const named = (rows: typeof MATRIX) => rows.map((row) => [row.name, row] as const);

function openTap({ header, size }: { header: boolean; size: number }): Tap {
  const tap = Tap.open(tapName(), { vnetHeader: header });
  tap.setVnetHeaderSize(size);
  return tap;
}

/** Answers what comes until the test is over. */
function respond(rig: Rig): void {
  const { receive, transmit } = rig;
  const BUFFER = 2048;
  const buffer = (index: number): Segment => [(1n << 20n) + BigInt(index * BUFFER), BUFFER];
  // The device may still read an answer when the next is written.
  let answers = 0;
  const out = () => (2n << 20n) + BigInt((answers++ % 16) * BUFFER);
  const bufferOf: number[] = [];
  const post = (index: number) => {
    bufferOf[rig.addWritable([buffer(index)])] = index;
  };
  for (let i = 0; i < 16; i++) post(i);
  receive.publish();
  const work = () => {
    do {
      for (let head = receive.ring.pop(); head >= 0; head = receive.ring.pop()) {
        const index = bufferOf[head] as number;
        const reply = answer(rig.frame([buffer(index)], receive.ring.usedLength), SELF);
        post(index);
        while (transmit.ring.pop() >= 0);
        if (!reply) continue;
        const segment: Segment = [out(), rig.headerLength + reply.length];
        rig.fill([segment], reply);
        rig.addReadable([segment]);
        transmit.publish();
      }
      receive.publish();
    } while (receive.ring.enableCalls());
  };
  receive.call.onSignal(work);
  work();
}

test('of 32 combinations 12 can work: 4 with the TAP’s header, 8 with vhost’s', () => {
  expect(MATRIX).toHaveLength(32);
  expect(WORKING.filter(({ supplied }) => !supplied)).toHaveLength(4);
  expect(WORKING.filter(({ supplied }) => supplied)).toHaveLength(8);
  expect(REFUSED).toHaveLength(20);
  for (const { features, length } of MATRIX) expect(headerLengthOf(features)).toBe(length);
});

describe('rings whose header is that of the TAP are served', () => {
  test.each(named(WORKING))('%s', async (_, row) => {
    const tap = openTap(row);
    const rig = await Rig.start({ features: row.features, tap, size: 16 });
    tap.interface.setUp();
    address(tap.interface);
    respond(rig);
    expect(await ping(4, tap.interface.name)).toEqual({ sent: 2, received: 2 });
    expect(await ping(6, tap.interface.name, { count: 1, bytes: 1000 })).toEqual({
      sent: 1,
      received: 1,
    });
  });
});

describe('rings whose header is another are refused', () => {
  test.each(named(REFUSED))('%s', async (_, row) => {
    const tap = openTap(row);
    const rig = Rig.prepare({ features: row.features, tap, size: 16 });
    const error = await expectCode(
      () => rig.resume({ receive: 0, transmit: 0 }),
      'ERR_HEADER_LENGTH',
    );
    expect(error.message).toContain(tap.interface.name);
    if (row.header && !row.supplied) {
      expect(error.message).toMatch(new RegExp(`\\b${row.length} bytes.*\\bone of ${row.size}\\b`));
      expect(error.hint).toContain(`setVnetHeaderSize(${row.length})`);
    } else {
      expect(error.hint).toContain(`vnetHeader: ${row.header ? 'false' : 'true'}`);
    }
    expect(rig.backend.running).toBe(false);
    // The device was not touched: the same backend starts with what works.
    if (row.header && !row.supplied) {
      tap.setVnetHeaderSize(row.length);
      await rig.resume({ receive: 0, transmit: 0 });
    }
  });
});

describe('a port gives its TAP the header that the features mean', () => {
  const rows = WORKING.filter(({ size, supplied, length }) => !supplied || size === length);
  test.each(named(rows))('%s', async (_, { features, supplied }) => {
    const name = tapName();
    const port = await NetPort.open({ tap: name, features });
    cleanup(() => port.close());
    expect(port.features).toBe(features);
    expect(port.tap.hasVnetHeader).toBe(!supplied);
    address(port.tap.interface);
    port.onFrames((frames) => {
      for (const { bytes } of frames) {
        const reply = answer(bytes, SELF);
        if (reply) port.trySend(reply);
      }
    });
    expect(await ping(4, name, { count: 1 })).toEqual({ sent: 1, received: 1 });
    expect(await ping(6, name, { count: 1 })).toEqual({ sent: 1, received: 1 });
  });
});

test('a header that vhost supplies is none of what was sent before', async () => {
  const plain = { features: bit(VIRTIO_F_VERSION_1) };
  const supplied = { features: plain.features | bit(VHOST_NET_F_VIRTIO_NET_HDR) };
  const frame = new Uint8Array(1400).fill(0xff);
  stamp(frame, 0);
  for (const [options, count] of [
    [plain, 5000],
    [supplied, 1000],
    [plain, 1000],
  ] as const) {
    const { port, wire } = await openPortAndWire(options);
    let received = 0;
    for (let sent = 0; sent < count; sent += 50) {
      await port.send(new Array<Uint8Array>(50).fill(frame));
      await until(() => {
        received += wire.read().length;
        return received === sent + 50;
      }, 'every frame arrives');
    }
  }
});
