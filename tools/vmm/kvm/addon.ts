/** The addon's shape: `tools/vmm/native`. Its functions throw errors with `errno` and `syscall`. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

/** What a vCPU leaves the guest for: it waits until {@link VcpuThread.answer}. */
export type OnExit = (pio: boolean, address: number, length: number, isWrite: boolean) => void;

export interface VcpuThread {
  /** 64-bit code at `rip`, with flat segments from a table of descriptors at `gdt`. */
  setLongMode(rip: bigint, rsi: bigint, pageTables: bigint, gdt: bigint): void;
  /** `onEnd` is given KVM's exit reason, or `-errno`, and where the guest was. */
  run(onExit: OnExit, onEnd: (reason: number, detail: string) => void): void;
  answer(): void;
  stop(): void;
  close(): void;
}

/** What a global system interrupt is: a pin of the I/O APIC, or a message. */
export type GsiRoute = { gsi: number } & ({ pin: number } | { address: bigint; data: number });

export interface Addon {
  /** Whether this machine's processor is QEMU's emulation. */
  isEmulated: boolean;
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

/** The repository's folder, from here as it is in `tools`, in `dist/tools`, and bundled in `dist/bin`. */
const FOLDERS = ['../../..', '../../../..', '../..'];

/** Throws where it is not built. */
export function loadAddon(): Addon {
  const require = createRequire(import.meta.url);
  const built = FOLDERS.map((folder) => `${folder}/tools/vmm/build/Release/vmm.node`);
  const found = built.find((path) => existsSync(new URL(path, import.meta.url)));
  return require(found ?? (built[0] as string)) as Addon;
}
