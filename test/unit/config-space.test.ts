/** What a card's configuration may say, and how its driver sees that it changed (virtio 1.3 §2.5, §5.1.4). */
import { describe, expect, test } from 'vitest';
import { ConfigSpace } from '../../lib/device/config-space.js';
import { makeCard } from '../support/card-driver.js';

describe('the generation', () => {
  test('is another one after as many changes as it has numbers', () => {
    const config = new ConfigSpace();
    const { generation } = config;
    config.read(0, 6);
    for (let i = 0; i < 256; i++) config.status = i & 1;
    expect(config.generation).not.toBe(generation);
  });

  test('changes with each change that was read', () => {
    const config = new ConfigSpace();
    const seen = [0, 1, 0].map((status) => {
      config.status = status;
      config.read(6, 2);
      return config.generation;
    });
    expect(new Set(seen).size).toBe(3);
  });

  test('stays where nothing changes', () => {
    const config = new ConfigSpace();
    const { generation } = config;
    for (let i = 0; i < 3; i++) config.read(0, 17);
    expect(config.generation).toBe(generation);
  });
});

describe('an option that no driver could be told', () => {
  test.each([67, 65_536, 1500.5, Number.NaN])('an MTU of %d is refused', (mtu) => {
    expect(() => makeCard({ mtu })).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
  });

  test.each([-1, 0x8000_0000])('a speed of %d is refused', (speed) => {
    expect(() => makeCard({ speed })).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );
  });

  test.each([{ mtu: 68 }, { mtu: 65_535 }, { speed: 0 }, { speed: 0x7fff_ffff }])(
    'but not %o',
    (options) => {
      expect(makeCard(options).device.status).toBe(0);
    },
  );
});
