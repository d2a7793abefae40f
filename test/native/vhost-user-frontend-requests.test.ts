/** What a front end asks beside its rings: a dirty log, and things of the device as a whole. */
import { describe, expect, test } from 'vitest';
import { DirtyLog, GuestMemory } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { frontendRig } from '../support/frontend-rig.js';
import { kept } from '../support/sockets.js';

holdNothingLeaks();

/** These protocol features alone. */
const only = (...bits: number[]) => bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

describe('the dirty log of a front end', () => {
  test('is turned on and off while rings run, and outlives a stop', async () => {
    const { fake, frontend, config, memory } = await frontendRig();
    const log = kept(DirtyLog.create(memory));
    await frontend.start(config);
    const { session } = fake;
    session.forget();
    await frontend.setDirtyLog(log);
    expect(session.requests).toEqual([
      ...['SET_LOG_BASE', 'SET_FEATURES', 'SET_VRING_ADDR', 'SET_VRING_ADDR'],
    ]);
    expect(session.payloads('SET_LOG_BASE')).toEqual([{ size: 4096n, offset: 0n }]);
    expect(session.payloads('SET_FEATURES')).toEqual([config.features | (1n << 26n) | (1n << 30n)]);
    expect(session.payloads('SET_VRING_ADDR')).toMatchObject([{ flags: 1 }, { flags: 1 }]);
    expect(() => log.close()).toThrow(/in use/);
    await frontend.stop();
    session.forget();
    await frontend.start(config);
    expect(session.requests).toContain('SET_LOG_BASE');
    session.forget();
    await frontend.setDirtyLog(null);
    expect(session.payloads('SET_FEATURES')).toEqual([config.features | (1n << 30n)]);
    expect(session.payloads('SET_VRING_ADDR')).toMatchObject([{ flags: 0 }, { flags: 0 }]);
    log.close();
  });

  test('is as before where the back end refuses, and not to be had where it has none', async () => {
    const { fake, frontend, config, memory } = await frontendRig();
    const log = kept(DirtyLog.create(memory));
    await frontend.start(config);
    fake.options.trouble = { VHOST_USER_SET_VRING_ADDR: 'refuse' };
    await expectCode(() => frontend.setDirtyLog(log), 'ERR_VHOST_USER_REFUSED');
    log.close();
    const other = await frontendRig({ protocolFeatures: only(3) });
    await other.frontend.start(other.config);
    const none = kept(DirtyLog.create(other.memory));
    await expectCode(() => other.frontend.setDirtyLog(none), 'ERR_FEATURES_NOT_OFFERED');
  });
});

test('a dirty log that does not cover the memory is refused, before a start and after', async () => {
  const { fake, frontend, config } = await frontendRig();
  const less = kept(GuestMemory.create([{ guestAddress: 0n, size: 0x1000 }]));
  const small = kept(DirtyLog.create(less));
  await frontend.start(config);
  fake.session.forget();
  await expectCode(() => frontend.setDirtyLog(small), 'ERR_OUT_OF_RANGE');
  expect(fake.session.requests).toEqual([]);
  small.close();
  await frontend.stop();
  const other = kept(DirtyLog.create(less));
  await frontend.setDirtyLog(other);
  fake.session.forget();
  await expectCode(() => frontend.start(config), 'ERR_OUT_OF_RANGE');
  expect(fake.session.requests).toEqual([]);
  await frontend.setDirtyLog(null);
});

describe('a front end asks of the device', () => {
  test('a frame that tells where the guest is, its MTU, and its configuration', async () => {
    const { fake, frontend } = await frontendRig();
    await frontend.sendRarp(Uint8Array.of(1, 2, 3, 4, 5, 6));
    expect(fake.session.payloads('SEND_RARP')).toEqual([0x0605_0403_0201n]);
    await frontend.setMtu(9000);
    expect(fake.session.payloads('NET_SET_MTU')).toEqual([9000n]);
    expect(await frontend.getConfig(2, 4)).toEqual(new Uint8Array(4));
    await frontend.setConfig(0, Uint8Array.of(7));
    expect(fake.session.payloads('SET_CONFIG')).toEqual([
      { offset: 0, flags: 0, bytes: Uint8Array.of(7) },
    ]);
    await expectCode(() => frontend.setMtu(67), 'ERR_OUT_OF_RANGE');
    await expectCode(() => frontend.sendRarp(new Uint8Array(5)), 'ERR_INVALID_ARG_VALUE');
  });

  test('nothing that it has not negotiated', async () => {
    const { frontend } = await frontendRig({ protocolFeatures: only(3) });
    const asks = [
      () => frontend.sendRarp(new Uint8Array(6)),
      () => frontend.setMtu(1500),
      () => frontend.getConfig(0, 1),
      () => frontend.setConfig(0, new Uint8Array(1)),
    ];
    for (const ask of asks) await expectCode(ask, 'ERR_FEATURES_NOT_OFFERED');
  });

  test('what the back end refuses', async () => {
    const { fake, frontend } = await frontendRig();
    fake.options.trouble = { VHOST_USER_NET_SET_MTU: 'refuse' };
    await expectCode(() => frontend.setMtu(1500), 'ERR_VHOST_USER_REFUSED');
    // No payload is how a back end tells that it has no such configuration.
    fake.options.replies = { VHOST_USER_GET_CONFIG: undefined };
    await expectCode(() => frontend.getConfig(2, 4), 'ERR_VHOST_USER_REFUSED');
    fake.options.replies = {
      VHOST_USER_GET_CONFIG: { offset: 0, flags: 0, bytes: new Uint8Array(4) },
    };
    await expectCode(() => frontend.getConfig(2, 4), 'ERR_VHOST_USER_REFUSED');
    expect(frontend.linkUp).toBe(true);
  });
});
