import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainOffload } from '../../lib/net/header.js';
import { OffloadRules } from '../../lib/net/offload-rules.js';
import { bit } from '../../lib/uapi/virtio-net.js';

/** Feature bits of one direction (virtio 1.3 §5.1.3). */
interface Bits {
  csum: number;
  tcp4: number;
  tcp6: number;
  ecn: number;
  ufo: number;
  /** USO; of a guest one bit for each version of IP, of which a header does not say which it is. */
  uso: readonly number[];
  tunnel: number;
  tunnelSum: number;
}

const HOST: Bits = {
  csum: 0,
  tcp4: 11,
  tcp6: 12,
  ecn: 13,
  ufo: 14,
  uso: [56],
  tunnel: 67,
  tunnelSum: 68,
};
const GUEST: Bits = {
  csum: 1,
  tcp4: 7,
  tcp6: 8,
  ecn: 9,
  ufo: 10,
  uso: [54, 55],
  tunnel: 65,
  tunnelSum: 66,
};

const EVERY_TYPE = Array.from({ length: 256 }, (_, type) => type);

/** virtio 1.3 §5.1.6.2.1 and §5.1.6.4.1: what must be negotiated for a type. */
function typeAllowed(type: number, features: bigint, bits: Bits): boolean {
  const has = (...wanted: number[]) => wanted.every((one) => (features & bit(one)) !== 0n);
  if (type === 0) return true;
  if (!has(bits.csum)) return false;
  if ((type & 0x60) === 0x60) return false;
  if ((type & 0x60) !== 0 && !has(bits.tunnel)) return false;
  const inner = type & ~0x60;
  if (inner === 1) return has(bits.tcp4);
  if (inner === 4) return has(bits.tcp6);
  if (inner === 0x81) return has(bits.tcp4, bits.ecn);
  if (inner === 0x84) return has(bits.tcp6, bits.ecn);
  // No fragments in a tunnel: the kernel refuses them (include/linux/virtio_net.h).
  if (inner === 3) return has(bits.ufo) && type === 3;
  return inner === 5 && has(...bits.uso);
}

function flagAllowed(flag: number, features: bigint, bits: Bits): boolean {
  const has = (one: number) => (features & bit(one)) !== 0n;
  const segments =
    has(bits.tcp4) || has(bits.tcp6) || bits.uso.every((one) => (features & bit(one)) !== 0n);
  if (flag === 1) return has(bits.csum);
  return has(bits.csum) && segments && has(bits.tunnel) && has(bits.tunnelSum);
}

describe.each([
  ['sends', HOST, (features: bigint) => OffloadRules.ofSent(features), 0],
  ['is given', GUEST, (features: bigint) => OffloadRules.ofGiven(features), 2],
] as const)('of what a guest %s,', (_, bits, rulesOf, told) => {
  const features = fc
    .subarray(Object.values(bits).flat() as number[])
    .map((list) => list.reduce((sum, one) => sum | bit(one), 0n));
  const others = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((all) => {
    const own = Object.values(bits).flat() as number[];
    return own.reduce((left, one) => left & ~bit(one), all);
  });

  test('each of the 256 types is allowed by its own features, and by no other', () => {
    fc.assert(
      fc.property(features, others, (own, rest) => {
        const rules = rulesOf(own | rest);
        const allowed = (gsoType: number) => rules.allow({ ...plainOffload(), gsoType });
        const expected = EVERY_TYPE.filter((type) => typeAllowed(type, own, bits));
        expect(EVERY_TYPE.filter(allowed)).toEqual(expected);
        // What no byte can say.
        expect([-1, 0.5, 256, 257, Number.NaN].some(allowed)).toBe(false);
      }),
    );
  });

  test('the flags that ask for work need their features, and those that tell are no matter', () => {
    fc.assert(
      fc.property(features, fc.integer({ min: 0, max: 255 }), (own, flags) => {
        const rules = rulesOf(own);
        const asked = [1, 8].filter((flag) => flags & flag);
        const allowed = asked.every((flag) => flagAllowed(flag, own, bits));
        expect(rules.allow({ ...plainOffload(), flags })).toBe(allowed);
      }),
    );
  });

  test('no flag may be seen but those negotiated, and that a checksum is right where it is told', () => {
    fc.assert(
      fc.property(features, (own) => {
        const work = [1, 8].filter((flag) => flagAllowed(flag, own, bits));
        const all = work.reduce((sum, flag) => sum | flag, 0);
        expect(rulesOf(own).flags).toBe(all | (all & 1 ? told : 0));
      }),
    );
  });
});
