/**
 * qemu-storage-daemon's vhost-user-blk: no network card, but a back end that others wrote, for the messages that those
 * of network cards do not answer.
 */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnixSocket } from '../../lib/index.js';
import { until } from './host.js';
import { PeerProcess, peerFolder } from './peer-process.js';
import { kept } from './sockets.js';

/** Bytes of its disk. */
export const DISK = 1 << 20;

/** Starts one, and connects to it. */
export async function connectToStorage(): Promise<UnixSocket> {
  const folder = peerFolder();
  const image = join(folder, 'disk');
  const path = join(folder, 'socket');
  writeFileSync(image, '');
  truncateSync(image, DISK);
  const daemon = new PeerProcess('qemu-storage-daemon', [
    ...['--blockdev', `driver=file,node-name=disk,filename=${image}`],
    ...['--export', `type=vhost-user-blk,id=e0,node-name=disk,addr.type=unix,addr.path=${path}`],
  ]);
  let socket: UnixSocket | undefined;
  await until(() => {
    if (daemon.ended !== undefined) throw new Error(`it ended: ${daemon.output}`);
    try {
      socket = UnixSocket.connect(path, 'stream');
    } catch {
      return false;
    }
    return true;
  }, 'the daemon listens');
  return kept(socket as UnixSocket);
}
