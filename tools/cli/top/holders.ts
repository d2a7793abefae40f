/** Which processes have vhost-net devices open, and with them queues of which TAPs. */
import { readFileSync, readlinkSync } from 'node:fs';
import { namesIn } from '../published/format.js';
import { interfaceOf, statOf, vhostOwnerOf } from './proc-texts.js';

/** A process with vhost-net devices. */
export interface Holder {
  pid: number;
  program: string;
  /** Open vhost-net devices. */
  devices: number;
  /** Open queues of each TAP, by the name of the interface. */
  taps: Map<string, number>;
  /** Its vhost workers, as folders of /proc. */
  workers: string[];
}

/** Looks through every process; those of other users only root can look into. `root` is /proc. */
export function findHolders(root = '/proc'): Holder[] {
  const holders: Holder[] = [];
  /** Kernel threads, by the thread that they work for: so it is before Linux 6.4. */
  const kernelThreads = new Map<number, string[]>();
  for (const name of namesIn(root)) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const folder = `${root}/${name}`;
    const stat = attempt(() => statOf(readFileSync(`${folder}/stat`, 'utf8')));
    if (!stat) continue;
    const owner = stat.parent === KTHREADD ? vhostOwnerOf(stat.name) : undefined;
    if (owner !== undefined) {
      kernelThreads.set(owner, [...(kernelThreads.get(owner) ?? []), folder]);
      continue;
    }
    const holder = lookInto(folder, pid, stat.name);
    if (holder) holders.push(holder);
  }
  for (const holder of holders) holder.workers = workersOf(`${root}/${holder.pid}`, kernelThreads);
  return holders;
}

/** The parent of every kernel thread. */
const KTHREADD = 2;

function lookInto(folder: string, pid: number, program: string): Holder | undefined {
  const taps = new Map<string, number>();
  const queues: string[] = [];
  let devices = 0;
  for (const fd of namesIn(`${folder}/fd`)) {
    const target = attempt(() => readlinkSync(`${folder}/fd/${fd}`));
    if (target === '/dev/vhost-net') devices++;
    else if (target === '/dev/net/tun') queues.push(fd);
  }
  if (devices === 0) return undefined;
  for (const fd of queues) {
    const tap = attempt(() => interfaceOf(readFileSync(`${folder}/fdinfo/${fd}`, 'utf8')));
    if (tap !== undefined) taps.set(tap, (taps.get(tap) ?? 0) + 1);
  }
  return { pid, program, devices, taps, workers: [] };
}

/** Since Linux 6.4 they are threads of the process itself. */
function workersOf(folder: string, kernelThreads: ReadonlyMap<number, string[]>): string[] {
  return namesIn(`${folder}/task`).flatMap((task) => {
    const name = attempt(() => readFileSync(`${folder}/task/${task}/comm`, 'utf8').trim());
    const own = name !== undefined && vhostOwnerOf(name) !== undefined;
    return [...(own ? [`${folder}/task/${task}`] : []), ...(kernelThreads.get(Number(task)) ?? [])];
  });
}

/** A process may end while it is looked at, or be somebody else's. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
