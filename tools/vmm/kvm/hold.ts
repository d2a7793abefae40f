/**
 * Keeps a host's first virtual machine. The first VM, and the first vCPU of some kinds, patch the code of
 * scheduler and KVM (the static keys `preempt_notifier_key`, `apic_sw_disabled`, `kvm_has_noapic_vcpu`), and
 * the last ones patch it back. Where QEMU emulates several processors, one of them now and then runs what
 * another is patching ("Oops: int3"), and the kernel is lost. Held at a quiet moment, they never change.
 */
import { closeSync } from 'node:fs';
import { loadAddon } from './addon.js';

/** Returns what gives it back; not needed where the machine ends with the process. */
export function holdKvm(): () => void {
  const addon = loadAddon();
  const kvm = addon.open();
  // One vCPU whose APIC is off, as after a reset, and one without an APIC.
  const vms = [true, false].map((irqchip) => addon.createVm(kvm, irqchip));
  const vcpus = vms.map((vm) => new addon.Vcpu(kvm, vm, 0, new Uint8Array(8)));
  return () => {
    for (const vcpu of vcpus) vcpu.close();
    for (const fd of [...vms, kvm]) closeSync(fd);
  };
}
