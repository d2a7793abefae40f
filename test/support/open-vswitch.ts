/**
 * Open vSwitch with DPDK: a switch whose ports are vhost-user back ends. Its database and all of its files lie in a
 * folder of the test's own. It keeps a processor busy, so a test stops it as soon as it can.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './host.js';
import { PeerProcess, peerFolder } from './peer-process.js';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const PROGRAM = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
/** How long a command may take, in ms. */
const PATIENCE = 90_000;
/** A namespace for the interface that every bridge has. It takes no rights of the host's. */
const ALONE =
  process.getuid?.() === 0 ? ['unshare', '--net'] : ['unshare', '--net', '--map-root-user'];

/** Which end of the socket listens: the switch, or whoever uses the port. */
export type Listener = 'switch' | 'user';

export class OpenVswitch {
  readonly #folder: string;
  readonly #env: Record<string, string>;
  #switch: PeerProcess | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    const own = ['OVS_RUNDIR', 'OVS_LOGDIR', 'OVS_DBDIR', 'OVS_SYSCONFDIR'];
    const dpdk = ['RUNTIME_DIRECTORY', 'XDG_RUNTIME_DIR'];
    this.#env = Object.fromEntries([...own, ...dpdk].map((name) => [name, folder]));
  }

  /** Starts it with a bridge that has no ports yet, and learns where stations are. */
  static async open(): Promise<OpenVswitch> {
    const ovs = new OpenVswitch(peerFolder());
    await ovs.#startDatabase();
    await ovs.start();
    const inUserspace = ['set', 'bridge', 'bridge', 'datapath_type=netdev'];
    await ovs.#configure('add-br', 'bridge', '--', ...inUserspace);
    return ovs;
  }

  /** Adds a port. Returns the path of its socket. */
  async addPort(name: string, listener: Listener): Promise<string> {
    const path = join(this.#folder, name);
    const type =
      listener === 'switch'
        ? ['type=dpdkvhostuser']
        : ['type=dpdkvhostuserclient', `options:vhost-server-path=${path}`];
    await this.#configure('add-port', 'bridge', name, '--', 'set', 'interface', name, ...type);
    if (listener === 'switch') await until(() => existsSync(path), 'the socket of a port');
    return path;
  }

  /** Takes a port away, and whoever is on it. */
  async removePort(name: string): Promise<void> {
    await this.#configure('del-port', 'bridge', name);
  }

  /** Waits until somebody is on a port, and frames go by it. */
  async linkUp(name: string): Promise<void> {
    await this.#configure('wait-until', 'interface', name, 'link_state=up');
  }

  /** Ends it as a crash would. Its database stays. */
  async kill(): Promise<void> {
    await this.#switch?.kill();
  }

  /** Starts another in its place, which is as the database says. */
  async start(): Promise<void> {
    const [unshare = '', ...namespace] = ALONE;
    const sockets = [`unix:${this.#database}`, `--unixctl=${this.#control}`];
    this.#switch = new PeerProcess(unshare, [...namespace, PROGRAM, ...sockets], this.#env);
    await this.#switch.says(/DPDK Enabled - initialized/);
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    await this.#run('ovs-appctl', '-t', this.#control, 'exit');
    await this.#switch?.stop();
  }

  get #database(): string {
    return join(this.#folder, 'db.sock');
  }

  get #control(): string {
    return join(this.#folder, 'switch.ctl');
  }

  async #startDatabase(): Promise<void> {
    const file = join(this.#folder, 'conf.db');
    await this.#run('ovsdb-tool', 'create', file, SCHEMA);
    const sockets = [`--remote=punix:${this.#database}`, `--unixctl=${this.#folder}/db.ctl`];
    new PeerProcess('ovsdb-server', [file, ...sockets], this.#env);
    await until(() => existsSync(this.#database), 'the database of the switch');
    await this.#configure('--no-wait', 'init');
    // Its buffers are for ports of its own, or they would need gigabytes. It asks for huge pages unless memory is
    // DPDK's legacy one.
    const dpdk = ['--no-huge', '--legacy-mem', '-m', '512', '--no-pci', '--no-telemetry'];
    const extra = [...dpdk, `--file-prefix=${basename(this.#folder)}`].join(' ');
    const settings = [
      ...['dpdk-init=true', 'dpdk-lcore-mask=0x1', 'pmd-cpu-mask=0x2', 'per-port-memory=true'],
      `dpdk-extra="${extra}"`,
    ].map((setting) => `other_config:${setting}`);
    await this.#configure('--no-wait', 'set', 'Open_vSwitch', '.', ...settings);
  }

  /** Changes the database, and unless it is told not to, waits until the switch is so. */
  async #configure(...args: string[]): Promise<void> {
    await this.#run('ovs-vsctl', `--db=unix:${this.#database}`, ...args);
  }

  async #run(program: string, ...args: string[]): Promise<void> {
    const env = { ...process.env, ...this.#env };
    await promisify(execFile)(program, args, { env, timeout: PATIENCE });
  }
}
