/** A network interface, by name: state, MTU, hardware address, addresses. */
import { isIP } from 'node:net';
import { checkInteger, typeError, valueError } from '../errors.js';
import { native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import { ETH_ALEN, IFF_RUNNING, IFF_UP, IFNAMSIZ } from '../uapi/tun.js';
import { parseAddress } from './ip-address.js';

/** Throws `ERR_INVALID_ARG_VALUE` unless the kernel could have an interface of this name. */
export function checkInterfaceName(name: unknown): string {
  if (typeof name !== 'string') throw typeError(`an interface name must be a string, not ${name}`);
  const bytes = Buffer.byteLength(name);
  if (bytes >= IFNAMSIZ) {
    throw valueError(
      `the interface name '${name}' has ${bytes} bytes; the kernel allows ${IFNAMSIZ - 1}`,
    );
  }
  if (name === '' || name === '.' || name === '..' || Buffer.from(name).some(isForbidden)) {
    throw valueError(`'${name}' cannot be the name of an interface`);
  }
  return name;
}

/** Whether dev_valid_name() refuses a byte: `/`, `:`, and what the kernel's isspace() holds. */
function isForbidden(byte: number): boolean {
  const space = (byte >= 0x09 && byte <= 0x0d) || byte === 0x20 || byte === 0xa0;
  return space || byte === 0 || byte === 0x2f || byte === 0x3a;
}

/** Six bytes from `'52:54:00:12:34:56'`. Throws `ERR_INVALID_ARG_VALUE`. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) {
    throw valueError(`'${text}' is no MAC address of the form 52:54:00:12:34:56`);
  }
  return Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
}

/** `'52:54:00:12:34:56'` from six bytes. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** An interface of this process's network namespace. Nothing is opened: there is nothing to close. */
export class NetInterface {
  readonly name: string;

  constructor(name: string) {
    this.name = checkInterfaceName(name);
  }

  /** Whether an interface of this name exists. */
  get exists(): boolean {
    return native.netifGetIndex(this.name) >= 0;
  }

  /** The kernel's index, from 1. Throws `ENODEV`. */
  get index(): number {
    return checked(native.netifGetIndex(this.name), 'ioctl(SIOCGIFINDEX)', this.name);
  }

  /** Whether the interface is up (administratively). Throws `ENODEV`. */
  get up(): boolean {
    return (this.#flags() & IFF_UP) !== 0;
  }

  /** Whether the interface is up and has a carrier. Throws `ENODEV`. */
  get running(): boolean {
    return (this.#flags() & IFF_RUNNING) !== 0;
  }

  /** `ip link set NAME up`. Throws `EPERM`, `ENODEV`. */
  setUp(): void {
    this.#setFlags(this.#flags() | IFF_UP);
  }

  /** `ip link set NAME down`. Throws `EPERM`, `ENODEV`. */
  setDown(): void {
    this.#setFlags(this.#flags() & ~IFF_UP);
  }

  /** Bytes of the largest packet, without the Ethernet header. */
  get mtu(): number {
    return checked(native.netifGetMtu(this.name), 'ioctl(SIOCGIFMTU)', this.name);
  }

  /** Throws `EINVAL` outside the interface's range (a TAP: 68 to 65521), `EPERM`. */
  setMtu(bytes: number): void {
    checkInteger('mtu', bytes, 0, 0x7fff_ffff);
    checked(native.netifSetMtu(this.name, bytes), 'ioctl(SIOCSIFMTU)', this.name, [bytes]);
  }

  /** Six bytes. */
  get mac(): Uint8Array {
    const mac = checkedValue<Buffer>(
      native.netifGetMac(this.name),
      'ioctl(SIOCGIFHWADDR)',
      this.name,
    );
    return Uint8Array.from(mac);
  }

  /** Sets the hardware address of the host's side. Throws `EADDRNOTAVAIL` for a group address. */
  setMac(mac: Uint8Array): void {
    if (mac.length !== ETH_ALEN) throw valueError(`a MAC address has 6 bytes, not ${mac.length}`);
    checked(native.netifSetMac(this.name, mac), 'ioctl(SIOCSIFHWADDR)', this.name, [
      formatMac(mac),
    ]);
  }

  /**
   * Adds an address, as `'10.0.0.1/24'` or `'fd00::1/64'`; an IPv6 address is usable at once (no
   * duplicate address detection). Throws `ERR_INVALID_ARG_VALUE`, `EEXIST`, `EPERM`.
   */
  addAddress(cidr: string): void {
    const [address = '', length, ...rest] = cidr.split('/');
    const family = isIP(address);
    const most = family === 4 ? 32 : 128;
    const prefix = length === undefined ? most : Number(length === '' ? Number.NaN : length);
    if (
      family === 0 ||
      rest.length > 0 ||
      !Number.isInteger(prefix) ||
      prefix < 0 ||
      prefix > most
    ) {
      throw valueError(`'${cidr}' is no address of the form 10.0.0.1/24 or fd00::1/64`);
    }
    checked(
      native.addressAdd(this.index, parseAddress(address), prefix),
      'RTM_NEWADDR',
      this.name,
      [cidr],
    );
  }

  #flags(): number {
    return checked(native.netifGetFlags(this.name), 'ioctl(SIOCGIFFLAGS)', this.name);
  }

  #setFlags(flags: number): void {
    checked(native.netifSetFlags(this.name, flags), 'ioctl(SIOCSIFFLAGS)', this.name, [flags]);
  }
}
