/** States of a card on a PCI bus that cannot be this one's. */
import { describe, expect, test } from 'vitest';
import type { VirtioPciState } from '../../lib/device/pci-state.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { running, seen } from '../support/moving-pci.js';
import { FakeMsi, makePci } from '../support/pci.js';

holdNothingLeaks();

describe('a state that is refused changes nothing', () => {
  const config = (at: number, byte: string) => (state: VirtioPciState) => {
    const { config: before } = state;
    state.config = before.slice(0, 2 * at) + byte + before.slice(2 * at + 2);
  };
  const assign = (fields: object) => (state: VirtioPciState) => void Object.assign(state, fields);
  test.each<[string, (state: VirtioPciState) => void, string]>([
    ['is another device', config(2, '00'), 'byte 0x2 of its configuration space'],
    ['has a pin', config(0x3d, '01'), 'byte 0x3d of its configuration space'],
    ['has a BAR that is not aligned', config(0x12, 'ff'), 'byte 0x12 of its configuration space'],
    ['has half a configuration space', assign({ config: '00' }), 'config is not 256 bytes'],
    ['has a space of other digits', assign({ config: 'x'.repeat(512) }), 'config is not 256 bytes'],
    ['has another table', assign({ msixTable: '00' }), 'msixTable is not 64 bytes'],
    ['has a vector that there is not', assign({ configVector: 4 }), 'configVector is 4'],
    ['has too many vectors', assign({ queueVectors: [0, 0, 0, 0] }), 'queueVectors has 4 items'],
    ['has a vector of no queue', assign({ queueVectors: [0, -1, 2] }), 'queueVectors is -1'],
    ['has a wrong ISR', assign({ isr: 4 }), 'isr is 4'],
    ['does not know what waits', assign({ configSignalled: 'no' }), 'configSignalled is "no"'],
    ['has a wrong selector', assign({ queueSelect: 1e5 }), 'queueSelect is 100000'],
    ['has a wrong word', assign({ deviceFeatureSelect: 0.5 }), 'deviceFeatureSelect is 0.5'],
    ['has no word', assign({ driverFeatureSelect: undefined }), 'driverFeatureSelect is undefined'],
    ['has no card', assign({ card: undefined }), 'it is missing'],
    ['has a card that is not this one', ({ card }) => void card.queues.pop(), 'has 2 queues'],
  ])('as it %s', async (_, spoil, words) => {
    const state = await (await running()).transport.stop();
    spoil(state);
    const moves: unknown[] = [];
    const next = makePci({ msi: new FakeMsi(), onBarChange: (address) => moves.push(address) });
    const before = seen(next);
    await expect(next.transport.start(state)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(words) as unknown,
    });
    expect([seen(next), moves, next.backend.asked]).toEqual([before, [], []]);
  });

  test('as there is a driver already, or no card any more', async () => {
    const card = await running();
    const state = await (await running()).transport.stop();
    const before = seen(card);
    await expect(card.transport.start(state)).rejects.toMatchObject({ code: 'ERR_BUSY' });
    expect(seen(card)).toEqual(before);
    card.transport.close();
    await expect(card.transport.start(state)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await expect(card.transport.stop()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('nor does one whose rings the backend does not take', async () => {
    const state = await (await running()).transport.stop();
    const msi = new FakeMsi();
    const next = makePci({ msi });
    const before = seen(next);
    next.backend.failWith = new Error('no worker');
    await expect(next.transport.start(state)).rejects.toThrow('no worker');
    expect(seen(next)).toEqual(before);
    expect(next.transport.barAddress).toBeUndefined();
    await next.transport.start(state);
    expect(next.driver.status).toBe(0xf);
  });
});
