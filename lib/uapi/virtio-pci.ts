/** Names of `linux/virtio_pci.h` and `linux/pci_ids.h`: virtio over PCI (virtio 1.3 §4.1). */

export const PCI_VENDOR_ID_REDHAT_QUMRANET = 0x1af4;
/** A device's number is this and its number among virtio devices. */
export const VIRTIO_PCI_MODERN_DEVICE_ID = 0x1040;

/** What a vendor capability leads to (virtio 1.3 §4.1.4). */
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;

/** Fields of a vendor capability, from its beginning on. */
export const VIRTIO_PCI_CAP_CFG_TYPE = 3;
export const VIRTIO_PCI_CAP_BAR = 4;
export const VIRTIO_PCI_CAP_OFFSET = 8;
export const VIRTIO_PCI_CAP_LENGTH = 12;
/** Bytes of one without anything behind `length`: `sizeof(struct virtio_pci_cap)`. */
export const VIRTIO_PCI_CAP_SIZEOF = 16;
export const VIRTIO_PCI_NOTIFY_CAP_MULT = 16;
/** Where `pci_cfg_data` stands in the capability PCI_CFG. */
export const VIRTIO_PCI_CFG_DATA = 16;

/** Fields of the common configuration (virtio 1.3 §4.1.4.3). */
export const VIRTIO_PCI_COMMON_DFSELECT = 0;
export const VIRTIO_PCI_COMMON_DF = 4;
export const VIRTIO_PCI_COMMON_GFSELECT = 8;
export const VIRTIO_PCI_COMMON_GF = 12;
export const VIRTIO_PCI_COMMON_MSIX = 16;
export const VIRTIO_PCI_COMMON_NUMQ = 18;
export const VIRTIO_PCI_COMMON_STATUS = 20;
export const VIRTIO_PCI_COMMON_CFGGENERATION = 21;
export const VIRTIO_PCI_COMMON_Q_SELECT = 22;
export const VIRTIO_PCI_COMMON_Q_SIZE = 24;
export const VIRTIO_PCI_COMMON_Q_MSIX = 26;
export const VIRTIO_PCI_COMMON_Q_ENABLE = 28;
export const VIRTIO_PCI_COMMON_Q_NOFF = 30;
export const VIRTIO_PCI_COMMON_Q_DESCLO = 32;
export const VIRTIO_PCI_COMMON_Q_AVAILLO = 40;
export const VIRTIO_PCI_COMMON_Q_USEDLO = 48;
export const VIRTIO_PCI_COMMON_Q_RESET = 58;

/** No interrupts for it. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

/** Bits of the ISR status (virtio 1.3 §4.1.4.5). */
export const VIRTIO_PCI_ISR_QUEUE = 1;
export const VIRTIO_PCI_ISR_CONFIG = 2;
