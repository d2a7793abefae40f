/** The host's side of a TAP, as the options of `attach` want it. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { release } from 'node:os';
import { featureNames, formatMac, type NetPort } from '../../../lib/index.js';
import type { AttachOptions } from './options.js';
import type { Attached, Names } from './reporter.js';

/** What of the options concerns this TAP alone; a bridge has another. */
export type HostSide = Pick<AttachOptions, 'mac' | 'address'>;

/** Sets it up, waits until the link is, and says what is attached now. */
export async function setUpHostSide(
  port: NetPort,
  options: AttachOptions,
  { mac, address }: HostSide,
): Promise<Attached> {
  const { persist, mtu } = options;
  const { tap } = port;
  const host = tap.interface;
  if (persist) tap.setPersist(true);
  if (mac) host.setMac(mac);
  if (mtu !== undefined) host.setMtu(mtu);
  host.setUp();
  if (!port.linkUp) await once(port, 'link');
  for (const cidr of address) host.addAddress(cidr);
  return {
    tap: host.name,
    created: tap.created,
    mac: formatMac(host.mac),
    mtu: host.mtu,
    addresses: address,
    ...describePort(port, options),
    kernel: release(),
  };
}

/** What is attached to a socket: of the other side nothing is known. */
export function describeSocket(port: NetPort, options: AttachOptions): Attached {
  return { socket: port.name, ...describePort(port, options), kernel: release() };
}

function describePort(port: NetPort, { forwardMode, queues, queueSize }: AttachOptions) {
  return {
    forwardMode,
    queues,
    queueSize,
    offloads: port.offloads,
    backend: port.backend,
    features: {
      mask: `0x${port.features.toString(16)}`,
      names: featureNames(port.features),
    },
  };
}

/** What a port is on. */
export function namesOf(port: NetPort): Names {
  const [tap] = port.taps;
  return tap ? { tap: tap.interface.name } : { socket: port.name };
}

/** Whom txonly sends to where nobody is known at the other side. */
const SOMEBODY = [0x02, 0, 0, 0, 0, 0];

/** The hardware address of the host's side; of a socket's other side a local one. */
export function farMac(port: NetPort): Uint8Array {
  const [tap] = port.taps;
  return tap?.interface.mac ?? Uint8Array.from(SOMEBODY);
}

/**
 * The host's address in the locally administered range: another one, and the same every time. On a socket any of
 * that range, another every time.
 */
export function ownMac(port: NetPort, { respondMac }: AttachOptions): Uint8Array {
  if (respondMac) return respondMac;
  const [tap] = port.taps;
  const mac = tap?.interface.mac ?? Uint8Array.from(randomBytes(6));
  mac[0] = ((mac[0] as number) | 0x02) & 0xfe;
  mac[5] = (mac[5] as number) ^ 0x01;
  return mac;
}
