/** What is where in the guest's address space, in bytes. */

const KIB = 1 << 10;
const MIB = 1 << 20;
const GIB = 1 << 30;

export const LAYOUT = {
  gdt: 0x500,
  bootParams: 0x7000,
  pageTables: 0x9000,
  commandLine: 0x2_0000,
  /** Below it is memory that a PC's firmware leaves to the kernel. */
  lowMemoryEnd: 640 * KIB,
  /** Firmware's tables, to the first MiB. */
  acpi: 0xe_0000,
  /** Where a processor goes that is reset. */
  resetVector: 0xf_fff0,
  highMemory: MIB,
  /** Where memory ends below 4 GiB at the latest; what is more of it follows at 4 GiB. */
  memoryHole: 3 * GIB,
  memoryAfterHole: 4 * GIB,
  /** Registers of cards on virtio-mmio, a page for each. */
  mmioCards: 0xd000_0000,
  mmioCardBytes: 4 * KIB,
  /** The PCI bus's window. */
  pciWindow: 0xe000_0000,
  pciWindowBytes: 256 * MIB,
  ioApic: 0xfec0_0000,
  localApic: 0xfee0_0000,
} as const;

/** Interrupt lines of the I/O APIC. */
export const LINES = {
  serial: 4,
  /** Cards on virtio-mmio have this one and those after it. */
  mmioCards: 5,
  /** Cards on PCI share these four in turn. */
  pci: 16,
  pciCount: 4,
} as const;
