/**
 * The commands of the control queue (virtio 1.3 §5.1.6.5): which there are, the feature and the length that
 * each must have, and what it asks for.
 */
import { ETH_ALEN } from '../uapi/tun.js';
import {
  hasBit,
  VIRTIO_NET_CTRL_ANNOUNCE,
  VIRTIO_NET_CTRL_ANNOUNCE_ACK,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
  VIRTIO_NET_CTRL_MAC,
  VIRTIO_NET_CTRL_MAC_ADDR_SET,
  VIRTIO_NET_CTRL_MAC_TABLE_SET,
  VIRTIO_NET_CTRL_MQ,
  VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
  VIRTIO_NET_CTRL_RX,
  VIRTIO_NET_CTRL_VLAN,
  VIRTIO_NET_CTRL_VLAN_ADD,
  VIRTIO_NET_CTRL_VLAN_DEL,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
} from '../uapi/virtio-net.js';

/** What is received beside frames to the card's own address and those of its table. */
export const RX_MODES = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;
export type RxMode = (typeof RX_MODES)[number];

/** Highest VLAN. */
const LAST_VLAN = 4095;

/** Who does what a guest asks for. Each answers whether it was done; a throw is a no. */
export interface ControlTarget {
  setRxMode(mode: RxMode, on: boolean): boolean | Promise<boolean>;
  /** Both lists replace the ones before. */
  setMacTable(unicast: Uint8Array[], multicast: Uint8Array[]): boolean | Promise<boolean>;
  setMac(mac: Uint8Array): boolean | Promise<boolean>;
  /** `id`: 0 to 4095. */
  setVlan(id: number, on: boolean): boolean | Promise<boolean>;
  announced(): boolean | Promise<boolean>;
  /** `count`: 0 to 65535, as the guest wrote it. */
  setQueuePairs(count: number): boolean | Promise<boolean>;
  /** `offloads`: feature bits of offloads that the guest takes, as it wrote them. */
  setOffloads(offloads: bigint): boolean | Promise<boolean>;
}

interface Command {
  feature: number;
  /** Bytes behind class and command; undefined where `run` looks itself. */
  length?: number;
  run(target: ControlTarget, data: DataView, code: number): boolean | Promise<boolean>;
}

const COMMANDS = new Map<number, Command>([
  ...RX_MODES.map((mode, code): [number, Command] => [
    key(VIRTIO_NET_CTRL_RX, code),
    {
      feature: code < 2 ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA,
      length: 1,
      run: (target, data) => target.setRxMode(mode, data.getUint8(0) !== 0),
    },
  ]),
  [
    key(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET),
    { feature: VIRTIO_NET_F_CTRL_RX, run: setMacTable },
  ],
  [
    key(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET),
    {
      feature: VIRTIO_NET_F_CTRL_MAC_ADDR,
      length: ETH_ALEN,
      run: (target, data) => target.setMac(macAt(data, 0)),
    },
  ],
  ...[VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_CTRL_VLAN_DEL].map((code): [number, Command] => [
    key(VIRTIO_NET_CTRL_VLAN, code),
    {
      feature: VIRTIO_NET_F_CTRL_VLAN,
      length: 2,
      run: (target, data) => {
        const id = data.getUint16(0, true);
        return id <= LAST_VLAN && target.setVlan(id, code === VIRTIO_NET_CTRL_VLAN_ADD);
      },
    },
  ]),
  [
    key(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK),
    { feature: VIRTIO_NET_F_GUEST_ANNOUNCE, length: 0, run: (target) => target.announced() },
  ],
  [
    key(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET),
    {
      feature: VIRTIO_NET_F_MQ,
      length: 2,
      run: (target, data) => target.setQueuePairs(data.getUint16(0, true)),
    },
  ],
  [
    key(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET),
    {
      feature: VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
      length: 8,
      run: (target, data) => target.setOffloads(data.getBigUint64(0, true)),
    },
  ],
]);

/**
 * Does what a command asks for: class, command, data, a copy that nobody changes. False for one that there is
 * not, that was not negotiated, that is too short or too long, or that the target refuses.
 */
export async function obeyCommand(
  bytes: Uint8Array,
  features: bigint,
  target: ControlTarget,
): Promise<boolean> {
  const [group = -1, code = -1] = bytes;
  const command = COMMANDS.get(key(group, code));
  if (!command || !hasBit(features, command.feature)) return false;
  const data = new DataView(bytes.buffer, bytes.byteOffset + 2, bytes.length - 2);
  if (command.length !== undefined && data.byteLength !== command.length) return false;
  return command.run(target, data, code);
}

/** A count and so many addresses, twice: unicast, then multicast. */
function setMacTable(target: ControlTarget, data: DataView): boolean | Promise<boolean> {
  const tables: Uint8Array[][] = [];
  let at = 0;
  for (let i = 0; i < 2; i++) {
    if (at + 4 > data.byteLength) return false;
    const count = data.getUint32(at, true);
    at += 4;
    if (count > (data.byteLength - at) / ETH_ALEN) return false;
    tables.push(Array.from({ length: count }, (_, n) => macAt(data, at + n * ETH_ALEN)));
    at += count * ETH_ALEN;
  }
  const [unicast = [], multicast = []] = tables;
  return at === data.byteLength && target.setMacTable(unicast, multicast);
}

function macAt(data: DataView, at: number): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset + at, ETH_ALEN).slice();
}

function key(group: number, code: number): number {
  return (group << 8) | code;
}
