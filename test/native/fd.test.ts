/** Who owns a descriptor: close-on-exec always, closed once, never while a call is using it. */
import { spawnSync } from 'node:child_process';
import { pbkdf2 } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Descriptor } from '../../lib/host/descriptor.js';
import { EventFd } from '../../lib/host/event-fd.js';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { type Fd, native } from '../../lib/native.js';
import { runModule } from '../support/node-child.js';
import { closedAfterwards } from '../support/ring.js';
import { A_WHILE } from '../support/turns.js';

const O_CLOEXEC = 0o2000000;
const EBUSY = -16;
const EBADF = -9;
/** The errno of an ioctl that the file does not know. */
const ENOTTY = -25;

const isOpen = (fd: number) => existsSync(`/proc/self/fdinfo/${fd}`);
/** Without the descriptor that listing them takes. */
const numbers = () => readdirSync('/proc/self/fd').map(Number).filter(isOpen);

function closesOnExec(fd: number): boolean {
  const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  return (Number.parseInt(flags as string, 8) & O_CLOEXEC) !== 0;
}

/** The descriptors that are open after `make` and were not before. */
function opened(make: () => { close(): unknown }): number[] {
  const before = new Set(numbers());
  closedAfterwards(make());
  return numbers().filter((fd) => !before.has(fd));
}

/** Every kind of descriptor that the host layer opens, and how many there are of it. */
const KINDS: Record<string, { make: () => { close(): unknown }; count: number }> = {
  'a new eventfd': { make: () => EventFd.create(), count: 1 },
  'a duplicate of a foreign eventfd': {
    make: () => EventFd.fromFd(closedAfterwards(EventFd.create()).fd),
    count: 2,
  },
  'an eventfd and the duplicate that is polled': {
    make: () => {
      const event = EventFd.create();
      event.onSignal(() => {});
      return event;
    },
    count: 2,
  },
  'a memfd': { make: () => GuestMemory.create([{ guestAddress: 0n, size: 65_536 }]), count: 1 },
  'a duplicate of a foreign file': {
    make: () => {
      const file = openSync('/dev/zero', 'r+');
      const fd = native.dup(file) as Fd;
      closeSync(file);
      return fd;
    },
    count: 1,
  },
  'an opened file': { make: () => native.open('/dev/null', 2) as Fd, count: 1 },
};

test.each(Object.keys(KINDS))('%s is close-on-exec', (kind) => {
  const { make, count } = KINDS[kind] as (typeof KINDS)[string];
  const fds = opened(make);
  expect(fds).toHaveLength(count);
  expect(fds.filter((fd) => !closesOnExec(fd))).toEqual([]);
});

test('a child process inherits none of them', () => {
  const links = Object.values(KINDS).flatMap(({ make }) => opened(make));
  const ours = links.map((fd) => readlinkSync(`/proc/self/fd/${fd}`));
  expect(ours).toEqual(expect.arrayContaining(['anon_inode:[eventfd]', '/dev/null', '/dev/zero']));
  const { stdout } = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8', stdio: 'pipe' });
  expect(stdout).toMatch(/ 0 -> /);
  for (const link of ours) expect(stdout).not.toContain(link);
});

describe('the addon’s Fd', () => {
  test('closes its number once, and is -1 then', () => {
    const fd = native.open('/dev/null', 0) as Fd;
    const number = fd.number();
    expect(isOpen(number)).toBe(true);
    expect([fd.close(), fd.number(), isOpen(number)]).toEqual([0, -1, false]);
    expect(fd.close()).toBe(0);
  });

  test('closes on the thread pool, having given the number up at once', async () => {
    const fd = native.open('/dev/null', 0) as Fd;
    const number = fd.number();
    const closing = fd.closeAsync();
    expect(fd.number()).toBe(-1);
    expect(await closing).toBe(0);
    expect(isOpen(number)).toBe(false);
    expect(await fd.closeAsync()).toBe(0);
  });

  test('used after close is EBADF in every call, never another descriptor', () => {
    const fd = native.eventfdCreate(0) as Fd;
    const number = fd.number();
    fd.close();
    const next = native.eventfdCreate(1) as Fd;
    expect(next.number()).toBe(number);
    expect(native.eventfdWrite(fd, 1)).toBe(EBADF);
    expect(native.eventfdRead(fd)).toBe(EBADF);
    expect(native.fileSize(fd)).toBe(EBADF);
    expect(native.truncate(fd, 0n)).toBe(EBADF);
    expect(native.memoryMap(fd, 0n, 4096n)).toBe(EBADF);
    expect(native.eventfdRead(next)).toBe(1);
    next.close();
  });

  test('whose number somebody else closed is EBADF, and the file that has it now stays open', async () => {
    for (const close of [(fd: Fd) => fd.close(), (fd: Fd) => fd.closeAsync()]) {
      const fd = native.open('/dev/null', 2) as Fd;
      closeSync(fd.number());
      const next = native.open('/dev/zero', 2) as Fd;
      expect(next.number()).toBe(fd.number());
      expect(await close(fd)).toBe(EBADF);
      expect(fd.number()).toBe(-1);
      expect(isOpen(next.number())).toBe(true);
      expect(next.close()).toBe(0);
    }
  });

  test('is told from every other object', () => {
    for (const stranger of [
      {},
      3,
      null,
      undefined,
      { number: () => 3 },
      Object.create(native.Fd),
    ]) {
      expect(() => native.eventfdRead(stranger as Fd)).toThrow(TypeError);
    }
  });

  test('a call on the thread pool keeps it open: close() is EBUSY until the call is over', async () => {
    const fd = native.open('/dev/null', 2) as Fd;
    // Four long tasks keep the pool's threads busy, so the call is still waiting.
    const busy = Array.from({ length: 4 }, () => promisify(pbkdf2)('', '', 30_000, 64, 'sha512'));
    const call = native.vhostSetOwner(fd);
    expect(fd.close()).toBe(EBUSY);
    expect(await fd.closeAsync()).toBe(EBUSY);
    expect(fd.number()).toBeGreaterThan(2);
    expect(await call).toBe(ENOTTY);
    expect(fd.close()).toBe(0);
    await Promise.all(busy);
  });

  test('is closed when it was dropped and collected, and not before', async () => {
    const { stdout, stderr } = await runModule(
      `
      import { native } from './lib/native.js';
      import { readdirSync } from 'node:fs';
      ${A_WHILE}
      const settle = async () => {
        for (let i = 0; i < 5; i++) {
          globalThis.gc();
          await aWhile();
        }
      };
      const open = () => readdirSync('/proc/self/fd').length;
      await settle();
      const before = open();
      function drop(count) {
        for (let i = 0; i < count; i++) native.eventfdCreate(0);
      }
      drop(100);
      const kept = native.eventfdCreate(5);
      const dropped = open() - before;
      await settle();
      console.log(JSON.stringify({ dropped, left: open() - before, kept: native.eventfdRead(kept) }));
      `,
      { node: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    const { dropped, left, kept } = JSON.parse(stdout);
    expect([dropped, kept]).toEqual([101, 5]);
    // The one that is kept, and one that a register may still hold.
    expect(left).toBeLessThanOrEqual(2);
  });
});

class Probe extends Descriptor {
  constructor() {
    super(native.open('/dev/null', 2) as Fd, 'the probe');
  }
}

describe('a Descriptor', () => {
  test('in use by a call says ERR_BUSY, and can be closed later', async () => {
    const probe = new Probe();
    const busy = Array.from({ length: 4 }, () => promisify(pbkdf2)('', '', 30_000, 64, 'sha512'));
    const call = native.vhostSetOwner(probe.handle);
    expect(() => probe.close()).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    await expect(probe.closeAsync()).rejects.toThrow(/the probe is in use/);
    expect(probe.closed).toBe(false);
    await call;
    probe.close();
    expect(probe.closed).toBe(true);
    await Promise.all(busy);
  });

  test('names itself when it is used after close', () => {
    const probe = new Probe();
    probe.close();
    expect(() => probe.fd).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED', message: 'the probe is closed' }),
    );
  });
});
