import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  NetPort,
  type NetPortOptions,
  PORT_FEATURES,
  Tap,
  type TapOptions,
  VHOST_F_LOG_ALL,
  VhostNet,
  VIRTIO_F_ACCESS_PLATFORM,
} from '../../lib/index.js';
import { runChild } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { tapName } from '../support/host.js';
import { openPort } from '../support/ports.js';

holdNothingLeaks();

const NODE = '/dev/vhost-net';
const TUN = '/dev/net/tun';
/** Only a machine of our own may lose its modules. */
const inTestVm = existsSync('/run/test-vm');

describe('without the module', () => {
  test.runIf(inTestVm)(
    'a port goes without it, or says how to load it where it must not',
    async () => {
      execFileSync('rmmod', ['vhost_net']);
      cleanup(() => execFileSync('modprobe', ['vhost_net']));
      const error = await expectSystemError(
        () => NetPort.open({ tap: tapName(), backend: 'kernel' }),
        'ENOENT',
        'open',
        NODE,
      );
      expect(error.hint).toContain('modprobe vhost_net');
      expect((await openPort()).port.backend).toBe('in-process');
      execFileSync('modprobe', ['vhost_net']);
      expect((await openPort()).port.backend).toBe('kernel');
    },
  );
});

describe('without rights', () => {
  const NOBODY = 65_534;

  /** Runs `call` as a user who may do nothing; files have these modes meanwhile. */
  async function asNobody<T>(modes: Record<string, number>, call: () => Promise<T>): Promise<T> {
    for (const [path, mode] of Object.entries(modes)) {
      const before = statSync(path).mode;
      cleanup(() => chmodSync(path, before));
      chmodSync(path, mode);
    }
    process.seteuid?.(NOBODY);
    try {
      return await call();
    } finally {
      process.seteuid?.(0);
    }
  }

  test('to the TUN driver a port says so', async () => {
    const open = () => NetPort.open({ tap: tapName() });
    await asNobody({ [TUN]: 0o600 }, () => expectSystemError(open, 'EACCES', 'open', TUN));
  });

  test('to make a TAP a port says that root can', async () => {
    const name = tapName();
    const error = await asNobody({ [TUN]: 0o666 }, () =>
      expectSystemError(() => NetPort.open({ tap: name }), 'EPERM', 'ioctl(TUNSETIFF)', name),
    );
    expect(error.hint).toMatch(/CAP_NET_ADMIN.*ip tuntap add/);
  });

  test('to vhost-net a port says which group has them', async () => {
    const error = await asNobody({ [NODE]: 0o600 }, async () =>
      expectSystemError(() => VhostNet.open(), 'EACCES', 'open', NODE),
    );
    expect(error.hint).toMatch(/group.*usermod/);
  });

  test('a port on a TAP that root prepared works', async () => {
    const tap = Tap.open(tapName());
    const { name } = tap.interface;
    tap.setOwner(NOBODY);
    tap.setPersist(true);
    tap.interface.setUp();
    await tap.closeAsync();
    cleanup(async () => {
      const last = Tap.open(name);
      last.setPersist(false);
      await last.closeAsync();
    });
    await asNobody({ [TUN]: 0o666, [NODE]: 0o666 }, async () => {
      const port = await NetPort.open({ tap: name });
      await port.send(new Uint8Array(60));
      await port.flush();
      await port.close();
    });
  });
});

describe('a TAP that cannot be used', () => {
  const cases: { name: string; tap: TapOptions; code: string; hint: RegExp }[] = [
    { name: 'is open elsewhere', tap: {}, code: 'EBUSY', hint: /has the interface open/ },
    { name: 'is a TUN', tap: { mode: 'tun' }, code: 'EINVAL', hint: /TAP or TUN/ },
  ];
  test.each(cases)('because it $name', async ({ tap: options, code, hint }) => {
    const tap = Tap.open(tapName(), options);
    cleanup(() => tap.close());
    const { name } = tap.interface;
    const open = () => NetPort.open({ tap: name });
    const error = await expectSystemError(open, code, 'ioctl(TUNSETIFF)', name);
    expect(error.hint).toMatch(hint);
  });

  test('because it is no TAP at all', async () => {
    const open = () => NetPort.open({ tap: 'lo' });
    await expectSystemError(open, 'EINVAL', 'ioctl(TUNSETIFF)', 'lo');
  });
});

describe('options that cannot be meant are refused before anything is opened', () => {
  const cases: [name: string, options: unknown, code: string, message: RegExp][] = [
    ['nothing', undefined, 'ERR_INVALID_ARG_TYPE', /options must be an object/],
    ['no TAP', {}, 'ERR_INVALID_ARG_TYPE', /name must be a string/],
    ['a long name', { tap: 'sixteen-letters-' }, 'ERR_INVALID_ARG_VALUE', /16 bytes.*allows 15/],
    ['a slash', { tap: 'a/b' }, 'ERR_INVALID_ARG_VALUE', /'a\/b'/],
    ['a ring of 3', { queueSize: 3 }, 'ERR_OUT_OF_RANGE', /power of two.*not 3/],
    ['a ring of 1', { queueSize: 1 }, 'ERR_OUT_OF_RANGE', /from 2 to 32768/],
    ['a ring of 65536', { queueSize: 65_536 }, 'ERR_OUT_OF_RANGE', /queueSize/],
    ['a ring in words', { queueSize: '256' }, 'ERR_INVALID_ARG_TYPE', /queueSize must be a number/],
    ['buffers of 64', { bufferSize: 64 }, 'ERR_OUT_OF_RANGE', /bufferSize.*128 to 65600/],
    ['buffers of 1.5', { bufferSize: 1500.5 }, 'ERR_OUT_OF_RANGE', /bufferSize/],
    ['buffers of NaN', { bufferSize: Number.NaN }, 'ERR_OUT_OF_RANGE', /bufferSize/],
    [
      'too few buffers for a long frame',
      { queueSize: 16, bufferSize: 1600 },
      'ERR_OUT_OF_RANGE',
      /16 receive buffers of 1600 bytes.*65600/,
    ],
    ['features as a number', { features: 3 }, 'ERR_INVALID_ARG_TYPE', /features must be a bigint/],
    [
      'a log',
      { features: bit(VHOST_F_LOG_ALL) },
      'ERR_INVALID_ARG_VALUE',
      /cannot use VHOST_F_LOG_ALL/,
    ],
    [
      'an IOTLB',
      { features: bit(VIRTIO_F_ACCESS_PLATFORM) },
      'ERR_INVALID_ARG_VALUE',
      /VIRTIO_F_ACCESS_PLATFORM/,
    ],
  ];
  test('each with a sentence of its own', async () => {
    for (const [name, given, code, message] of cases) {
      const plain = name === 'nothing' || name === 'no TAP';
      const options = plain ? given : { tap: 'never0', ...(given as object) };
      const error = await expectCode(() => NetPort.open(options as NetPortOptions), code);
      expect(error.message, name).toMatch(message);
      expect(existsSync('/sys/class/net/never0')).toBe(false);
    }
  });

  test('a feature that nobody offers is left out', async () => {
    const { port } = await openPort({ features: PORT_FEATURES | bit(63) });
    expect(port.features).toBe(PORT_FEATURES);
  });
});

test('open() without free descriptors names the step and takes it all back', async () => {
  const { code, stdout, stderr } = await runChild(
    `
    import { closeSync, openSync } from 'node:fs';
    const { NetPort } = vhost;
    const fill = () => {
      const fds = [];
      for (;;) {
        try { fds.push(openSync('/dev/null')); } catch { return fds; }
      }
    };
    const failures = [];
    const taken = fill();
    for (let free = 0; free < 40; free++) {
      let port;
      try {
        port = await NetPort.open({ tap: process.argv[1] });
      } catch ({ code, syscall, message }) {
        failures.push({ free, code, syscall, message });
      }
      await port?.close();
      // A poller's duplicate is closed on a later turn of the event loop.
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
      const left = fill();
      for (const fd of left) closeSync(fd);
      if (left.length !== free) failures.push({ free, leaked: free - left.length });
      if (port) break;
      closeSync(taken.pop());
    }
    console.log(JSON.stringify(failures));
    `,
    { args: [tapName()], wrapper: ['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh'] },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const failures = JSON.parse(stdout) as { code: string; syscall: string; leaked?: number }[];
  expect(failures.filter(({ leaked }) => leaked !== undefined)).toEqual([]);
  expect(new Set(failures.map(({ code: name }) => name))).toEqual(new Set(['EMFILE']));
  // It failed at every step once at least.
  const steps = new Set(failures.map(({ syscall }) => syscall));
  for (const step of ['open', 'memfd_create', 'eventfd', 'socket(NETLINK_ROUTE)', 'uv_poll_start'])
    expect(steps).toContain(step);
});
