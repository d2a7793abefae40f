import { describe, expect, test } from 'vitest';
import { KvmVm, probeKvm } from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import { keep, plainFile } from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';
import { EDGE_GUEST, LEVEL_GUEST } from '../support/guests.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { eventFd, machine, notEventFd, pio } from '../support/machine.js';

const IRQFD = 'ioctl(KVM_IRQFD)';
/** Both interrupt controllers route a line to the interrupt of the same number. */
const LINE = 5;
/** The port that a guest writes to when it waits for its interrupt. */
const READY_PORT = 0xe0;

test('the probe runs a guest in 64-bit mode, and leaves nothing', async () => {
  const before = await leakSnapshot();
  expect(await probeKvm()).toEqual({ runs: true, outcome: 'a guest in 64-bit mode ran' });
  await expectNoLeaks(before);
});

describe('an irqfd', () => {
  test('interrupts the guest', async () => {
    const { vm, run } = machine(true);
    const call = eventFd();
    const ready = pio(READY_PORT, 1);
    vm.assignIoeventfd(ready);
    vm.assignIrqfd({ gsi: LINE, eventFd: call });
    // The guest halts with its interrupts open: nothing but this one ends it.
    ready.eventFd.onSignal(() => call.signal());
    expect(await run(EDGE_GUEST)).toEqual({ result: 0, printed: 'i' });
    // The kernel reads the eventfd itself.
    expect(call.read()).toBe(0);
  });

  test('keeps the interrupt that came before the guest opened its line', async () => {
    const { vm, run } = machine(true);
    const call = eventFd();
    const ready = pio(READY_PORT, 1);
    vm.assignIoeventfd(ready);
    call.signal();
    ready.eventFd.onSignal(() => vm.assignIrqfd({ gsi: LINE, eventFd: call }));
    expect(await run(EDGE_GUEST)).toEqual({ result: 0, printed: 'i' });
  });

  test('that is taken back leaves in the eventfd what came after, and nothing that it delivered', () => {
    const { vm } = machine(true);
    const call = eventFd();
    const irqfd = { gsi: LINE, eventFd: call };
    call.signal(3);
    vm.assignIrqfd(irqfd);
    call.signal();
    vm.deassignIrqfd(irqfd);
    // The pending bits of MSI-X stand on this: the counter is the bit while a vector is masked.
    expect(call.read()).toBe(0);
    call.signal(2);
    expect(call.read()).toBe(2);
  });

  test('with resample holds the line until the guest acknowledged, and says so each time', async () => {
    const { vm, run } = machine(true);
    const call = eventFd();
    const resample = eventFd();
    const ready = pio(READY_PORT, 1);
    vm.assignIoeventfd(ready);
    vm.assignIrqfd({ gsi: LINE, eventFd: call, resample });
    let acknowledged = 0;
    resample.onSignal((count) => {
      acknowledged += count;
      if (acknowledged === 1) call.signal();
    });
    ready.eventFd.onSignal(() => call.signal());
    expect(await run(LEVEL_GUEST)).toEqual({ result: 0, printed: 'll' });
    await expect.poll(() => acknowledged).toBe(2);
  });

  test('that was taken back leaves its eventfd alone', () => {
    const { vm } = machine(true);
    const call = eventFd();
    vm.assignIrqfd({ gsi: LINE, eventFd: call });
    vm.deassignIrqfd({ gsi: LINE, eventFd: call });
    call.signal();
    expect(call.read()).toBe(1);
    vm.deassignIrqfd({ gsi: LINE, eventFd: call });
    vm.assignIrqfd({ gsi: LINE, eventFd: call });
  });

  test('fails with EBUSY where the eventfd is one already', async () => {
    const { vm } = machine(true);
    const call = eventFd();
    vm.assignIrqfd({ gsi: LINE, eventFd: call });
    await expectSystemError(() => vm.assignIrqfd({ gsi: LINE, eventFd: call }), 'EBUSY', IRQFD);
    await expectSystemError(() => vm.assignIrqfd({ gsi: 6, eventFd: call }), 'EBUSY', IRQFD);
  });

  test('fails with EINVAL for what is no eventfd, EBADF for what is not open', async () => {
    const { vm } = machine(true);
    const file = notEventFd();
    await expectSystemError(() => vm.assignIrqfd({ gsi: LINE, eventFd: file }), 'EINVAL', IRQFD);
    const call = { gsi: LINE, eventFd: eventFd(), resample: file };
    await expectSystemError(() => vm.assignIrqfd(call), 'EINVAL', IRQFD);
    expect(native.kvmIrqfd(vm.handle, LINE, 999 as unknown as Fd, -1, 0)).toBe(-errnoOf('EBADF'));
  });

  test('needs an interrupt controller in the kernel: EINVAL without', async () => {
    const { vm } = machine();
    const call = { gsi: LINE, eventFd: eventFd() };
    await expectSystemError(() => vm.assignIrqfd(call), 'EINVAL', IRQFD);
    const level = { ...call, resample: eventFd() };
    await expectSystemError(() => vm.assignIrqfd(level), 'EINVAL', IRQFD);
  });
});

describe('a KvmVm', () => {
  test('keeps the VM alive, and is closed once', async () => {
    const before = await leakSnapshot();
    const { vm } = machine();
    vm.assignIoeventfd(pio(0x510, 1));
    vm.close();
    vm.close();
    await expectCode(() => vm.assignIoeventfd(pio(0x511, 1)), 'ERR_CLOSED');
    const open = (await leakSnapshot()).fds.filter((fd) => !before.fds.includes(fd));
    // The other was the KvmVm's own.
    expect(open.filter((fd) => fd.endsWith('kvm-vm'))).toHaveLength(1);
  });

  test('is not made of a descriptor that is not open: EBADF', async () => {
    await expectSystemError(() => KvmVm.fromFd(999), 'EBADF', 'fcntl(F_DUPFD_CLOEXEC)');
  });

  test('of what is no VM fails with ENOTTY', async () => {
    const vm = keep(KvmVm.fromFd(plainFile().number()));
    await expectCode(() => vm.assignIoeventfd(pio(0x510, 1)), 'ENOTTY');
  });
});
