/**
 * What an `attach` that runs lets `top` know of its rings, which the kernel does not show: a file in a folder
 * of /run for each process, written anew every second. Whoever reads it checks that its process still
 * lives, so that one which a kill left behind tells nothing.
 */
import { readdirSync } from 'node:fs';
import type { PairBacklog, PortCounters } from '../../../lib/index.js';

const FOLDER = 'vhost-net-stats';
/** Where root publishes. */
const ROOT_FOLDER = `/run/${FOLDER}`;

export type PublishedPair = PortCounters & PairBacklog;

export interface PublishedPort {
  tap: string;
  /** Descriptors of each ring. */
  queueSize: number;
  pairs: readonly PublishedPair[];
}

export interface Publication {
  version: 1;
  pid: number;
  /** When the process began, as /proc/PID/stat says: another process of that number began later. */
  startTime: number;
  /** When this was written, in ms since 1970. */
  time: number;
  ports: readonly PublishedPort[];
}

/** The folder of this user: nothing where the system gave the user none. */
export function ownFolder(): string | undefined {
  if (process.getuid?.() === 0) return ROOT_FOLDER;
  const { XDG_RUNTIME_DIR: runtime } = process.env;
  return runtime ? `${runtime}/${FOLDER}` : undefined;
}

/** Every folder that this user may know of: root knows all users'. */
export function allFolders(): string[] {
  const own = ownFolder();
  const folders = own === undefined ? [ROOT_FOLDER] : [ROOT_FOLDER, own];
  if (process.getuid?.() === 0) {
    for (const uid of namesIn('/run/user')) folders.push(`/run/user/${uid}/${FOLDER}`);
  }
  return [...new Set(folders)];
}

/** The names in a folder; none where it cannot be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
