/** What a descriptor is, as the kernel says it. */
import { fstatSync, readlinkSync } from 'node:fs';
import type { Descriptor } from '../../../lib/index.js';

export interface DescriptorKind {
  /** `memfd`, `eventfd`, `socket`, `pipe`, `file`, or what else the kernel calls it. */
  kind: string;
  /** Of a memfd, and of a file. Whoever made it chose it. */
  name?: string;
  /** Bytes of a memfd or a file. */
  size?: number;
}

/** A descriptor's kind; the descriptor is neither read nor changed. */
export function describeDescriptor({ fd }: Descriptor): DescriptorKind {
  const link = readlinkSync(`/proc/self/fd/${fd}`);
  const anonymous = /^anon_inode:\[?([^\]]+)\]?$/.exec(link)?.[1];
  if (anonymous !== undefined) return { kind: anonymous };
  const other = /^(\w+):\[\d+\]$/.exec(link)?.[1];
  if (other !== undefined) return { kind: other };
  const { size } = fstatSync(fd);
  const memfd = /^\/memfd:(.*?)(?: \(deleted\))?$/s.exec(link)?.[1];
  return memfd === undefined
    ? { kind: 'file', name: link, size }
    : { kind: 'memfd', name: memfd, size };
}
