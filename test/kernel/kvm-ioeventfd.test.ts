import { describe, expect, test } from 'vitest';
import { type Fd, native } from '../../lib/native.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';
import { MMIO_GUEST, PIO_GUEST } from '../support/guests.js';
import { eventFd, machine, mmio, notEventFd, pio } from '../support/machine.js';

const IOEVENTFD = 'ioctl(KVM_IOEVENTFD)';
/** Why KVM_RUN returned: the guest wrote where it has no memory, and no ioeventfd was there. */
const KVM_EXIT_MMIO = 6;

describe('an ioeventfd on a port', () => {
  test('is signalled by the guest’s write of any value', async () => {
    const { vm, run } = machine();
    const byte = pio(0x510, 1);
    const word = pio(0x512, 2);
    vm.assignIoeventfd(byte);
    vm.assignIoeventfd(word);
    expect(await run(PIO_GUEST)).toEqual({ result: 0, printed: 'p' });
    expect([byte.eventFd.read(), word.eventFd.read()]).toEqual([1, 1]);
  });

  test('with datamatch is signalled by that value only', async () => {
    const { vm, run } = machine();
    const all = [
      pio(0x510, 1, 7n),
      pio(0x510, 1, 8n),
      pio(0x512, 2, 0x1234n),
      pio(0x512, 2, 0x34n),
    ];
    for (const ioeventfd of all) vm.assignIoeventfd(ioeventfd);
    await run(PIO_GUEST);
    expect(all.map((one) => one.eventFd.read())).toEqual([1, 0, 1, 0]);
  });

  test('is not signalled by a write of another length or to another port', async () => {
    const { vm, run } = machine();
    const all = [pio(0x510, 2), pio(0x512, 1), pio(0x511, 1), pio(0x512, 4)];
    for (const ioeventfd of all) vm.assignIoeventfd(ioeventfd);
    await run(PIO_GUEST);
    expect(all.map((one) => one.eventFd.read())).toEqual([0, 0, 0, 0]);
  });

  test('of length 0 is signalled by a write of any length', async () => {
    const { vm, run } = machine();
    const all = [pio(0x510, 0), pio(0x512, 0)];
    for (const ioeventfd of all) vm.assignIoeventfd(ioeventfd);
    await run(PIO_GUEST);
    expect(all.map((one) => one.eventFd.read())).toEqual([1, 1]);
  });

  test('is silent after it was taken back', async () => {
    const { vm, run } = machine();
    const byte = pio(0x510, 1);
    vm.assignIoeventfd(byte);
    vm.deassignIoeventfd(byte);
    expect(await run(PIO_GUEST)).toEqual({ result: 0, printed: 'p' });
    expect(byte.eventFd.read()).toBe(0);
  });

  test('wakes the event loop while the guest runs', async () => {
    const { vm, run } = machine();
    const byte = pio(0x510, 1);
    vm.assignIoeventfd(byte);
    const signalled = new Promise((resolve) => byte.eventFd.onSignal(resolve));
    const running = run(PIO_GUEST);
    expect(await signalled).toBe(1);
    await running;
  });
});

describe('an ioeventfd in memory', () => {
  test('is signalled by the guest’s write, which does not leave the guest', async () => {
    const { vm, run } = machine();
    const all = [mmio(0x100000, 1), mmio(0x100010, 4, 0x12345678n), mmio(0x100020, 0)];
    for (const ioeventfd of all) vm.assignIoeventfd(ioeventfd);
    expect(await run(MMIO_GUEST)).toEqual({ result: 0, printed: 'm' });
    expect(all.map((one) => one.eventFd.read())).toEqual([1, 1, 1]);
  });

  test('lets a write through that does not match: the guest leaves for its user', async () => {
    const { vm, run } = machine();
    const all = [mmio(0x100000, 1), mmio(0x100010, 4, 0x12345679n), mmio(0x100020, 2)];
    for (const ioeventfd of all) vm.assignIoeventfd(ioeventfd);
    expect(await run(MMIO_GUEST)).toEqual({ result: KVM_EXIT_MMIO, printed: '' });
    expect(all.map((one) => one.eventFd.read())).toEqual([1, 0, 0]);
  });

  test('is no ioeventfd on the port of the same number', async () => {
    const { vm, run } = machine();
    const memory = mmio(0x510, 1);
    vm.assignIoeventfd(memory);
    await run(PIO_GUEST);
    expect(memory.eventFd.read()).toBe(0);
  });
});

describe('registering an ioeventfd', () => {
  test('fails with EEXIST where another would hear the same writes', async () => {
    const { vm } = machine();
    vm.assignIoeventfd(pio(0x510, 1, 7n));
    vm.assignIoeventfd(pio(0x510, 1, 8n));
    for (const same of [pio(0x510, 1, 7n), pio(0x510, 1), pio(0x510, 0)]) {
      await expectSystemError(() => vm.assignIoeventfd(same), 'EEXIST', IOEVENTFD);
    }
    vm.assignIoeventfd(mmio(0x510, 1, 7n));
  });

  test('fails with EINVAL beyond the address space, and for any length with datamatch', async () => {
    const { vm } = machine();
    const beyond = { ...mmio(0, 8), address: 0xffff_ffff_ffff_fffcn };
    await expectSystemError(() => vm.assignIoeventfd(beyond), 'EINVAL', IOEVENTFD);
    await expectSystemError(() => vm.assignIoeventfd(pio(0x510, 0, 7n)), 'EINVAL', IOEVENTFD);
  });

  test('is refused before the kernel sees it for a length that cannot be', async () => {
    const { vm } = machine();
    const three = { ...pio(0x510, 1), length: 3 as 1 };
    await expectCode(() => vm.assignIoeventfd(three), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vm.assignIoeventfd({ ...three, address: -1n }), 'ERR_OUT_OF_RANGE');
    expect(native.kvmIoeventfd(vm.handle, 0n, 3, 0n, eventFd().handle, 0)).toBe(-errnoOf('EINVAL'));
  });

  test('fails with EINVAL for what is no eventfd, EBADF for what is not open', async () => {
    const { vm } = machine();
    const file = { ...pio(0x510, 1), eventFd: notEventFd() };
    await expectSystemError(() => vm.assignIoeventfd(file), 'EINVAL', IOEVENTFD);
    const closed = native.kvmIoeventfd(vm.handle, 0n, 1, 0n, 999 as unknown as Fd, 0);
    expect(closed).toBe(-errnoOf('EBADF'));
  });

  test('is undone once: then, and for other fields or another eventfd, ENOENT', async () => {
    const { vm } = machine();
    const byte = pio(0x510, 1, 7n);
    vm.assignIoeventfd(byte);
    for (const other of [{ eventFd: eventFd() }, { address: 0x511n }, { datamatch: 8n }]) {
      await expectSystemError(
        () => vm.deassignIoeventfd({ ...byte, ...other }),
        'ENOENT',
        IOEVENTFD,
      );
    }
    vm.deassignIoeventfd(byte);
    await expectSystemError(() => vm.deassignIoeventfd(byte), 'ENOENT', IOEVENTFD);
  });
});
