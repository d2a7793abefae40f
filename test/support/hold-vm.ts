/**
 * Set-up of the kernel layer: one KVM virtual machine that outlives every test. The first VM of a host
 * patches the scheduler's code (`preempt_notifier_key`, in `__schedule`) and the last one patches it
 * back. Where QEMU emulates several processors, one of them now and then runs what another is patching
 * ("Oops: int3"), and the kernel is lost: so no test's VM may be the first one or the last.
 */
import { existsSync } from 'node:fs';
import { openKvm } from '../../lib/host/kvm-vm.js';
import { type Fd, native } from '../../lib/native.js';
import { checkedValue } from '../../lib/syscall.js';

let held: Fd[] = [];

export function setup(): void {
  if (!existsSync('/dev/kvm')) return;
  const kvm = openKvm();
  held = [checkedValue<Fd>(native.kvmCreateVm(kvm), 'ioctl(KVM_CREATE_VM)'), kvm];
}

export function teardown(): void {
  for (const fd of held) fd.close();
}
