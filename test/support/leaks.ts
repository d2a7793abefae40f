/** What this process holds of the kernel, before and after: descriptors, workers, mappings, TAPs. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { isAnothersTap } from './host.js';

export interface LeakSnapshot {
  /** Open descriptors, as `'21 /dev/vhost-net'`. */
  fds: string[];
  /** Threads that a kernel object of ours runs, as `'1234 vhost-1200'`. libuv's own do not count. */
  threads: string[];
  /** Mappings of guest memory and vCPUs: lines of `/proc/self/maps`. */
  mappings: string[];
  /** TUN and TAP interfaces of this network namespace, but for those of tests in other processes. */
  taps: string[];
}

/** What this process holds now. */
export async function leakSnapshot(): Promise<LeakSnapshot> {
  return { fds: openFiles(), threads: kernelThreads(), mappings: mappings(), taps: taps() };
}

/**
 * Fails where anything is held that was not in `before`. Waits up to `limit` ms: a mapping goes in a
 * finalizer on a later tick, a worker some time after its device.
 */
export async function expectNoLeaks(before: LeakSnapshot, limit = 20_000): Promise<void> {
  const deadline = Date.now() + limit;
  for (;;) {
    const added = difference(await leakSnapshot(), before);
    const clean = Object.values(added).every((list) => list.length === 0);
    if (clean || Date.now() > deadline) {
      expect(added).toEqual({ fds: [], threads: [], mappings: [], taps: [] });
      return;
    }
    await setTimeout(20);
  }
}

function difference(after: LeakSnapshot, before: LeakSnapshot): LeakSnapshot {
  const added = (key: keyof LeakSnapshot) => after[key].filter((x) => !before[key].includes(x));
  return {
    fds: added('fds'),
    threads: added('threads'),
    mappings: added('mappings'),
    taps: added('taps'),
  };
}

/** What `read` gives for each name, without what is gone by the time it is looked at. */
function collect(names: readonly string[], read: (name: string) => string | undefined): string[] {
  const found: string[] = [];
  for (const name of names) {
    try {
      const value = read(name);
      if (value !== undefined) found.push(value);
    } catch {
      // Gone since the folder was read.
    }
  }
  return found;
}

/** Open descriptors, as in {@link LeakSnapshot}. */
export function openFiles(): string[] {
  return collect(
    readdirSync('/proc/self/fd'),
    (fd) => `${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`,
  );
}

/**
 * vhost names its worker after the thread that set the owner: a thread of this process since Linux
 * 6.4, one of the kernel's own before.
 */
function kernelThreads(): string[] {
  const own = readdirSync('/proc/self/task');
  const named = (folder: string) => (id: string) => {
    const name = readFileSync(`${folder}/${id}/comm`, 'utf8').trim();
    const owner = /^vhost-(\d+)$/.exec(name)?.[1];
    return owner !== undefined && own.includes(owner) ? `${id} ${name}` : undefined;
  };
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return [...collect(own, named('/proc/self/task')), ...collect(processes, named('/proc'))];
}

function mappings(): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /memfd:guest-memory|kvm-vcpu/.test(line));
}

function taps(): string[] {
  return readdirSync('/sys/class/net').filter(
    (name) => existsSync(`/sys/class/net/${name}/tun_flags`) && !isAnothersTap(name),
  );
}
