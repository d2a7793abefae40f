/** Whether /dev/kvm really runs a guest, found out by running one. */
import { type Fd, native } from '../native.js';
import { checkedValue, systemError } from '../syscall.js';
import { openKvm } from './kvm-vm.js';

/** tools/probe-guest/guest.S, assembled. */
const GUEST = `
  +jHAjtiOwI7QZg8BFggRDyDAZoPIAQ8iwGbqIRAAAAgAZrgQAI7YjsCO0L8AAAEAMcC5AAwAAPOrxwUAAAEAAxAB
  AMcFABABAAMgAQDHBQAgAQCDAAAAuAAAAQAPItgPIOCDyCAPIuC5gAAAwA8yDQABAAAPMA8gwA0AAACADyLA6ogQ
  AAAYAGa4EACO0EjHxACAAABmjMgkAwQw5ulIx8cwAAIASMfA2xAAAGaJB2bHRwIYAGbHRwQAjkjB6BBmiUcGSMdH
  CAAAAAAPARwlDhEAAMywcubp5vT0sHjm6UjPDx+AAAAAAAAAAAAAAAAA//8AAACbzwD//wAAAJPPAP//AAAAm68A
  HwDoEAAA/wMAAAIAAAAAAA==`;
/** What the guest prints when it got all the way: at privilege 0, an exception, and back from it. */
const PRINTED = '0xr';

/** What {@link probeKvm} saw. */
export interface KvmProbe {
  /** Whether a guest ran in 64-bit mode and took an exception. */
  runs: boolean;
  /** How it ended, in words. */
  outcome: string;
}

/**
 * Runs a guest of 280 bytes that enters 64-bit mode with paging and takes an exception, as the first
 * instructions of a kernel do. There are hosts whose /dev/kvm opens and cannot do it. x86-64 only.
 * Throws what opening `/dev/kvm` throws. A KVM that hangs is the caller's to bound: it runs on the
 * thread pool.
 */
export async function probeKvm(): Promise<KvmProbe> {
  if (process.arch !== 'x64') {
    return { runs: false, outcome: `there is no probe for ${process.arch}` };
  }
  const kvm = openKvm();
  try {
    const vm = checkedValue<Fd>(native.kvmCreateVm(kvm), 'ioctl(KVM_CREATE_VM)', '/dev/kvm');
    try {
      const { result, printed } = await native.kvmRunGuest(kvm, vm, Buffer.from(GUEST, 'base64'));
      if (result < 0) throw systemError(result, 'ioctl(KVM_RUN)', '/dev/kvm');
      const runs = result === 0 && printed === PRINTED;
      const outcome = runs
        ? 'a guest in 64-bit mode ran'
        : `a guest in 64-bit mode stopped with KVM exit ${result} after '${printed}' of '${PRINTED}'`;
      return { runs, outcome };
    } finally {
      vm.close();
    }
  } finally {
    kvm.close();
  }
}
