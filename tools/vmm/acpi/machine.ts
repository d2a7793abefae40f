/** The machine's devices in ACPI's machine language: the body of its DSDT. */
import { LAYOUT, LINES } from '../boot/layout.js';
import { PCI_HOST_PORT, PCI_HOST_PORTS } from '../devices/pci-host.js';
import { SLEEP_TYPE_OFF } from '../devices/power.js';
import {
  busNumbers,
  device,
  edgeInterrupt,
  eisaId,
  integer,
  list,
  memory,
  memoryWindow,
  named,
  ports,
  resources,
  scope,
  string,
} from './aml.js';

export const SERIAL_PORT = 0x3f8;
export const SERIAL_PORTS = 8;

/** Slots of the PCI bus that have an interrupt line; the bridge has the first. */
const SLOTS = 32;

/** Line of a PCI slot's one interrupt pin. */
export function pciLine(slot: number): number {
  return LINES.pci + (slot % LINES.pciCount);
}

/** Registers of a card on virtio-mmio. */
export function mmioCardAddress(card: number): number {
  return LAYOUT.mmioCards + card * LAYOUT.mmioCardBytes;
}

/** `mmioCards`: how many cards are on virtio-mmio. Those on PCI are found on the bus. */
export function describeMachine(mmioCards: number): Buffer {
  const cards: Buffer[] = [];
  for (let card = 0; card < mmioCards; card++) cards.push(mmioCard(card));
  return Buffer.concat([
    named('_S5_', list(integer(SLEEP_TYPE_OFF), integer(0), integer(0), integer(0))),
    scope('_SB_', serialPort(), pciBus(), ...cards),
  ]);
}

const serialPort = () =>
  device(
    'COM1',
    named('_HID', eisaId('PNP0501')),
    named('_UID', integer(1)),
    named('_CRS', resources(ports(SERIAL_PORT, SERIAL_PORTS), edgeInterrupt(LINES.serial))),
  );

function pciBus(): Buffer {
  const lines: Buffer[] = [];
  for (let slot = 1; slot < SLOTS; slot++) {
    // Any function of the slot, pin A, and a line of the I/O APIC rather than a link device.
    const functions = integer(slot * 0x1_0000 + 0xffff);
    lines.push(list(functions, integer(0), integer(0), integer(pciLine(slot))));
  }
  return device(
    'PCI0',
    named('_HID', eisaId('PNP0A03')),
    named('_UID', integer(0)),
    named(
      '_CRS',
      resources(
        busNumbers(0, 0),
        ports(PCI_HOST_PORT, PCI_HOST_PORTS),
        memoryWindow(LAYOUT.pciWindow, LAYOUT.pciWindowBytes),
      ),
    ),
    named('_PRT', list(...lines)),
  );
}

function mmioCard(card: number): Buffer {
  return device(
    `VR${card.toString(16).toUpperCase().padStart(2, '0')}`,
    named('_HID', string('LNRO0005')),
    named('_UID', integer(card)),
    // The card sees memory as the processors do.
    named('_CCA', integer(1)),
    named(
      '_CRS',
      resources(
        memory(mmioCardAddress(card), LAYOUT.mmioCardBytes),
        edgeInterrupt(LINES.mmioCards + card),
      ),
    ),
  );
}
