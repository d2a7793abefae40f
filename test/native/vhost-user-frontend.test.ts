/** What a front end tells its back end, in which order, and what it undoes where that fails. */
import { describe, expect, test } from 'vitest';
import { GuestMemory, type VhostUserRequestName } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { frontendRig, SIZE } from '../support/frontend-rig.js';
import { HANDSHAKE } from '../support/frontend-words.js';
import { until } from '../support/host.js';
import { kept } from '../support/sockets.js';

holdNothingLeaks();

const RING = ['NUM', 'BASE', 'ADDR', 'ERR', 'CALL', 'ENABLE'].map((what) => `SET_VRING_${what}`);
const START = [
  ...['SET_FEATURES', 'SET_STATUS', 'GET_STATUS', 'ADD_MEM_REG'],
  ...['GET_INFLIGHT_FD', 'SET_INFLIGHT_FD', ...RING, ...RING],
  ...['SET_VRING_KICK', 'SET_VRING_KICK', 'SET_STATUS'],
];
const STOP = [
  ...['GET_VRING_BASE', 'SET_VRING_ENABLE', 'GET_VRING_BASE', 'SET_VRING_ENABLE'],
  'SET_STATUS',
];
/** Of the protocol features that the fake has, none but these bits. */
const only = (...bits: number[]) => bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

describe('a front end', () => {
  test('negotiates, sets memory and rings up, starts them, and stops them, in this order', async () => {
    const { fake, frontend, config, pairs } = await frontendRig();
    const { session } = fake;
    expect(session.requests).toEqual(HANDSHAKE);
    expect(frontend.features & ((1n << 26n) | (1n << 30n))).toBe(0n);
    session.forget();
    await frontend.start(config);
    expect(session.requests).toEqual(START);
    // Whatever can be acknowledged is.
    const asked = session.asked.filter(({ request }) => !request.startsWith('GET_'));
    expect(asked.filter(({ needReply }) => !needReply)).toEqual([]);
    expect(session.payloads('SET_FEATURES')).toEqual([config.features | (1n << 30n)]);
    expect(session.payloads('SET_STATUS')).toEqual([0xbn, 0xfn]);
    expect(session.payloads('SET_VRING_NUM')).toEqual(
      [0, 1].map((index) => ({ index, num: SIZE })),
    );
    const [region] = config.memory.regions;
    expect(session.payloads('ADD_MEM_REG')).toEqual([
      { guestAddress: 0n, size: 0x10_0000n, userAddress: region?.userAddress, mmapOffset: 0n },
    ]);
    const used = pairs[1 - 1]?.transmit.addresses.used ?? 0n;
    expect(session.payloads('SET_VRING_ADDR')[1]).toMatchObject({
      index: 1,
      flags: 0,
      used: (region?.userAddress ?? 0n) + used,
      log: used,
    });
    // The kick that is the back end's is the ring's, and was given so that nothing waits in the ring.
    expect(session.eventFd('SET_VRING_KICK 0').read()).toBe(1);
    session.forget();
    session.bases.set(0, 3).set(1, 65_535);
    expect(await frontend.stop()).toEqual([{ receive: 3, transmit: 65_535 }]);
    expect(session.requests).toEqual(STOP);
    expect(session.payloads('SET_STATUS')).toEqual([0n]);
  });

  test('starts rings where they are to go on, and one more beside them, which stops alone', async () => {
    const { fake, frontend, config, pairs } = await frontendRig({ queuePairs: 2 });
    const [first, second] = pairs as [(typeof pairs)[0], (typeof pairs)[0]];
    first.receive.base = 7;
    await frontend.start({ ...config, pairs: [first] });
    expect(fake.session.payloads('SET_VRING_BASE')[0]).toEqual({ index: 0, num: 7 });
    await expectCode(() => frontend.startRing(1, first.transmit), 'ERR_BUSY');
    fake.session.forget();
    await frontend.startRing(3, { ...second.transmit, base: 9 });
    expect(fake.session.requests).toEqual([...RING, 'SET_VRING_KICK']);
    fake.session.forget();
    expect(await frontend.stopRing(3)).toBe(9);
    expect(fake.session.requests).toEqual(['GET_VRING_BASE', 'SET_VRING_ENABLE']);
    await expectCode(() => frontend.stopRing(3), 'ERR_BUSY');
    expect(await frontend.stop()).toEqual([
      { receive: 7, transmit: 0 },
      { receive: 0, transmit: 9 },
    ]);
  });

  test('without REPLY_ACK asks for the features where it has to know that all was done', async () => {
    const { fake, frontend, config } = await frontendRig({ protocolFeatures: 0n });
    await frontend.start(config);
    expect(fake.session.requests.slice(-3)).toEqual([
      'SET_VRING_KICK',
      'SET_VRING_KICK',
      'GET_FEATURES',
    ]);
    expect(fake.session.asked.filter(({ needReply }) => needReply)).toEqual([]);
    expect(fake.session.requests).toContain('SET_MEM_TABLE');
  });

  test('enables no ring of a back end that has no protocol features', async () => {
    const { fake, frontend, config } = await frontendRig({}, { features: 1n << 32n });
    await frontend.start(config);
    expect(fake.session.requests).not.toContain('SET_VRING_ENABLE');
    expect(fake.session.payloads('SET_FEATURES')).toEqual([1n << 32n]);
  });

  test('resets a device that has no status', async () => {
    const { fake, frontend, config } = await frontendRig({ protocolFeatures: only(3, 13) });
    await frontend.start(config);
    await frontend.stop();
    expect(fake.session.requests.at(-1)).toBe('RESET_DEVICE');
  });

  test('adds only the regions that the back end does not have, and removes the others', async () => {
    const { fake, frontend, config, pairs } = await frontendRig();
    await frontend.start(config);
    await frontend.stop();
    fake.session.forget();
    await frontend.start(config);
    expect(fake.session.requests).not.toContain('ADD_MEM_REG');
    await frontend.stop();
    const other = kept(GuestMemory.create([{ guestAddress: 0n, size: 0x10_0000 }]));
    fake.session.forget();
    await frontend.start({ ...config, memory: other, pairs });
    expect(fake.session.requests.slice(3, 5)).toEqual(['REM_MEM_REG', 'ADD_MEM_REG']);
    await frontend.stop();
  });

  test('refuses what no back end behind a socket can do, and tells it nothing', async () => {
    const { fake, frontend, config, memory, pairs } = await frontendRig({}, { memorySlots: 1 });
    fake.session.forget();
    const iotlb = { translate: () => undefined } as never;
    await expectCode(() => frontend.start({ ...config, pairs: [] }), 'ERR_INVALID_ARG_VALUE');
    await expectCode(() => frontend.start({ ...config, iotlb }), 'ERR_INVALID_ARG_VALUE');
    for (const bit of [26n, 30n, 33n, 34n]) {
      const features = config.features | (1n << bit);
      await expectCode(() => frontend.start({ ...config, features }), 'ERR_FEATURES_NOT_OFFERED');
    }
    const [pair] = pairs as [(typeof pairs)[0]];
    const addresses = { ...pair.receive.addresses, used: memory.end - 4n };
    const receive = { ...pair.receive, addresses };
    const outside = { ...config, pairs: [{ ...pair, receive }] };
    await expectCode(() => frontend.start(outside), 'ERR_OUT_OF_RANGE');
    await expectCode(() => frontend.stop(), 'ERR_BUSY');
    expect(fake.session.requests).toEqual([]);
    const regions = [0n, 0x100_0000n].map((guestAddress) => ({ guestAddress, size: 0x10_0000 }));
    const two = kept(GuestMemory.create(regions));
    await expectCode(() => frontend.start({ ...config, memory: two }), 'ERR_OUT_OF_RANGE');
    const anonymous = kept(
      GuestMemory.create([{ guestAddress: 0n, size: 0x10_0000, backing: 'anonymous' }]),
    );
    await expectCode(
      () => frontend.start({ ...config, memory: anonymous }),
      'ERR_MEMORY_NOT_SHARED',
    );
    expect(frontend.running).toBe(false);
    await frontend.start(config);
    await expectCode(() => frontend.start(config), 'ERR_BUSY');
    expect(() => memory.close()).toThrow(/in use/);
  });

  test('has the features that the back end does not take together refused by it', async () => {
    const { frontend, config } = await frontendRig({}, { replies: { VHOST_USER_GET_STATUS: 3n } });
    await expectCode(() => frontend.start(config), 'ERR_FEATURES_NOT_OFFERED');
    expect(frontend.running).toBe(false);
  });
});

const STEPS: VhostUserRequestName[] = [...new Set([...START.slice(0, -1), 'SET_STATUS'])].map(
  (name) => `VHOST_USER_${name}` as VhostUserRequestName,
);
const COMMANDS = STEPS.filter((name) => !name.includes('_GET_'));

describe('where a step of a start fails, everything before it is undone', () => {
  test.each(COMMANDS)('%s is refused', async (step) => {
    const { fake, frontend, config, memory } = await frontendRig(
      {},
      { trouble: { [step]: 'refuse' } },
    );
    const error = await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_REFUSED');
    expect(error.message).toBe(`the back end refused ${step}: it answered 1`);
    expect(frontend.running).toBe(false);
    const { session } = fake;
    const begun = new Set(
      session.payloads('SET_VRING_NUM').map((state) => (state as { index: number }).index),
    );
    // What it cannot bring back to its beginning, by requests that are refused too, it leaves.
    if (frontend.linkUp) {
      expect(session.payloads('GET_VRING_BASE')).toHaveLength(begun.size);
      expect(session.status).toBe(0n);
    }
    fake.options.trouble = {};
    await until(() => frontend.linkUp, 'a back end is there');
    await frontend.start(config);
    await frontend.stop();
    memory.close();
  });

  test.each(STEPS)('%s ends the connection', async (step) => {
    const { fake, frontend, config, memory } = await frontendRig(
      {},
      { trouble: { [step]: 'hang up' } },
    );
    await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_DISCONNECTED');
    expect(frontend.running).toBe(false);
    fake.options.trouble = {};
    await until(() => frontend.linkUp, 'a back end is there');
    await frontend.start(config);
    await frontend.close();
    memory.close();
  });

  test('no answer to SET_VRING_KICK', async () => {
    const trouble = { VHOST_USER_SET_VRING_KICK: 'silence' } as const;
    const { frontend, config } = await frontendRig({ timeout: 50 }, { trouble });
    const error = await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_DISCONNECTED');
    expect(error.message).toMatch(/SET_VRING_KICK was not answered/);
    expect(frontend.running).toBe(false);
  });
});
