/** The path of a socket that a command is to connect to, looked at before it begins. */
import { type Stats, statSync } from 'node:fs';
import { UsageError } from './output.js';

/** Bytes of `sun_path` of `struct sockaddr_un`, less the zero at its end (unix(7)). */
const LONGEST_PATH = 107;

/**
 * What is there; undefined where nothing is, yet. Throws a {@link UsageError}, in which `option` is the one to mend,
 * where no socket is or can be, and what stat(2) says.
 */
export function lookAtPeer(path: string, option: string): Stats | undefined {
  if (path === '') throw new UsageError(`${option} has no path`);
  const length = Buffer.byteLength(path);
  if (length > LONGEST_PATH) {
    throw new UsageError(
      `${option}: the path of a socket has at most ${LONGEST_PATH} bytes, and this has ${length}`,
    );
  }
  const there = statSync(path, { throwIfNoEntry: false });
  if (there && !there.isSocket()) throw new UsageError(`${option}: ${path} is no socket`);
  return there;
}
