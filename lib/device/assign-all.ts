/** Registrations with KVM that are made together, or not at all, and taken back together. */
import type { KvmVm } from '../host/kvm-vm.js';
import { logDevice } from '../log.js';

/** What a transport needs of a VM. */
export type KvmEvents = Pick<
  KvmVm,
  'assignIoeventfd' | 'deassignIoeventfd' | 'assignIrqfd' | 'deassignIrqfd'
>;

/**
 * Assigns each in turn; where one fails, those before it are taken back. Returns what takes all back, last
 * first: it goes on where one fails, throws the first error at the end, and does nothing the second time.
 */
export function assignAll<T>(
  items: readonly T[],
  assign: (item: T) => void,
  deassign: (item: T) => void,
): () => void {
  const assigned: T[] = [];
  const takeBack = () => {
    const errors: unknown[] = [];
    for (const item of assigned.splice(0).reverse()) {
      try {
        deassign(item);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  };
  try {
    for (const item of items) {
      assign(item);
      assigned.push(item);
    }
  } catch (error) {
    try {
      takeBack();
    } catch (second) {
      // The caller is told why it failed, not what failed after.
      logDevice('not taken back: %o', second);
    }
    throw error;
  }
  return takeBack;
}
