/** What the kernel says of a process: its descriptors, threads, memory and time. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  descriptors: number;
  threads: number;
  /** MiB that are in memory. */
  resident: number;
}

/** Of a process and of the vhost workers that serve it. */
export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const resident = Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
  const descriptors = readdirSync(`/proc/${pid}/fd`).length;
  return { descriptors, threads: tasksOf(pid).length, resident };
}

/** Nanoseconds that all tasks of a process and its workers ran. */
export function timeOf(pid: number): number {
  return tasksOf(pid)
    .map((folder) => Number(read(`${folder}/schedstat`).split(' ')[0] ?? 0))
    .reduce((sum, time) => sum + time, 0);
}

/** Folders in /proc of a process's threads, and of its vhost workers, which up to 6.3 are the kernel's. */
function tasksOf(pid: number): string[] {
  const own = readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`);
  const kernels = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && read(`/proc/${entry}/comm`) === `vhost-${pid}\n`)
    .map((entry) => `/proc/${entry}`);
  return [...own, ...kernels];
}

/** '' for what is gone. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
