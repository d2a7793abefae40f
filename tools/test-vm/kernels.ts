/** The kernel lines the project supports, and where Debian has them. */

export interface KernelLine {
  /** Major and minor version, the name on the command line: `6.1`. */
  line: string;
  suite: string;
  why: string;
  /** Debian's metapackage: its dependencies name the suite's current kernel. Default: for any PC. */
  metapackage?: string;
}

export const METAPACKAGE = 'linux-image-amd64';

export const KERNEL_LINES: readonly KernelLine[] = [
  { line: '6.1', suite: 'bookworm', why: 'the oldest supported' },
  {
    line: '6.12',
    suite: 'bookworm-backports',
    why: 'the current LTS; vhost workers are tasks of their owner',
  },
  {
    line: '7.3',
    suite: 'trixie-backports',
    why: 'the newest; features array, in-order, tunnel offload',
  },
  {
    line: '6.1-cloud',
    suite: 'bookworm',
    why: 'small: for guests of guests, no tests run on it',
    metapackage: 'linux-image-cloud-amd64',
  },
];

export const DEFAULT_LINE = '6.12';

export function findLine(name: string): KernelLine | undefined {
  return KERNEL_LINES.find(({ line }) => line === name);
}

/**
 * Whether a kernel of `version` (`7.3.4-1~bpo13+1`) can stand for `line`: a suite moves on to
 * newer lines, and a newer one tests more; an older one would test nothing new.
 */
export function lineMatch(line: string, version: string): 'same' | 'newer' | 'older' {
  const [major, minor] = majorMinor(line);
  const [foundMajor, foundMinor] = majorMinor(version);
  if (foundMajor === major && foundMinor === minor) return 'same';
  return foundMajor > major || (foundMajor === major && foundMinor > minor) ? 'newer' : 'older';
}

function majorMinor(version: string): [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (!match) throw new RangeError(`not a kernel version: ${version}`);
  return [Number(match[1]), Number(match[2])];
}
