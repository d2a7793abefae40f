/** Reads what others publish. They may be other users: nothing of it is believed unseen. */
import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { statOf } from '../top/proc-texts.js';
import { allFolders, namesIn, type Publication } from './format.js';

/** Bytes of the largest file that is read: 256 queue pairs need a third of it. */
const LARGEST = 1 << 18;
const NUMBERS = [
  ...['rxFrames', 'rxBytes', 'rxErrors', 'rxKicks', 'rxCalls', 'rxWaiting'],
  ...['txFrames', 'txBytes', 'txKicks', 'txCalls', 'txWaiting'],
];

/** What the processes that live publish, by their number. */
export function readPublications(
  folders: readonly string[] = allFolders(),
): Map<number, Publication> {
  const found = new Map<number, Publication>();
  for (const folder of folders) {
    for (const name of namesIn(folder)) {
      const pid = Number(/^(\d+)\.json$/.exec(name)?.[1]);
      const publication = Number.isInteger(pid) && readOne(`${folder}/${name}`, pid);
      if (publication) found.set(pid, publication);
    }
  }
  return found;
}

function readOne(path: string, pid: number): Publication | undefined {
  try {
    const { text, uid } = readPlainFile(path);
    // Root may speak for anybody, others only for their own processes.
    if (uid !== 0 && statSync(`/proc/${pid}`).uid !== uid) return undefined;
    const publication = parsePublication(text);
    const { startTime } = statOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    const isOf = publication?.pid === pid && publication.startTime === startTime;
    return isOf ? publication : undefined;
  } catch {
    return undefined;
  }
}

/** No link to elsewhere, no pipe that keeps us waiting. */
function readPlainFile(path: string): { text: string; uid: number } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > LARGEST) throw new Error(`${path} is no publication`);
    return { text: readFileSync(fd, 'utf8'), uid: stat.uid };
  } finally {
    closeSync(fd);
  }
}

/** Undefined for what is none. */
export function parsePublication(text: string): Publication | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { version, pid, startTime, time, ports } = record(value);
  if (version !== 1 || ![pid, startTime, time].every(isCount) || !Array.isArray(ports)) {
    return undefined;
  }
  return ports.every(isPort) ? (value as Publication) : undefined;
}

function isPort(value: unknown): boolean {
  const { tap, queueSize, pairs } = record(value);
  return (
    typeof tap === 'string' &&
    isCount(queueSize) &&
    Array.isArray(pairs) &&
    pairs.every((pair) => NUMBERS.every((name) => isCount(record(pair)[name])))
  );
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
