import { describe, expect, test } from 'vitest';
import {
  completeChecksum,
  Frame,
  NetPort,
  type OffloadName,
  prepareOffload,
  Segmenter,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { KERNEL_LINE } from '../support/host.js';
import { bridge } from '../support/network.js';
import {
  ACK,
  CWR,
  FIN,
  type PacketFields,
  PSH,
  packet,
  payloadOf,
  TCP,
  tcp,
  UDP,
  udp,
} from '../support/packets.js';
import { openPort } from '../support/ports.js';
import { collectOurs, expectFrames, OUR_MACS, type Received } from '../support/super-frames.js';

holdNothingLeaks();

const HAS_USO = KERNEL_LINE !== '6.1';
const MSS = 1448;
const V4 = { source: '10.88.0.1', destination: '10.88.0.2', macs: OUR_MACS, id: 65_530 };
const V6 = { source: 'fd88::1', destination: 'fd88::2', macs: OUR_MACS };
const TAG: [number, number][] = [[0x8100, 0x2005]];

const tcpOf = (length: number, flags = ACK) =>
  tcp(payloadOf(length), {
    sequence: 0xffff_0000,
    flags,
    options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
  });

const FIRST: PacketFields = { ...V4, protocol: TCP, transport: tcpOf(65_400) };

/** What one frame of nearly 64 KiB can be. */
const TCP_CASES: [string, PacketFields][] = [
  // A frame of more than 65,536 bytes, all headers counted, the kernel hands to nobody.
  ['TCP over IPv4', FIRST],
  ['TCP over IPv6', { ...V6, protocol: TCP, transport: tcpOf(65_400, ACK | PSH | FIN) }],
  ['TCP over IPv4 behind a tag', { ...V4, tags: TAG, protocol: TCP, transport: tcpOf(65_000) }],
  ['TCP over IPv6 behind a tag', { ...V6, tags: TAG, protocol: TCP, transport: tcpOf(65_000) }],
  [
    'TCP with options of IPv4',
    { ...V4, options: [1, 1, 1, 0], protocol: TCP, transport: tcpOf(9000) },
  ],
  [
    'TCP that reduces its window',
    { ...V4, protocol: TCP, transport: tcpOf(9000, ACK | CWR | PSH) },
  ],
];
const UDP_CASES: [string, PacketFields][] = [
  ['UDP over IPv4', { ...V4, protocol: UDP, transport: udp(payloadOf(65_000)) }],
  ['UDP over IPv6', { ...V6, protocol: UDP, transport: udp(payloadOf(65_001)) }],
  [
    'UDP over IPv4 behind a tag',
    { ...V4, tags: TAG, protocol: UDP, transport: udp(payloadOf(9000)) },
  ],
];
const CASES = HAS_USO ? [...TCP_CASES, ...UDP_CASES] : TCP_CASES;

/*
 *   port A ── TAP A ──┐
 *                   bridge    The kernel does for B what A's header asks for and B's TAP does not take.
 *   port B ── TAP B ──┘
 */
type OffloadOption = OffloadName[] | boolean;

async function bridgedPorts(toA: OffloadOption, toB: OffloadOption) {
  const a = await openPort({ offload: toA });
  const b = await openPort({ offload: toB });
  bridge(a.name, b.name);
  return { a: a.port, b: b.port };
}

/** A super-frame, and the frames that it means. */
function superFrame(fields: PacketFields): { frame: Frame; segments: Uint8Array[] } {
  const frame = Frame.from(packet(fields));
  prepareOffload(frame.bytes, frame.offload, MSS);
  const segments = new Segmenter().segment(frame.bytes, frame.offload);
  return { frame, segments: segments.map((segment) => segment.slice()) };
}

describe('a super-frame that a port sends', () => {
  test('is cut by the kernel as by Segmenter', async () => {
    const { a, b } = await bridgedPorts(true, false);
    const next = collectOurs(b);
    for (const [name, fields] of CASES) {
      const { frame, segments } = superFrame(fields);
      await a.send(frame);
      const received = await next(segments.length);
      expectFrames(received, segments, name);
      const unfinished = ({ offload }: Received) => (offload.flags & 1) + offload.gsoType > 0;
      expect(received.some(unfinished)).toBe(false);
    }
  });

  test('comes whole where the other port takes it', async () => {
    const { a, b } = await bridgedPorts(true, true);
    const next = collectOurs(b);
    for (const [name, fields] of CASES) {
      const { frame } = superFrame(fields);
      await a.send(frame);
      const received = await next(1);
      expectFrames(received, [frame.bytes], name);
      // How long the headers are is a hint, for which the kernel has another idea.
      const headerLength = expect.any(Number);
      expect(received[0]?.offload).toEqual({ ...frame.offload, headerLength });
    }
  });

  test('comes in segments without checksums where the other port takes only these', async () => {
    const { a, b } = await bridgedPorts(true, ['csum']);
    const next = collectOurs(b);
    const { frame, segments } = superFrame(FIRST);
    await a.send(frame);
    const received = await next(segments.length);
    expect(received.map(({ offload }) => offload.flags)).toEqual(segments.map(() => 1));
    for (const { bytes, offload } of received) completeChecksum(bytes, offload);
    expectFrames(received, segments);
  });

  test('comes whole in many small buffers', async () => {
    const a = await openPort({ offload: true });
    const b = await openPort({ offload: true, bufferSize: 1600 });
    bridge(a.name, b.name);
    const next = collectOurs(b.port);
    const { frame } = superFrame(FIRST);
    await a.port.send([frame, frame]);
    expectFrames(await next(2), [frame.bytes, frame.bytes]);
    expect(b.port.counters.rxErrors).toBe(0);
  });
});

describe('a port', () => {
  test('has no offloads by default, and those of its kernel with `true`', async () => {
    const plain = await openPort();
    const full = await openPort({ offload: true });
    expect(plain.port.offloads).toEqual([]);
    const uso = HAS_USO ? ['uso'] : [];
    expect(full.port.offloads).toEqual(['csum', 'tso4', 'tso6', 'ecn', ...uso]);
  });

  test('has just those of a list', async () => {
    const { port } = await openPort({ offload: ['tso6'] });
    expect(port.offloads).toEqual(['csum', 'tso6']);
  });

  test(`has USO, or is refused in words (${KERNEL_LINE})`, async () => {
    const open = () => openPort({ offload: ['uso'] });
    if (HAS_USO) expect((await open()).port.offloads).toEqual(['csum', 'uso']);
    else {
      const error = await expectCode(open, 'ERR_FEATURES_NOT_OFFERED');
      expect(error.message).toBe("this kernel's TAP has no offload uso");
    }
  });

  test('refuses to send what the kernel might drop without a word', async () => {
    const { port } = await openPort({ offload: ['tso4'] });
    const frame = Frame.from(packet((UDP_CASES[0] as (typeof UDP_CASES)[0])[1]));
    prepareOffload(frame.bytes, frame.offload, MSS);
    const error = await expectCode(() => port.send(frame), 'ERR_FEATURES_NOT_OFFERED');
    expect(error.message).toContain('the offload uso');
    await expectCode(() => port.trySend([frame]), 'ERR_FEATURES_NOT_OFFERED');
    Object.assign(frame.offload, { gsoType: 0x21 });
    await expectCode(() => port.trySend(frame), 'ERR_FEATURES_NOT_OFFERED');
    expect(port.counters.txFrames).toBe(0);
  });

  test('keeps its offloads where it is stopped and goes on', async () => {
    const { port, name } = await openPort({ offload: ['tso4'] });
    const a = await openPort({ offload: true });
    bridge(a.name, name);
    const { descriptors } = port;
    const heir = await NetPort.resume(await port.stop(), descriptors);
    cleanup(() => heir.close());
    await port.close();
    expect(heir.offloads).toEqual(['csum', 'tso4']);
    const next = collectOurs(heir);
    const { frame } = superFrame(FIRST);
    await a.port.send(frame);
    expectFrames(await next(1), [frame.bytes]);
  });

  test('without offloads gets none that the TAP had from its last use', async () => {
    const { port, name } = await openPort({ offload: true });
    port.tap.setPersist(true);
    await port.close();
    const again = await openPort({ tap: name });
    again.port.tap.setPersist(false);
    const a = await openPort({ offload: true });
    bridge(a.name, name);
    const next = collectOurs(again.port);
    const { frame, segments } = superFrame(FIRST);
    await a.port.send(frame);
    expectFrames(await next(segments.length), segments);
  });
});
