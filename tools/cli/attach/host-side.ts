/** The host's side of a TAP, as the options of `attach` want it. */
import { once } from 'node:events';
import { release } from 'node:os';
import { featureNames, formatMac, type NetPort } from '../../../lib/index.js';
import type { AttachOptions } from './options.js';
import type { Attached } from './reporter.js';

/** What of the options concerns this TAP alone; a bridge has another. */
export type HostSide = Pick<AttachOptions, 'mac' | 'address'>;

/** Sets it up, waits until the link is, and says what is attached now. */
export async function setUpHostSide(
  port: NetPort,
  { persist, mtu, forwardMode, queues, queueSize }: AttachOptions,
  { mac, address }: HostSide,
): Promise<Attached> {
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
    forwardMode,
    queues,
    queueSize,
    offloads: port.offloads,
    backend: port.backend,
    features: {
      mask: `0x${port.features.toString(16)}`,
      names: featureNames(port.features),
    },
    kernel: release(),
  };
}

/** The host's address in the locally administered range: another one, and the same every time. */
export function ownMac(port: NetPort, { respondMac }: AttachOptions): Uint8Array {
  if (respondMac) return respondMac;
  const mac = port.tap.interface.mac;
  mac[0] = ((mac[0] as number) | 0x02) & 0xfe;
  mac[5] = (mac[5] as number) ^ 0x01;
  return mac;
}
