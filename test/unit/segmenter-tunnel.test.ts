import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainOffload } from '../../lib/net/header.js';
import { prepareOffload } from '../../lib/net/prepare-offload.js';
import { Segmenter } from '../../lib/net/segmenter.js';
import { bytesOf, packet, payloadOf, sealed, UDP, udp } from '../support/packets.js';
import { aCase, type Case, expectedOf, superFrameOf } from '../support/segment-cases.js';

describe('a UDP tunnel', () => {
  const VXLAN = [8, 0, 0, 0, 0, 0, 7, 0];
  const OUTER4 = { source: '192.0.2.1', destination: '192.0.2.2' };
  const OUTER6 = { source: 'fd01::1', destination: 'fd01::2' };
  const tunnel: fc.Arbitrary<{ outer: Case['fields']; csum: boolean }> = fc.record({
    outer: fc
      .record({
        ends: fc.constantFrom(OUTER4, OUTER6),
        id: fc.nat(65_535),
        tags: fc.constantFrom<[number, number][][]>([], [[0x8100, 5]]),
      })
      .map(({ ends, ...rest }) => ({ ...ends, ...rest })),
    csum: fc.boolean(),
  });

  /** A frame in the tunnel. */
  function wrapped(
    outer: Case['fields'],
    csum: boolean,
    inner: Uint8Array,
    index: number,
  ): Uint8Array {
    const id = ((outer.id ?? 0) + index) % 65_536;
    const transport = udp(bytesOf(VXLAN, inner), [5555, 4789]);
    const fields = { ...outer, id, protocol: UDP, transport };
    return csum ? sealed(fields) : packet(fields);
  }

  test('is around every segment of a super-frame in it', () => {
    const segmenter = new Segmenter();
    fc.assert(
      fc.property(aCase, tunnel, fc.boolean(), (of, { outer, csum }, counted) => {
        const inner = superFrameOf({ ...of, payload: payloadOf(of.mss + 1 + of.payload.length) });
        const offload = plainOffload();
        prepareOffload(inner, offload, of.mss);
        const bytes = wrapped(outer, false, inner, 0);
        const outerTransport = bytes.length - inner.length - 16;
        // Its sum begins with that of the pseudo-header, as for any partial checksum.
        if (csum) {
          const partial = plainOffload();
          prepareOffload(bytes, partial);
          expect(partial.checksumStart).toBe(outerTransport);
        }
        // The kernel leaves a tag out of these two, a port's sender may count it.
        const tag = counted ? 0 : 4 * (outer.tags?.length ?? 0);
        const network = offload.checksumStart - transportInPacket(inner, offload.checksumStart);
        const asked = {
          ...offload,
          flags: 1 | (csum ? 8 : 0),
          gsoType: offload.gsoType | (outer.source === OUTER4.source ? 0x20 : 0x40),
          checksumStart: outerTransport + 16 + offload.checksumStart,
          outerTransport: outerTransport - tag,
          innerNetwork: outerTransport + 16 + network - tag,
        };
        const frames = segmenter.segment(bytes, asked).map((frame) => frame.slice());
        const whole = { ...of, payload: payloadOf(of.mss + 1 + of.payload.length) };
        expect(frames).toEqual(expectedOf(whole).map((one, i) => wrapped(outer, csum, one, i)));
      }),
      { numRuns: 200 },
    );
  });

  /** Bytes from the IP header of a frame to its transport. */
  function transportInPacket(frame: Uint8Array, transport: number): number {
    let at = 14;
    while (frame[at - 2] === 0x81 || frame[at - 2] === 0x88) at += 4;
    return transport - at;
  }
});
