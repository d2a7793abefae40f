// @ts-check
/** What this machine is. */
import { closeSync, openSync } from 'node:fs';
import { fail } from './step.mjs';

/** The oldest Node that package.json's `engines` allows. */
const NODE = /** @type {const} */ ([20, 19]);

export function checkPlatform() {
  if (process.platform !== 'linux')
    fail('vhost-net is a part of Linux; it cannot be built or run elsewhere');
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE[0] || (major === NODE[0] && minor < NODE[1])) {
    fail(`Node.js ${NODE.join('.')} or newer is needed; this is ${process.versions.node}`);
  }
}

/** Whether the host itself can run vhost-net, so that no virtual machine is needed for it. */
export function hasVhostNet() {
  return ['/dev/vhost-net', '/dev/net/tun'].every((path) => {
    try {
      closeSync(openSync(path, 'r+'));
      return true;
    } catch {
      return false;
    }
  });
}
