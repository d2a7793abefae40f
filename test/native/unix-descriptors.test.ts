import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd, ReceivedDescriptor } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { runModule } from '../support/node-child.js';
import { bytes, kept, receive, socketPair } from '../support/sockets.js';

holdNothingLeaks();

const O_CLOEXEC = 0o2000000;
const openFds = () => readdirSync('/proc/self/fd').length;

describe('descriptors', () => {
  test('arrive in order, close-on-exec, as the same open files', () => {
    const [near, far] = socketPair();
    const events = [1, 2, 3].map((count) => kept(EventFd.create(count)));
    near.send(bytes('three'), events);
    const message = receive(far, 16, 3);
    expect(message).toMatchObject({ text: 'three', truncated: false });
    const arrived = message?.descriptors ?? [];
    expect(arrived).toHaveLength(3);
    arrived.forEach((descriptor, i) => {
      expect(readlinkSync(`/proc/self/fd/${descriptor.fd}`)).toBe('anon_inode:[eventfd]');
      expect(kept(EventFd.fromFd(descriptor.fd)).read()).toBe(i + 1);
      expect(events[i]?.read()).toBe(0);
    });
    const info = readFileSync(`/proc/self/fdinfo/${arrived[0]?.fd}`, 'utf8');
    const flags = Number.parseInt(/^flags:\t0(\d+)$/m.exec(info)?.[1] ?? '', 8);
    expect(flags & O_CLOEXEC).toBe(O_CLOEXEC);
  });

  test('are the receiver’s: they outlive the sender’s', () => {
    const [near, far] = socketPair();
    const event = EventFd.create(5);
    near.send(bytes('x'), [event]);
    event.close();
    near.close();
    const [descriptor] = receive(far, 16, 1)?.descriptors ?? [];
    expect(kept(EventFd.fromFd(descriptor?.fd ?? -1)).read()).toBe(5);
    expect(receive(far)).toMatchObject({ size: 0 });
  });

  test('of no class of ours go through as duplicates, close-on-exec', async () => {
    const [near, far] = socketPair();
    const file = openSync('/dev/null', 'r');
    const ours = ReceivedDescriptor.fromFd(file);
    closeSync(file);
    near.send(bytes('x'), [ours]);
    ours.close();
    const [descriptor] = receive(far, 16, 1)?.descriptors ?? [];
    expect(readlinkSync(`/proc/self/fd/${descriptor?.fd}`)).toBe('/dev/null');
    const fromNothing = () => ReceivedDescriptor.fromFd(2 ** 30);
    await expectSystemError(fromNothing, 'EBADF', 'fcntl(F_DUPFD_CLOEXEC)');
  });

  test('go through by 253 at a time, and not one more', async () => {
    const [near, far] = socketPair();
    const event = kept(EventFd.create());
    near.send(bytes('all'), new Array(253).fill(event));
    expect(receive(far, 16, 253)?.descriptors).toHaveLength(253);
    await expectCode(() => near.send(bytes('all'), new Array(254).fill(event)), 'ERR_OUT_OF_RANGE');
    await expectCode(() => receive(far, 16, 254), 'ERR_OUT_OF_RANGE');
  });

  test.each([
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 253],
  ])('beyond the %d allowed, of %d, are closed with all the others', (most, count) => {
    const [near, far] = socketPair();
    const event = kept(EventFd.create());
    near.send(bytes('x'), new Array(count).fill(event));
    const before = openFds();
    expect(far.receive(new Uint8Array(16), most)).toEqual({
      size: 1,
      descriptors: [],
      truncated: true,
    });
    expect(openFds()).toBe(before);
  });

  test('of a message that is cut short are closed too', () => {
    const [near, far] = socketPair();
    near.send(bytes('long'), [kept(EventFd.create())]);
    const before = openFds();
    expect(far.receive(new Uint8Array(1), 1)).toMatchObject({ truncated: true, descriptors: [] });
    expect(openFds()).toBe(before);
  });

  test('that nobody receives are closed with the socket', () => {
    const [near, far] = socketPair('stream');
    const [inside, outside] = socketPair('stream');
    near.send(bytes('x'), [inside]);
    inside.close();
    expect(receive(outside)).toBeUndefined();
    far.close();
    expect(receive(outside)).toMatchObject({ size: 0 });
  });

  test('that are closed cannot be sent', async () => {
    const [near] = socketPair();
    const event = EventFd.create();
    event.close();
    await expectCode(() => near.send(bytes('x'), [event]), 'ERR_CLOSED');
  });

  test('that this process may not have are lost, and those before them are closed', async () => {
    const { stdout, stderr } = await runModule(
      `
      import { EventFd, UnixListener, UnixSocket } from './lib/index.js';
      import { mkdtempSync, rmSync, readdirSync, openSync, closeSync } from 'node:fs';
      const folder = mkdtempSync('/tmp/vhost-net-');
      const listener = UnixListener.listen(folder + '/s', 'seqpacket');
      const near = UnixSocket.connect(listener.path, 'seqpacket');
      const far = listener.accept();
      near.send(new Uint8Array(1), new Array(20).fill(EventFd.create()));
      const full = [];
      try { for (;;) full.push(openSync('/dev/null', 'r')); } catch {}
      for (let i = 0; i < 8; i++) closeSync(full.pop());
      const { size, descriptors, truncated } = far.receive(new Uint8Array(8), 20);
      let free = 0;
      try { for (;;) { full.push(openSync('/dev/null', 'r')); free++; } } catch {}
      for (const fd of full) closeSync(fd);
      listener.close();
      rmSync(folder, { recursive: true });
      console.log(JSON.stringify({ size, count: descriptors.length, truncated, free }));
      `,
      { files: 128 },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ size: 1, count: 0, truncated: true, free: 8 });
  });
});
