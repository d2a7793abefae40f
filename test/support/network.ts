/** Bridges, pairs of veth and network namespaces of a test's own, by iproute2. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cleanup } from './cleanup.js';
import { tapName } from './host.js';
import { hush } from './ports.js';

/** Runs `ip` with the words of `command`. */
export function ip(command: string): void {
  execFileSync('ip', command.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A bridge without protocols of its own between these interfaces, up. Its name. */
export function bridge(...interfaces: string[]): string {
  const name = tapName();
  ip(`link add ${name} type bridge mcast_snooping 0`);
  cleanup(() => ip(`link del ${name}`));
  hush(name);
  for (const each of interfaces) ip(`link set ${each} master ${name}`);
  ip(`link set ${name} up`);
  return name;
}

/** A namespace with one end of a veth pair in it, `eth0`, with these addresses; the other end is `name`. */
export function namespace(...addresses: string[]): { namespace: string; name: string } {
  const [name, inside] = [tapName(), tapName()];
  const space = `ns-${name}`;
  ip(`netns add ${space}`);
  cleanup(() => ip(`netns del ${space}`));
  ip(`link add ${name} type veth peer name ${inside}`);
  ip(`link set ${inside} netns ${space} name eth0`);
  hush(name);
  for (const address of addresses) addAddress(address, 'eth0', `-n ${space} `);
  ip(`-n ${space} link set eth0 up`);
  ip(`link set ${name} up`);
  return { namespace: space, name };
}

/** Gives an interface an address, for use at once; `where` goes before the command. */
export function addAddress(address: string, name: string, where = ''): void {
  ip(`${where}addr add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`);
}

/** Runs a module's source in a namespace until the test is over; returns when it prints a line. */
export async function runIn(space: string, source: string): Promise<ChildProcess> {
  const node = ['netns', 'exec', space, process.execPath, '--input-type=module', '-e', source];
  const child = spawn('ip', node, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanup(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  await once(child.stdout, 'data');
  return child;
}
