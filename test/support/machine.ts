/** KVM virtual machines for one test. */
import { expect } from 'vitest';
import { EventFd, type Ioeventfd, KvmVm } from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import { keep, plainFile } from './device.js';

export interface Machine {
  vm: KvmVm;
  run(code: Uint8Array): Promise<{ result: number; printed: string }>;
}

/** A VM of the test's own; `irqchip` gives it the interrupt controllers of a PC. */
export function machine(irqchip = false): Machine {
  const kvm = keep(opened(native.open('/dev/kvm', 2)));
  const vm = keep(opened(native.kvmCreateVm(kvm)));
  if (irqchip) expect(native.kvmCreateIrqchip(vm)).toBe(0);
  return {
    vm: keep(KvmVm.fromFd(vm.number())),
    run: (code) => native.kvmRunGuest(kvm, vm, code),
  };
}

function opened(fd: Fd | number): Fd {
  if (typeof fd === 'number') throw new Error(`errno ${-fd}`);
  return fd;
}

export const eventFd = () => keep(EventFd.create());
export const notEventFd = () => keep(EventFd.fromFd(plainFile().number()));

export function pio(address: number, length: Ioeventfd['length'], datamatch?: bigint): Ioeventfd {
  const base = { address: BigInt(address), space: 'pio', length, eventFd: eventFd() } as const;
  return datamatch === undefined ? base : { ...base, datamatch };
}

export function mmio(address: number, length: Ioeventfd['length'], datamatch?: bigint): Ioeventfd {
  const base = { address: BigInt(address), length, eventFd: eventFd() };
  return datamatch === undefined ? base : { ...base, datamatch };
}
