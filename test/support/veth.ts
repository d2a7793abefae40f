/** Two interfaces at the ends of a cable. */
import { spawnSync } from 'node:child_process';
import { cleanup } from './cleanup.js';
import { tapName } from './host.js';
import { hush } from './ports.js';

/** `ip`, which must succeed. */
export function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}

/** A pair that is up and silent; removed when the test is over. */
export function vethPair(): { here: string; there: string } {
  const here = tapName();
  const there = tapName();
  ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there);
  cleanup(() => ip('link', 'del', here));
  for (const name of [here, there]) {
    hush(name);
    ip('link', 'set', name, 'mtu', '9000', 'up');
  }
  return { here, there };
}

/** A macvtap on a cable, up and silent; frames to 02:00:00:00:00:01 are its own. */
export function macvtapPair(): { name: string; there: string } {
  const { here, there } = vethPair();
  const name = tapName();
  const mac = ['address', '02:00:00:00:00:01'];
  ip('link', 'add', 'link', here, 'name', name, ...mac, 'type', 'macvtap', 'mode', 'vepa');
  hush(name);
  ip('link', 'set', name, 'mtu', '9000', 'up');
  return { name, there };
}
