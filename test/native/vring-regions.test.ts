/** Frames over regions of memory that follow each other, by the rings that are served in JavaScript: cut at every byte. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  Frame,
  type GuestMemory,
  plainOffload,
  type VhostBackend,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MRG_RXBUF,
  writeHeader,
} from '../../lib/index.js';
import { bothEnds, frontendOn } from '../support/both-ends.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { backendOf, numbered } from '../support/front-end.js';
import { until } from '../support/host.js';
import { HEADER, inProcessRig } from '../support/in-process-rig.js';
import { type RingEnd, type Segment, words } from '../support/rings.js';
import { kept } from '../support/sockets.js';

holdNothingLeaks();

const PAGE = 4096;
/** Bytes of a short frame with its header. */
const SHORT = HEADER + 60;
/** Where the regions end: the rings lie in the first, the second is a page. */
const END = 0x8000;
const REGIONS = [
  { guestAddress: 0n, size: END },
  { guestAddress: BigInt(END), size: PAGE },
  { guestAddress: BigInt(END + PAGE), size: 0x1_0000 },
];
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);
/** A byte that no test writes to a buffer. */
const UNTOUCHED = 0xee;

interface Served {
  memory: GuestMemory;
  receive: RingEnd;
  transmit: RingEnd;
  backend: VhostBackend;
  /** The next frame that comes out, without its header. */
  sent(): Promise<Uint8Array>;
  /** Has the back end receive a frame. */
  arrive(frame: Uint8Array): void;
}

async function vhostUser(features: bigint): Promise<Served> {
  const { frontend, config, frames, device, ...rings } = await bothEnds({}, {}, REGIONS);
  await frontend.start({ ...config, features });
  return {
    ...rings,
    backend: frontend,
    arrive: (frame) => expect(device().enqueue([frame])).toBe(1),
    async sent() {
      await until(() => frames.length > 0, 'a frame');
      return frames.shift() as Uint8Array;
    },
  };
}

async function inProcess(features: bigint): Promise<Served> {
  const { far, start, ...rig } = inProcessRig(REGIONS);
  await start(features);
  const buffer = new Uint8Array(1 << 16);
  return {
    ...rig,
    arrive: (frame) => void far.send(Uint8Array.from([...new Uint8Array(HEADER), ...frame])),
    async sent() {
      let size = 0;
      await until(() => {
        size = far.receive(buffer)?.size ?? 0;
        return size > 0;
      }, 'a frame');
      return buffer.slice(HEADER, size);
    },
  };
}

const total = (segments: readonly Segment[]) => segments.reduce((sum, [, bytes]) => sum + bytes, 0);

function write({ memory }: Served, segments: readonly Segment[], bytes: Uint8Array): void {
  let at = 0;
  for (const [address, length] of segments) {
    memory.write(address, bytes.subarray(at, at + length));
    at += length;
  }
}

function read({ memory }: Served, segments: readonly Segment[]): Uint8Array {
  const parts = segments.map(([address, length]) => memory.read(address, length));
  return Uint8Array.from(Buffer.concat(parts));
}

/** A frame that fills these buffers leaves, as it is. */
async function leaves(served: Served, segments: readonly Segment[], number: number) {
  const frame = numbered(number, total(segments) - HEADER);
  write(served, segments, Uint8Array.from([...new Uint8Array(HEADER), ...frame]));
  served.transmit.ring.add(words(segments), segments.length, 0);
  served.transmit.publish();
  expect(await served.sent()).toEqual(frame);
  await served.transmit.pop();
}

/** A frame comes into these buffers, behind a header, and nothing else is written to them. */
async function comes(served: Served, segments: readonly Segment[], length: number, number = 1) {
  const frame = numbered(number, length);
  write(served, segments, new Uint8Array(total(segments)).fill(UNTOUCHED));
  served.receive.ring.add(words(segments), 0, segments.length);
  served.receive.publish();
  served.arrive(frame);
  await served.receive.pop();
  expect(served.receive.ring.usedLength).toBe(HEADER + length);
  const got = read(served, segments);
  expect([...got.subarray(0, HEADER)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  expect(got.subarray(HEADER, HEADER + length)).toEqual(frame);
  expect(got.subarray(HEADER + length).every((byte) => byte === UNTOUCHED)).toBe(true);
}

describe.each([
  ['the vhost-user back end', vhostUser],
  ['the in-process back end', inProcess],
] as const)('over regions that follow each other, %s', (_, serve) => {
  test('takes a frame that is cut at any byte', async () => {
    const served = await serve(VERSION_1);
    for (let before = 1; before < SHORT; before++) {
      await leaves(served, [[BigInt(END - before), SHORT]], before);
    }
  });

  test('takes a frame in several buffers, of which any may be cut, and one over all regions', async () => {
    const served = await serve(VERSION_1);
    for (let before = 0; before <= HEADER; before++) {
      const header: Segment = [BigInt(END - before), HEADER];
      await leaves(served, [header, [BigInt(END + PAGE - 30), 60]], before);
      await leaves(served, [header, [0x7000n, 1], [BigInt(END + PAGE - 1), 59]], 20 + before);
    }
    await leaves(served, [[BigInt(END - 5), 2 * PAGE]], 99);
  });

  test.each([
    ['without merging', VERSION_1],
    ['with merging', MERGEABLE],
  ])('gives a frame to a buffer that is cut at any byte, %s', async (_, features) => {
    const served = await serve(features);
    for (let before = 1; before < SHORT; before++) {
      await comes(served, [[BigInt(END - before), SHORT + 9]], 60, before);
    }
    await comes(served, [[BigInt(END - 5), 2 * PAGE]], 2 * PAGE - HEADER - 1);
    await comes(
      served,
      [
        [BigInt(END - 5), HEADER - 2],
        [BigInt(END + PAGE - 9), 200],
      ],
      150,
    );
  });

  test('says how many buffers a frame took, wherever the first is cut', async () => {
    const served = await serve(MERGEABLE);
    for (let before = 1; before <= HEADER; before++) {
      const buffers: Segment[] = [
        [BigInt(END - before), 40],
        [BigInt(END + PAGE - before), 40],
      ];
      for (const buffer of buffers) served.receive.ring.add(words([buffer]), 0, 1);
      served.receive.publish();
      served.arrive(numbered(before));
      for (const used of [40, SHORT - 40]) {
        await served.receive.pop();
        expect(served.receive.ring.usedLength).toBe(used);
      }
      const got = read(served, buffers);
      expect([...got.subarray(0, HEADER)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
      expect(got.subarray(HEADER, SHORT)).toEqual(numbered(before));
    }
  });

  test('marks the page of each piece that it wrote to, and of no other', async () => {
    const served = await serve(VERSION_1);
    const log = kept(DirtyLog.create(served.memory));
    await served.backend.setDirtyLog(log);
    cleanup(() => served.backend.setDirtyLog(null).catch(() => {}));
    /** Those behind the rings. */
    const pages = () =>
      [...log.harvest()]
        .flatMap(({ guestAddress, size }) =>
          Array.from({ length: size / PAGE }, (_, i) => Number(guestAddress) / PAGE + i),
        )
        .filter((page) => page >= 4);
    for (const [before, length, expected] of [
      [HEADER + 20, 20, [7]],
      [HEADER + 19, 20, [7, 8]],
      [1, 60, [7, 8]],
      [5, PAGE - 7, [7, 8]],
      [5, PAGE - 6, [7, 8, 9]],
    ] as const) {
      log.clear();
      await comes(served, [[BigInt(END - before), 3 * PAGE]], length);
      expect(pages()).toEqual(expected);
    }
  });

  test('breaks the ring where the next region does not begin at once', async () => {
    const served = await serve(VERSION_1);
    served.transmit.ring.add(words([[BigInt(END + PAGE + 0xffff), SHORT]]), 1, 0);
    served.transmit.publish();
    await until(() => served.transmit.err.read() > 0, 'the error');
    await comes(served, [[BigInt(END - 1), SHORT]], 60);
  });
});

test('a header that is cut says, both ways, what it says', async () => {
  const { backend, device } = backendOf({ offload: true });
  const ends = await frontendOn(backend.path, {}, REGIONS);
  const features = VERSION_1 | bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_GUEST_CSUM);
  await ends.frontend.start({ ...ends.config, features });
  const offload = { ...plainOffload(), flags: 1, checksumStart: 34, checksumOffset: 16 };
  const header = new Uint8Array(HEADER);
  writeHeader(header, 0, HEADER, offload);
  for (let before = 1; before <= HEADER; before++) {
    const buffer: Segment = [BigInt(END - before), SHORT];
    ends.memory.write(buffer[0], header);
    ends.transmit.ring.add(words([buffer]), 1, 0);
    ends.transmit.publish();
    expect(device().dequeue()).toMatchObject([{ offload, length: 60 }]);
    device().release();
    await ends.transmit.pop();

    ends.memory.write(buffer[0], new Uint8Array(HEADER).fill(UNTOUCHED));
    ends.receive.ring.add(words([buffer]), 0, 1);
    ends.receive.publish();
    expect(device().enqueue([Frame.from(numbered(before), offload)])).toBe(1);
    await ends.receive.pop();
    expect(ends.memory.read(buffer[0], HEADER)).toEqual(
      Uint8Array.from([...header.subarray(0, 10), 1, 0]),
    );
  }
});
