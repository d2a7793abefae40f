/** Whole frames built from their fields, in the plainest way: what the library's own code is held to. */
import { parseAddress } from '../../lib/index.js';

export interface PacketFields {
  /** Destination and source, 6 bytes each. */
  macs?: [destination: number[], source: number[]];
  /** EtherType and tag control of each VLAN tag, outermost first. */
  tags?: [etherType: number, control: number][];
  source: string;
  destination: string;
  /** IPv4 identification. */
  id?: number;
  /** IPv4 flags and fragment offset. */
  fragment?: number;
  /** IPv4 options, a multiple of 4 bytes. */
  options?: number[];
  /** IPv6 extension headers, each without its first byte, the next header. */
  extensions?: [protocol: number, rest: number[]][];
  protocol: number;
  /** The transport's header and payload. */
  transport: Uint8Array;
}

export const TCP = 6;
export const UDP = 17;
export const FIN = 0x01;
export const PSH = 0x08;
export const ACK = 0x10;
export const CWR = 0x80;

/** A frame; its transport's checksum is left as given, the IPv4 header's is right. */
export function packet(fields: PacketFields): Uint8Array {
  const [destination, source] = fields.macs ?? [
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
  ];
  const tags = (fields.tags ?? []).flatMap(([type, control]) => [...be16(type), ...be16(control)]);
  const ip = fields.source.includes(':') ? ipv6(fields) : ipv4(fields);
  const etherType = fields.source.includes(':') ? 0x86dd : 0x0800;
  return bytesOf([...destination, ...source], tags, be16(etherType), ip, fields.transport);
}

/** As {@link packet}, with the transport's checksum; `last` is the destination behind a routing header. */
export function sealed(fields: PacketFields, last = fields.destination): Uint8Array {
  const transport = fields.transport.slice();
  const at = fields.protocol === TCP ? 16 : 6;
  transport.set([0, 0], at);
  const addresses = bytesOf(parseAddress(fields.source), parseAddress(last));
  const sum = transportChecksum(addresses, fields.protocol, transport);
  transport.set(be16(sum === 0 ? 0xffff : sum), at);
  return packet({ ...fields, transport });
}

export interface TcpFields {
  ports?: [source: number, destination: number];
  sequence?: number;
  flags?: number;
  urgent?: number;
  /** A multiple of 4 bytes. */
  options?: number[];
}

export function tcp(payload: Uint8Array, fields: TcpFields = {}): Uint8Array {
  const { ports = [1000, 2000], sequence = 1, flags = ACK, urgent = 0, options = [] } = fields;
  const offset = (5 + options.length / 4) << 4;
  const start = [...ports.flatMap(be16), ...be32(sequence), ...be32(77), offset, flags];
  return bytesOf(start, be16(512), [0, 0], be16(urgent), options, payload);
}

export function udp(payload: Uint8Array, ports: [number, number] = [1000, 2000]): Uint8Array {
  return bytesOf(ports.flatMap(be16), be16(8 + payload.length), [0, 0], payload);
}

/** Bytes that say where they are. */
export function payloadOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff);
}

/** The internet checksum (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The checksum of a transport's bytes and the pseudo-header; 0 where the bytes have it right. */
export function transportChecksum(
  addresses: Uint8Array,
  protocol: number,
  transport: Uint8Array,
): number {
  return checksum(bytesOf(addresses, be32(transport.length), be32(protocol), transport));
}

export function be16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

export function be32(value: number): number[] {
  return [...be16(value >>> 16), ...be16(value & 0xffff)];
}

export function bytesOf(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts.map((part) => Uint8Array.from(part))));
}

function ipv4(fields: PacketFields): Uint8Array {
  const options = fields.options ?? [];
  const length = 20 + options.length;
  const header = bytesOf(
    [0x40 | (length / 4), 0],
    be16(length + fields.transport.length),
    be16(fields.id ?? 0),
    be16(fields.fragment ?? 0x4000),
    [64, fields.protocol, 0, 0],
    parseAddress(fields.source),
    parseAddress(fields.destination),
    options,
  );
  header.set(be16(checksum(header)), 10);
  return header;
}

function ipv6(fields: PacketFields): Uint8Array {
  const extensions = fields.extensions ?? [];
  const next = (i: number) => extensions[i]?.[0] ?? fields.protocol;
  const chain = bytesOf(...extensions.map(([, rest], i) => [next(i + 1), ...rest]));
  return bytesOf(
    [0x60, 0, 0, 0],
    be16(chain.length + fields.transport.length),
    [next(0), 64],
    parseAddress(fields.source),
    parseAddress(fields.destination),
    chain,
  );
}
