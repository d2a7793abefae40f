/** The tables by which Linux finds its processors, interrupt controllers, devices and power switch. */
import { LAYOUT } from '../boot/layout.js';
import { POWER_PORT, RESET, RESET_VALUE, SLEEP_CONTROL, SLEEP_STATUS } from '../devices/power.js';
import { describeMachine } from './machine.js';

export interface AcpiOptions {
  /** Where the tables will be. */
  address: number;
  cpus: number;
  mmioCards: number;
}

const HEADER = 36;
const OEM = 'VHOST ';
/** Of the fixed description (ACPI 6.5 §5.2.9). */
const WRITE_BACK_INVALIDATE = 1;
const NO_FIXED_BUTTONS = 0x30;
const HAS_RESET_REGISTER = 1 << 10;
/** No timer, no buttons, no legacy interrupts: what a PC has of ACPI in hardware is not there. */
const HARDWARE_REDUCED = 1 << 20;
const NO_VGA = 1 << 2;
const NO_CLOCK = 1 << 5;

/** The tables, the first of them (RSDP) at their start. */
export function acpiTables({ address, cpus, mmioCards }: AcpiOptions): Buffer {
  const placed: Buffer[] = [];
  let next = address + 64;
  const place = (bytes: Buffer): number => {
    const at = next;
    placed.push(Buffer.concat([bytes, Buffer.alloc(-bytes.length & 15)]));
    next += placed.at(-1)?.length ?? 0;
    return at;
  };
  const dsdt = place(table('DSDT', 2, describeMachine(mmioCards)));
  const fixed = place(table('FACP', 6, fixedDescription(dsdt)));
  const apics = place(table('APIC', 5, interruptControllers(cpus)));
  const pointers = Buffer.alloc(16);
  pointers.writeBigUInt64LE(BigInt(fixed), 0);
  pointers.writeBigUInt64LE(BigInt(apics), 8);
  const root = place(table('XSDT', 1, pointers));
  return Buffer.concat([rootPointer(root), Buffer.alloc(64 - 36), ...placed]);
}

function rootPointer(root: number): Buffer {
  const bytes = Buffer.alloc(36);
  bytes.write('RSD PTR ', 0);
  bytes.write(OEM, 9);
  bytes[15] = 2;
  bytes.writeUInt32LE(bytes.length, 20);
  bytes.writeBigUInt64LE(BigInt(root), 24);
  // One sum over the part that ACPI 1.0 had, one over all.
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

function table(signature: string, revision: number, body: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(HEADER), body]);
  bytes.write(signature, 0);
  bytes.writeUInt32LE(bytes.length, 4);
  bytes[8] = revision;
  bytes.write(OEM, 10);
  bytes.write('VHOSTNET', 16);
  bytes.writeUInt32LE(1, 24);
  bytes.write('VHNT', 28);
  bytes.writeUInt32LE(1, 32);
  bytes[9] = checksum(bytes);
  return bytes;
}

/** Offsets count from the table's start, as in the specification. */
function fixedDescription(dsdt: number): Buffer {
  const bytes = Buffer.alloc(276);
  bytes.writeUInt16LE(NO_VGA | NO_CLOCK, 109);
  bytes.writeUInt32LE(
    WRITE_BACK_INVALIDATE | NO_FIXED_BUTTONS | HAS_RESET_REGISTER | HARDWARE_REDUCED,
    112,
  );
  bytes.set(portRegister(POWER_PORT + RESET), 116);
  bytes[128] = RESET_VALUE;
  bytes[131] = 5;
  bytes.writeBigUInt64LE(BigInt(dsdt), 140);
  bytes.set(portRegister(POWER_PORT + SLEEP_CONTROL), 244);
  bytes.set(portRegister(POWER_PORT + SLEEP_STATUS), 256);
  bytes.write('VHOSTNET', 268);
  return bytes.subarray(HEADER);
}

/** A register of one byte among the ports, in ACPI's generic form. */
function portRegister(port: number): Buffer {
  const bytes = Buffer.of(1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  bytes.writeUInt16LE(port, 4);
  return bytes;
}

function interruptControllers(cpus: number): Buffer {
  const start = Buffer.alloc(8);
  start.writeUInt32LE(LAYOUT.localApic, 0);
  const entries: Buffer[] = [];
  for (let id = 0; id < cpus; id++) entries.push(Buffer.of(0, 8, id, id, 1, 0, 0, 0));
  const ioApic = Buffer.alloc(12);
  ioApic.set([1, 12, cpus, 0]);
  ioApic.writeUInt32LE(LAYOUT.ioApic, 4);
  return Buffer.concat([start, ...entries, ioApic]);
}

/** The byte that makes the sum of all 0. */
function checksum(bytes: Buffer): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}
