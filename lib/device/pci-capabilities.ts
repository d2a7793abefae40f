/** The capabilities of a virtio-pci card, and where they lead in its BAR (virtio 1.3 §4.1.4). */
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_CAP_MSIX_SIZEOF,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_PBA,
  PCI_MSIX_TABLE,
} from '../uapi/pci.js';
import {
  VIRTIO_PCI_CAP_BAR,
  VIRTIO_PCI_CAP_CFG_TYPE,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_LENGTH,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_OFFSET,
  VIRTIO_PCI_CAP_PCI_CFG,
  VIRTIO_PCI_CAP_SIZEOF,
  VIRTIO_PCI_CFG_DATA,
  VIRTIO_PCI_NOTIFY_CAP_MULT,
} from '../uapi/virtio-pci.js';
import type { PciConfig } from './pci-config.js';
import { NOTIFY_OFF_MULTIPLIER } from './pci-notify.js';

/** Bytes of the BAR. */
export const BAR_SIZE = 512 * 1024;
/** The BAR that everything is in. */
export const BAR_INDEX = 0;
/** Queues, and vectors, at most: what there is room for between two structures. */
export const MAX_VECTORS = 2048;

/** What stands where in the BAR, in bytes; each on a page of its own. */
export const BAR_LAYOUT = {
  common: { at: 0x0, size: 0x40 },
  isr: { at: 0x2000, size: 1 },
  // More than there is: a driver that knows later fields may ask for them, and reads zeroes.
  device: { at: 0x4000, size: 0x1000 },
  notify: { at: 0x6000, size: NOTIFY_OFF_MULTIPLIER * MAX_VECTORS },
  msixTable: { at: 0x8000, size: 16 * MAX_VECTORS },
  msixPending: { at: 0x48000, size: MAX_VECTORS / 8 },
} as const;

export interface CapabilityOffsets {
  msix: number;
  pciConfig: number;
}

/** Appends all of them. Returns where those are that the device itself looks at. */
export function addCapabilities(
  config: PciConfig,
  queues: number,
  vectors: number,
): CapabilityOffsets {
  const { common, isr, device, notify } = BAR_LAYOUT;
  const msix = addMsix(config, vectors);
  addVendor(config, VIRTIO_PCI_CAP_COMMON_CFG, common.at, common.size);
  addVendor(config, VIRTIO_PCI_CAP_NOTIFY_CFG, notify.at, NOTIFY_OFF_MULTIPLIER * queues);
  addVendor(config, VIRTIO_PCI_CAP_ISR_CFG, isr.at, isr.size);
  addVendor(config, VIRTIO_PCI_CAP_DEVICE_CFG, device.at, device.size);
  return { msix, pciConfig: addVendor(config, VIRTIO_PCI_CAP_PCI_CFG, 0, 0) };
}

function addMsix(config: PciConfig, vectors: number): number {
  const body = new DataView(new ArrayBuffer(PCI_CAP_MSIX_SIZEOF - 2));
  const writable = new DataView(new ArrayBuffer(PCI_CAP_MSIX_SIZEOF - 2));
  body.setUint16(PCI_MSIX_FLAGS - 2, vectors - 1, true);
  body.setUint32(PCI_MSIX_TABLE - 2, BAR_LAYOUT.msixTable.at | BAR_INDEX, true);
  body.setUint32(PCI_MSIX_PBA - 2, BAR_LAYOUT.msixPending.at | BAR_INDEX, true);
  writable.setUint16(PCI_MSIX_FLAGS - 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true);
  return config.addCapability(
    PCI_CAP_ID_MSIX,
    new Uint8Array(body.buffer),
    new Uint8Array(writable.buffer),
  );
}

/** `struct virtio_pci_cap`, with what belongs to its type behind it. */
function addVendor(config: PciConfig, type: number, at: number, length: number): number {
  const more = type === VIRTIO_PCI_CAP_NOTIFY_CFG || type === VIRTIO_PCI_CAP_PCI_CFG ? 4 : 0;
  const size = VIRTIO_PCI_CAP_SIZEOF + more;
  const capability = new DataView(new ArrayBuffer(size));
  capability.setUint8(2, size);
  capability.setUint8(VIRTIO_PCI_CAP_CFG_TYPE, type);
  capability.setUint8(VIRTIO_PCI_CAP_BAR, BAR_INDEX);
  capability.setUint32(VIRTIO_PCI_CAP_OFFSET, at, true);
  capability.setUint32(VIRTIO_PCI_CAP_LENGTH, length, true);
  if (type === VIRTIO_PCI_CAP_NOTIFY_CFG) {
    capability.setUint32(VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_OFF_MULTIPLIER, true);
  }
  const writable = new Uint8Array(size);
  if (type === VIRTIO_PCI_CAP_PCI_CFG) {
    writable.fill(0xff, VIRTIO_PCI_CAP_BAR, VIRTIO_PCI_CAP_BAR + 1);
    writable.fill(0xff, VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_CFG_DATA + 4);
  }
  return config.addCapability(
    PCI_CAP_ID_VNDR,
    new Uint8Array(capability.buffer, 2),
    writable.subarray(2),
  );
}
