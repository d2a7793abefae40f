import { expect, test } from 'vitest';
import { MEANING_CHANGERS, PORT_FEATURES } from '../../lib/net/features.js';
import {
  checkPortOptions,
  type NetPortOptions,
  requiredFeatures,
} from '../../lib/port/port-options.js';
import { bit } from '../../lib/uapi/virtio-net.js';

test('a name is enough: the rest has defaults', () => {
  expect(checkPortOptions({ tap: 'vnet0' })).toEqual({
    source: { tap: 'vnet0', queuePairs: 1, exclusive: false },
    queuePairs: 1,
    queueSize: 256,
    bufferSize: 1600,
    features: PORT_FEATURES,
    offload: { wanted: 0, required: 0 },
    busyPoll: 0,
    backend: undefined,
    up: true,
  });
});

test('every option that is given is kept', () => {
  const options = {
    queueSize: 1024,
    bufferSize: 9216,
    features: bit(32),
    busyPoll: 50,
    backend: 'kernel' as const,
    up: false,
  };
  const more = { tap: 'vnet0', queuePairs: 256, exclusive: true };
  expect(checkPortOptions({ ...options, ...more })).toEqual({
    ...options,
    offload: { wanted: 0, required: 0 },
    source: more,
    queuePairs: 256,
  });
});

test('who moves the frames is the kernel where its devices are given, and what goes with it alone', () => {
  const tap = 'vnet0';
  const queues = [{ tap: 3, vhost: 4 }];
  expect(checkPortOptions({ queues }).backend).toBe('kernel');
  expect(checkPortOptions({ queues: [{ tap: 3 }] }).backend).toBeUndefined();
  expect(checkPortOptions({ tap, backend: 'in-process' }).backend).toBe('in-process');
  const wrong = [
    { queues, backend: 'in-process' },
    { tap, backend: 'in-process', busyPoll: 1 },
    { tap, backend: 'user' },
  ] as NetPortOptions[];
  for (const options of wrong) {
    expect(() => checkPortOptions(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    );
  }
});

test('with offloads that bring super-frames each of these fits into one buffer', () => {
  const tap = 'vnet0';
  expect(checkPortOptions({ tap, offload: true }).bufferSize).toBe(65_600);
  expect(checkPortOptions({ tap, offload: ['uso'] }).bufferSize).toBe(65_600);
  expect(checkPortOptions({ tap, offload: ['csum'] }).bufferSize).toBe(1600);
  expect(checkPortOptions({ tap, offload: true, bufferSize: 2048 }).bufferSize).toBe(2048);
  expect(checkPortOptions({ tap, offload: ['csum', 'tso4'] }).offload).toEqual({
    wanted: 3,
    required: 3,
  });
});

test('a header that vhost supplies cannot say what is left undone', () => {
  const features = PORT_FEATURES | bit(27);
  expect(() => checkPortOptions({ tap: 'vnet0', features, offload: true })).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining('leave out offload'),
    }),
  );
  expect(checkPortOptions({ tap: 'vnet0', features, offload: false }).features).toBe(features);
});

test('queues that are open already say how many pairs there are; their link is left alone', () => {
  const queues = [
    { tap: 3, vhost: 5 },
    { tap: 4, vhost: 6 },
  ];
  const checked = checkPortOptions({ queues });
  expect(checked).toMatchObject({ source: { queues }, queuePairs: 2, up: false });
  expect(checkPortOptions({ queues, up: true }).up).toBe(true);
});

test.each([
  [{ queues: [{ tap: 3 }], tap: 'vnet0' }, 'ERR_INVALID_ARG_VALUE', 'leave out tap'],
  [{ queues: [{ tap: 3 }], queuePairs: 1 }, 'ERR_INVALID_ARG_VALUE', 'leave out queuePairs'],
  [{ queues: [{ tap: 3 }], exclusive: true }, 'ERR_INVALID_ARG_VALUE', 'leave out exclusive'],
  [{ queues: [] }, 'ERR_OUT_OF_RANGE', 'from 1 to 256'],
  [{ queues: new Array(257).fill({ tap: 3 }) }, 'ERR_OUT_OF_RANGE', 'from 1 to 256'],
  [{ queues: { tap: 3 } }, 'ERR_INVALID_ARG_TYPE', 'an array'],
  [{ queues: [{ tap: -1 }] }, 'ERR_OUT_OF_RANGE', 'tap'],
  [{ queues: [{ tap: 3, vhost: '4' }] }, 'ERR_INVALID_ARG_TYPE', 'vhost'],
  [{ queues: [{ tap: 3, vhost: 4 }, { tap: 5 }] }, 'ERR_INVALID_ARG_VALUE', 'or none'],
  [{}, 'ERR_INVALID_ARG_TYPE', 'interface name'],
])('%o is refused', (options, code, words) => {
  expect(() => checkPortOptions(options as NetPortOptions)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(words) }),
  );
});

test.each([
  ['queueSize', 2],
  ['queueSize', 32_768],
  ['bufferSize', 257],
  ['bufferSize', 65_600],
  ['features', 0n],
])('%s may be %s', (name, value) => {
  expect(checkPortOptions({ tap: 'vnet0', [name]: value })).toHaveProperty(name, value);
});

test.each([
  ['queueSize', 0, 'ERR_OUT_OF_RANGE'],
  ['queueSize', 1, 'ERR_OUT_OF_RANGE'],
  ['queueSize', 100, 'ERR_OUT_OF_RANGE'],
  ['queueSize', 65_536, 'ERR_OUT_OF_RANGE'],
  ['queueSize', '256', 'ERR_INVALID_ARG_TYPE'],
  ['queuePairs', 0, 'ERR_OUT_OF_RANGE'],
  ['queuePairs', 257, 'ERR_OUT_OF_RANGE'],
  ['queuePairs', '2', 'ERR_INVALID_ARG_TYPE'],
  ['bufferSize', 127, 'ERR_OUT_OF_RANGE'],
  ['bufferSize', 65_601, 'ERR_OUT_OF_RANGE'],
  ['bufferSize', 1500.5, 'ERR_OUT_OF_RANGE'],
  ['bufferSize', 1600n, 'ERR_INVALID_ARG_TYPE'],
  ['features', 1, 'ERR_INVALID_ARG_TYPE'],
])('%s must not be %s', (name, value, code) => {
  expect(() => checkPortOptions({ tap: 'vnet0', [name]: value })).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(name) }),
  );
});

test('without a bufferSize the buffers of a small ring hold the longest frame together', () => {
  expect(checkPortOptions({ tap: 'vnet0', queueSize: 2 }).bufferSize).toBe(32_832);
  expect(checkPortOptions({ tap: 'vnet0', queueSize: 32 }).bufferSize).toBe(2112);
  expect(checkPortOptions({ tap: 'vnet0', queueSize: 64 }).bufferSize).toBe(1600);
});

test('merged buffers that cannot hold the longest frame together are refused', () => {
  expect(() => checkPortOptions({ tap: 'vnet0', queueSize: 32, bufferSize: 2049 })).toThrow(
    expect.objectContaining({
      code: 'ERR_OUT_OF_RANGE',
      hint: 'use a bufferSize of at least 2112, or a larger queueSize',
    }),
  );
  const exact = { tap: 'vnet0', queueSize: 32, bufferSize: 2050 };
  expect(checkPortOptions(exact).bufferSize).toBe(2050);
});

test('buffers that are not merged may be small: longer frames are dropped', () => {
  const options = { queueSize: 2, bufferSize: 128, features: bit(32) };
  expect(checkPortOptions({ tap: 'vnet0', ...options })).toMatchObject(options);
});

test.each([
  [26, 'VHOST_F_LOG_ALL'],
  [33, 'VIRTIO_F_ACCESS_PLATFORM'],
])('a port refuses bit %i, %s, by name', (at, name) => {
  expect(() => checkPortOptions({ tap: 'vnet0', features: PORT_FEATURES | bit(at) })).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(name),
    }),
  );
});

test.each([undefined, null, 'vnet0'])('the options cannot be %s', (options) => {
  expect(() => checkPortOptions(options as unknown as NetPortOptions)).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('tap'),
    }),
  );
});

test.each([
  [undefined, 'ERR_INVALID_ARG_TYPE'],
  ['', 'ERR_INVALID_ARG_VALUE'],
  ['a/b', 'ERR_INVALID_ARG_VALUE'],
])('the name of the TAP cannot be %j', (tap, code) => {
  expect(() => checkPortOptions({ tap } as unknown as NetPortOptions)).toThrow(
    expect.objectContaining({ code }),
  );
});

test('the bits that change what the rings mean are required where they are asked for', () => {
  expect(requiredFeatures(PORT_FEATURES)).toBe(0n);
  expect(requiredFeatures(PORT_FEATURES | bit(27))).toBe(bit(27));
  expect(requiredFeatures((1n << 64n) - 1n)).toBe(MEANING_CHANGERS);
});

test('a socket is a path, or more; it has no TAP, and so nothing of one', () => {
  const socket = { path: '/x', mode: 'server', reconnect: 'never' } as const;
  expect(checkPortOptions({ socket, queuePairs: 3 })).toMatchObject({
    source: { socket: { ...socket, queuePairs: 3, timeout: 10_000 } },
    queuePairs: 3,
    up: false,
  });
  expect(checkPortOptions({ socket: '/x' })).toMatchObject({
    source: { socket: { path: '/x', mode: 'client', queuePairs: 1 } },
  });
  const others = [{ tap: 't0' }, { queues: [{ tap: 3 }] }, { exclusive: true }, { up: true }];
  for (const other of [...others, { busyPoll: 1 }, { backend: 'kernel' } as const]) {
    const [name] = Object.keys(other);
    expect(() => checkPortOptions({ socket: '/x', ...other })).toThrow(`leave out ${name}`);
  }
  expect(() => checkPortOptions({ socket: '' })).toThrow(/must not be empty/);
  expect(() => checkPortOptions({ socket: '/x', queuePairs: 129 })).toThrow(/from 1 to 128/);
});
