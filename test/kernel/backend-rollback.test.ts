import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { bit, EventFd, KernelBackend, type QueuePairConfig } from '../../lib/index.js';
import { keep } from '../support/device.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { configOf, FEATURES, RingPair, upTap } from '../support/ring-pair.js';

beforeEach(async () => {
  const before = await leakSnapshot();
  // The first to be asked for is the last to run: when everything was given back.
  onTestFinished(() => expectNoLeaks(before));
});

describe('a backend whose start fails', () => {
  /** One thing wrong in the rings, and the error that it leads to. */
  const wrongRings: [string, string, (pair: QueuePairConfig) => Partial<QueuePairConfig>][] = [
    [
      'a size that is no power of two',
      'EINVAL',
      ({ receive }) => ({ receive: { ...receive, size: 3 } }),
    ],
    [
      'one in the transmit ring',
      'EINVAL',
      ({ transmit }) => ({ transmit: { ...transmit, size: 3 } }),
    ],
    [
      'a base that cannot be',
      'EINVAL',
      ({ transmit }) => ({ transmit: { ...transmit, base: 65536 } }),
    ],
    [
      'an avail ring not aligned to 2 bytes',
      'EINVAL',
      ({ transmit }) => {
        const { addresses } = transmit;
        const avail = addresses.avail + 1n;
        return { transmit: { ...transmit, addresses: { ...addresses, avail } } };
      },
    ],
    [
      'a used ring outside the memory',
      'ERR_OUT_OF_RANGE',
      ({ transmit }) => {
        const addresses = { ...transmit.addresses, used: 0x10_0000n };
        return { transmit: { ...transmit, addresses } };
      },
    ],
    [
      'a used ring over the end of the memory',
      'ERR_OUT_OF_RANGE',
      ({ receive }) => {
        const addresses = { ...receive.addresses, used: 0xfff0n };
        return { receive: { ...receive, addresses } };
      },
    ],
    [
      'a closed eventfd',
      'ERR_CLOSED',
      ({ transmit }) => {
        const kick = EventFd.create();
        kick.close();
        return { transmit: { ...transmit, kick } };
      },
    ],
  ];

  test.each(wrongRings)('for %s can be started after', async (_, code, wrong) => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    const good = rings.config();
    const pairs = [{ ...good, ...wrong(good) }];
    await expectCode(() => backend.start({ ...configOf(rings), pairs }), code);
    expect(backend.running).toBe(false);
    await backend.start(configOf(rings));
    await rings.exchange(tap);
  });

  test('for features that are not offered can be started after', async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    const start = () => backend.start({ ...configOf(rings), features: FEATURES | bit(63) });
    await expectSystemError(start, 'EOPNOTSUPP', 'ioctl(VHOST_SET_FEATURES)');
    await backend.start(configOf(rings));
    await rings.exchange(tap);
  });

  test('for a header of another length can be started after', async () => {
    const tap = upTap();
    tap.setVnetHeaderSize(10);
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    const error = await expectCode(() => backend.start(configOf(rings)), 'ERR_HEADER_LENGTH');
    expect(error.hint).toContain('setVnetHeaderSize(12)');
    tap.setVnetHeaderSize(12);
    await backend.start(configOf(rings));
    await rings.exchange(tap);
  });

  test('for another number of pairs does nothing', async () => {
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([upTap()]));
    const pairs = [rings.config(), rings.config()];
    await expectCode(() => backend.start({ ...configOf(rings), pairs }), 'ERR_INVALID_ARG_VALUE');
    await expectCode(
      () => backend.start({ ...configOf(rings), pairs: [] }),
      'ERR_INVALID_ARG_VALUE',
    );
  });

  test('for a closed TAP does nothing', async () => {
    const tap = upTap();
    const rings = keep(new RingPair());
    const backend = keep(KernelBackend.open([tap]));
    tap.close();
    await expectCode(() => backend.start(configOf(rings)), 'ERR_CLOSED');
  });

  test('lets go of the memory', async () => {
    const tap = upTap();
    const rings = new RingPair();
    const backend = keep(KernelBackend.open([tap]));
    const good = rings.config();
    const pairs = [{ ...good, transmit: { ...good.transmit, size: 3 } }];
    await expectCode(() => backend.start({ ...configOf(rings), pairs }), 'EINVAL');
    rings.close();
    const others = keep(new RingPair());
    await backend.start(configOf(others));
    await others.exchange(tap);
    await backend.close();
  });

  test('in its second pair stops the first', async () => {
    const taps = [upTap(), upTap()];
    const first = keep(new RingPair());
    const backend = keep(KernelBackend.open(taps));
    const good = first.config();
    const pairs = [good, { ...good, transmit: { ...good.transmit, size: 3 } }];
    await expectCode(() => backend.start({ ...configOf(first), pairs }), 'EINVAL');
    expect(backend.running).toBe(false);
    first.memory.close();
  });
});
