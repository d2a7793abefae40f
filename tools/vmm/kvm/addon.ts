/** The addon's shape: `tools/vmm/native`. Its functions throw errors with `errno` and `syscall`. */
import { createRequire } from 'node:module';

/** What a vCPU leaves the guest for: it waits until {@link VcpuThread.answer}. */
export type OnExit = (pio: boolean, address: number, length: number, isWrite: boolean) => void;

export interface VcpuThread {
  /** 64-bit code at `rip`, with flat segments from a table of descriptors at `gdt`. */
  setLongMode(rip: bigint, rsi: bigint, pageTables: bigint, gdt: bigint): void;
  /** `onEnd` is given KVM's exit reason, or `-errno`. */
  run(onExit: OnExit, onEnd: (reason: number) => void): void;
  answer(): void;
  stop(): void;
  close(): void;
}

/** What a global system interrupt is: a pin of the I/O APIC, or a message. */
export type GsiRoute = { gsi: number } & ({ pin: number } | { address: bigint; data: number });

export interface Addon {
  open(): number;
  /** With interrupt controllers or without. */
  createVm(kvm: number, irqchip: boolean): number;
  setMemory(
    vm: number,
    slot: number,
    guestAddress: bigint,
    size: bigint,
    userAddress: bigint,
    readOnly: boolean,
  ): void;
  setRouting(vm: number, routes: readonly GsiRoute[]): void;
  setLine(vm: number, gsi: number, level: boolean): void;
  /** `data`: eight bytes in which what is read or written crosses over. */
  Vcpu: new (
    kvm: number,
    vm: number,
    id: number,
    data: Uint8Array,
  ) => VcpuThread;
}

export function loadAddon(): Addon {
  const require = createRequire(import.meta.url);
  // As it is compiled into dist, and as the tests take it from its source.
  const root = import.meta.url.includes('/dist/') ? '../../../../' : '../../../';
  return require(`${root}tools/vmm/build/Release/vmm.node`) as Addon;
}
