import { closeSync, openSync, readlinkSync, writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/host/event-fd.js';
import { runModule } from '../support/node-child.js';
import { closedAfterwards } from '../support/ring.js';

const CLOSED = expect.objectContaining({ name: 'StateError', code: 'ERR_CLOSED' });
const OUT_OF_RANGE = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
const NO_TYPE = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });

const eventFd = (initial?: number) => closedAfterwards(EventFd.create(initial));

test('a new eventfd is an eventfd with count 0', () => {
  const event = eventFd();
  expect(readlinkSync(`/proc/self/fd/${event.fd}`)).toBe('anon_inode:[eventfd]');
  expect(event.read()).toBe(0);
  expect(event.closed).toBe(false);
});

test('signals add up until they are read, and reading takes them all', () => {
  const event = eventFd();
  event.signal();
  event.signal(5);
  event.signal(0xffff_ffff);
  expect(event.read()).toBe(1 + 5 + 0xffff_ffff);
  expect(event.read()).toBe(0);
});

test.each([0, 1, 0xffff_ffff])('the count can begin with %i', (initial) => {
  expect(eventFd(initial).read()).toBe(initial);
});

test.each([-1, 1.5, 2 ** 32, Number.NaN])('the count cannot begin with %d', (initial) => {
  expect(() => EventFd.create(initial)).toThrow(OUT_OF_RANGE);
});

test.each([0, -1, 1.5, 2 ** 32])('%d cannot be signalled', (count) => {
  const event = eventFd();
  expect(() => event.signal(count)).toThrow(OUT_OF_RANGE);
  expect(event.read()).toBe(0);
});

test('a count that is no number is refused as such', () => {
  expect(() => eventFd().signal('1' as unknown as number)).toThrow(NO_TYPE);
});

test('a full counter takes no more: EAGAIN, at once', () => {
  const event = eventFd();
  writeSync(event.fd, new BigUint64Array([2n ** 64n - 2n]));
  expect(() => event.signal()).toThrow(
    expect.objectContaining({ code: 'EAGAIN', errno: -11, syscall: 'write(eventfd)' }),
  );
  // Who only wakes has what it wanted.
  expect(() => event.wake()).not.toThrow();
  expect(event.read()).toBe(2 ** 64);
  expect(() => event.signal()).not.toThrow();
  event.wake();
  expect(event.read()).toBe(2);
});

test('a foreign eventfd is duplicated: the count is shared, the descriptor is not', () => {
  const theirs = eventFd();
  const ours = EventFd.fromFd(theirs.fd);
  expect(ours.fd).not.toBe(theirs.fd);
  theirs.signal(3);
  expect(ours.read()).toBe(3);
  ours.close();
  theirs.signal(2);
  expect(theirs.read()).toBe(2);
});

test('the duplicate of a foreign eventfd outlives it', () => {
  const theirs = EventFd.create();
  const ours = closedAfterwards(EventFd.fromFd(theirs.fd));
  theirs.close();
  ours.signal();
  expect(ours.read()).toBe(1);
});

test('a foreign descriptor that is not open is EBADF', () => {
  expect(() => EventFd.fromFd(1_000_000)).toThrow(
    expect.objectContaining({ code: 'EBADF', errno: -9, syscall: 'fcntl(F_DUPFD_CLOEXEC)' }),
  );
});

test.each([-1, 1.5, '3', undefined])('a foreign descriptor cannot be %j', (fd) => {
  expect(() => EventFd.fromFd(fd as number)).toThrow(NO_TYPE);
});

test('reading a foreign descriptor that is no eventfd is an error', () => {
  const file = openSync('/dev/null', 'r');
  const event = closedAfterwards(EventFd.fromFd(file));
  closeSync(file);
  expect(() => event.read()).toThrow(
    expect.objectContaining({ code: 'EINVAL', syscall: 'read(eventfd)' }),
  );
});

test('close() closes the descriptor, and closing twice is no error', async () => {
  const event = EventFd.create();
  const { fd } = event;
  event.close();
  expect(() => readlinkSync(`/proc/self/fd/${fd}`)).toThrow('ENOENT');
  expect(event.closed).toBe(true);
  expect(() => event.close()).not.toThrow();
  await expect(event.closeAsync()).resolves.toBeUndefined();
});

test('closing twice never closes the number’s next owner', () => {
  const event = EventFd.create();
  const { fd } = event;
  event.close();
  const next = eventFd();
  expect(next.fd).toBe(fd);
  event.close();
  next.signal();
  expect(next.read()).toBe(1);
});

test('closeAsync() gives the number up at once', async () => {
  const event = EventFd.create();
  const closing = event.closeAsync();
  expect(event.closed).toBe(true);
  expect(() => event.fd).toThrow(CLOSED);
  await closing;
});

test('every method of a closed eventfd throws ERR_CLOSED', () => {
  const event = EventFd.create();
  event.close();
  expect(() => event.fd).toThrow(CLOSED);
  expect(() => event.handle).toThrow(CLOSED);
  expect(() => event.signal()).toThrow(CLOSED);
  expect(() => event.read()).toThrow(CLOSED);
  expect(() => event.onSignal(() => {})).toThrow(CLOSED);
});

test('`using` and `await using` close it', async () => {
  const first = EventFd.create();
  first[Symbol.dispose]();
  expect(first.closed).toBe(true);
  const second = EventFd.create();
  await second[Symbol.asyncDispose]();
  expect(second.closed).toBe(true);
});

test('with no descriptor left, create() says EMFILE', async () => {
  const { stdout } = await runModule(
    `
    import { EventFd } from './lib/index.js';
    const all = [];
    try {
      for (;;) all.push(EventFd.create());
    } catch (error) {
      for (const one of all) one.close();
      const { code, errno, syscall } = error;
      console.log(JSON.stringify({ some: all.length > 10, code, errno, syscall }));
    }
    `,
    { files: 100 },
  );
  expect(JSON.parse(stdout)).toEqual({
    some: true,
    code: 'EMFILE',
    errno: -24,
    syscall: 'eventfd',
  });
});

test('a foreign eventfd that blocks does not block the event loop', async () => {
  const ended = await runModule(
    `
    import { EventFd } from './lib/index.js';
    import { native } from './lib/native.js';
    import { writeSync } from 'node:fs';
    const FIONBIO = 0x5421; // Of asm-generic/ioctls.h: switches O_NONBLOCK of any open file.
    const theirs = EventFd.create();
    console.log(native.ioctl(theirs.handle, FIONBIO, Int32Array.of(0)));
    const ours = EventFd.fromFd(theirs.fd);
    console.log(ours.read());
    writeSync(ours.fd, new BigUint64Array([2n ** 64n - 2n]));
    try {
      ours.signal();
    } catch ({ code }) {
      console.log(code);
    }
    `,
    { limit: 5000 },
  );
  expect(ended).toEqual({ code: 0, signal: null, stdout: '0\n0\nEAGAIN\n', stderr: '' });
});
