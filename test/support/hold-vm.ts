/** Set-up of the kernel layer: no test's virtual machine is the first one or the last. */
import { existsSync } from 'node:fs';
import { holdKvm } from '../../tools/vmm/kvm/hold.js';

let giveBack = () => {};

export function setup(): void {
  if (existsSync('/dev/kvm')) giveBack = holdKvm();
}

export function teardown(): void {
  giveBack();
}
