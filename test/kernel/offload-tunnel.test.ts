import { expect, test } from 'vitest';
import { Frame, type OffloadName, prepareOffload, Segmenter } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { KERNEL_LINE } from '../support/host.js';
import { bridge } from '../support/network.js';
import { bytesOf, packet, payloadOf, sealed, TCP, tcp, UDP, udp } from '../support/packets.js';
import { openPort } from '../support/ports.js';
import { collectOurs, expectFrames, OUR_MACS } from '../support/super-frames.js';

holdNothingLeaks();

const HAS_TUNNEL = !KERNEL_LINE.startsWith('6.');
const TUNNEL: OffloadName[] = ['tso4', 'tunnel', 'tunnel-csum'];
const VXLAN = [8, 0, 0, 0, 0, 0, 7, 0];
const MSS = 1398;
const OUTER = { source: '192.0.2.1', destination: '192.0.2.2', macs: OUR_MACS, id: 65_530 };
const INNER = { source: '10.88.0.1', destination: '10.88.0.2', id: 5, protocol: TCP };

/** A frame in a VXLAN tunnel; its checksum is right, or 0, or begun with the pseudo-header's sum. */
function wrapped(inner: Uint8Array, csum: 'right' | 'none', index = 0): Uint8Array {
  const transport = udp(bytesOf(VXLAN, inner), [5555, 4789]);
  const fields = { ...OUTER, id: (OUTER.id + index) % 65_536, protocol: UDP, transport };
  return csum === 'right' ? sealed(fields) : packet(fields);
}

/** A super-frame in a tunnel, and the frames that it means, by way of those in the tunnel. */
function tunnelled(csum: 'right' | 'none'): { frame: Frame; segments: Uint8Array[] } {
  const inner = Frame.from(packet({ ...INNER, transport: tcp(payloadOf(60_000)) }));
  prepareOffload(inner.bytes, inner.offload, MSS);
  const segments = new Segmenter()
    .segment(inner.bytes, inner.offload)
    .map((segment, i) => wrapped(segment, csum, i));
  const frame = Frame.from(wrapped(inner.bytes, 'none'));
  if (csum === 'right') prepareOffload(frame.bytes, frame.offload);
  const OUTER_LENGTH = 50;
  Object.assign(frame.offload, {
    ...inner.offload,
    flags: csum === 'right' ? 9 : 1,
    gsoType: 0x21,
    headerLength: OUTER_LENGTH + inner.offload.headerLength,
    checksumStart: OUTER_LENGTH + inner.offload.checksumStart,
    outerTransport: 34,
    innerNetwork: OUTER_LENGTH + 14,
  });
  return { frame, segments };
}

if (HAS_TUNNEL) {
  test.each(['none', 'right'] as const)(
    'a super-frame in a tunnel is cut by the kernel as by Segmenter; checksum outside: %s',
    async (csum) => {
      const a = await openPort({ offload: TUNNEL });
      const b = await openPort();
      bridge(a.name, b.name);
      const { frame, segments } = tunnelled(csum);
      const next = collectOurs(b.port);
      await a.port.send(frame);
      expectFrames(await next(segments.length), segments);
      const cut = new Segmenter().segment(frame.bytes, frame.offload);
      for (const [i, segment] of cut.entries()) {
        expect(Buffer.compare(segment, segments[i] as Uint8Array)).toBe(0);
      }
    },
  );

  test.each(['none', 'right'] as const)(
    'a super-frame in a tunnel comes whole where the other port takes it; checksum outside: %s',
    async (csum) => {
      const a = await openPort({ offload: TUNNEL });
      const b = await openPort({ offload: TUNNEL });
      expect(b.port.offloads).toEqual(['csum', ...TUNNEL]);
      bridge(a.name, b.name);
      const { frame } = tunnelled(csum);
      const next = collectOurs(b.port);
      await a.port.send(frame);
      const received = await next(1);
      expectFrames(received, [frame.bytes]);
      const headerLength = expect.any(Number);
      expect(received[0]?.offload).toEqual({ ...frame.offload, headerLength });
    },
  );
} else {
  test('a port with tunnels is refused in words', async () => {
    const error = await expectCode(() => openPort({ offload: TUNNEL }), 'ERR_FEATURES_NOT_OFFERED');
    expect(error.message).toMatch(/tunnel, tunnel-csum$|VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO/);
  });
}
