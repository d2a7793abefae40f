/** A Linux guest in our VMM for one test file: its machine, its cards, and commands on its serial port. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, expect } from 'vitest';
import { NetInterface, Tap } from '../../lib/index.js';
import {
  GUEST_COMMAND_LINE,
  GUEST_PROGRAMS,
  type GuestFiles,
  guestFiles,
} from '../../tools/vmm/guest/guest-files.js';
import { serveFolder } from '../../tools/vmm/guest/http.js';
import { GuestShell } from '../../tools/vmm/guest/shell.js';
import { Machine, type MachineOptions } from '../../tools/vmm/machine.js';
import type { Cable, CardTransport } from '../../tools/vmm/net-card.js';
import { cardMac } from '../../tools/vmm/options.js';
import { cleanup } from './cleanup.js';
import { tapName } from './host.js';
import { ip } from './ip.js';

export const GUEST_MAC = '02:00:00:00:00:01';
/** Longest time from power-on to the first command, in a machine that is emulated itself, in ms. */
export const BOOT_LIMIT = 150_000;

export interface GuestOptions {
  transport?: CardTransport;
  cpus?: number;
  queues?: number;
  mtu?: number;
  registerPage?: boolean;
  /** The kernel as Debian ships it, which unpacks itself. Default: unpacked, which is sooner there. */
  bzImage?: boolean;
  /** Besides what it always has. */
  commandLine?: string;
  /**
   * Its cards instead of one on a TAP of its own; their cables stay the caller's. The first leads to `tap`, an
   * interface of the host.
   */
  cabled?: { tap: string; cards: readonly (Cable & { transport?: CardTransport })[] };
}

export class VmmGuest {
  /** The host's interface at the other end of its first card. */
  readonly tap: string;
  readonly taps: Tap[];
  /** The host's address on it; the guest takes the next one. */
  readonly host: string;
  readonly address: string;
  readonly #options: MachineOptions;
  machine!: Machine;
  shell!: GuestShell;

  private constructor(files: GuestFiles, options: GuestOptions) {
    const { transport = 'pci', cpus = 1, queues = 1, mtu, registerPage, cabled } = options;
    this.taps = cabled ? [] : Tap.openQueues(tapName(), queues);
    this.tap = cabled?.tap ?? (this.taps[0] as Tap).name;
    const subnet = `10.77.${new NetInterface(this.tap).index % 256}`;
    this.host = `${subnet}.1`;
    this.address = `${subnet}.2`;
    ip(`addr add ${this.host}/24 dev ${this.tap}`, `link set ${this.tap} up`);
    this.#options = {
      kernel: readFileSync(options.bzImage ? files.bzImage : files.kernel),
      initrd: readFileSync(files.initrd),
      commandLine: `${GUEST_COMMAND_LINE} ${options.commandLine ?? ''}`,
      memory: 256 << 20,
      cpus,
      cards: (cabled?.cards ?? [{ taps: this.taps }]).map((card, i) => {
        return { transport, mtu, registerPage, ...card, mac: cardMac(GUEST_MAC, i) };
      }),
      onSerial: (byte) => this.shell.receive(byte),
    };
  }

  get card(): Machine['cards'][number] {
    return this.machine.cards[0] as Machine['cards'][number];
  }

  /** Boots one for a test. It takes commands then. */
  static async boot(options: GuestOptions = {}): Promise<VmmGuest> {
    return VmmGuest.#boot(options, cleanup);
  }

  /** One for all tests of a file, with its address; close it. */
  static async share(options: GuestOptions): Promise<VmmGuest> {
    const guest = await VmmGuest.#boot(options, afterAll);
    await guest.configure();
    return guest;
  }

  static async #boot(options: GuestOptions, end: (close: () => unknown) => void) {
    const guest = new VmmGuest(await guestFiles(GUEST_PROGRAMS), options);
    end(() => guest.close());
    await guest.#powerOn();
    return guest;
  }

  /** After a reset: the same machine, from the beginning. */
  async restart(): Promise<void> {
    await this.machine.close();
    await this.#powerOn();
  }

  async #powerOn(): Promise<void> {
    this.shell = new GuestShell((bytes) => this.machine.type(bytes));
    this.machine = await Machine.start(this.#options);
    await this.shell.ready(BOOT_LIMIT);
  }

  /** Gives the guest its address, and starts its server; see `vmm-traffic.ts`. */
  async configure(): Promise<void> {
    if ((await this.shell.run('pidof httpd')).status !== 0) await serveFolder(this.shell);
    await this.run(`ip addr add ${this.address}/24 dev eth0; ip link set eth0 up`);
  }

  /** A command that has to succeed. Returns what it printed. */
  async run(command: string, limit?: number): Promise<string> {
    // A processor that KVM gave up answers nothing: what it ended with is told, rather than the time it had.
    const { status, output } = await Promise.race([
      this.shell.run(command, limit),
      this.machine.ended.then((reason) => ({ status: -1, output: `the guest ended: ${reason}` })),
    ]);
    expect({ command, status, output: status === 0 ? '' : output }).toEqual({
      command,
      status: 0,
      output: '',
    });
    return output;
  }

  /** Pings the host, or who is `there`, until an answer came to each of `count`. */
  async pings(count = 3, there = this.host): Promise<void> {
    const output = await this.run(`ping -c ${count} -i 0.2 ${there}`);
    expect(output).toContain(`${count} packets transmitted, ${count} packets received`);
  }

  /** Runs a command until it prints that. */
  async until(command: string, output: string): Promise<void> {
    const limit = Date.now() + 60_000;
    let last = await this.run(command);
    while (last !== output && Date.now() < limit) last = await this.run(command);
    expect({ command, last }).toEqual({ command, last: output });
  }

  /** What the host knows of the guest's addresses. */
  neighbour(): string {
    return execFileSync('ip', ['neigh', 'show', 'dev', this.tap], { encoding: 'utf8' });
  }

  async close(): Promise<void> {
    await this.machine?.close();
    await Promise.all(this.taps.map((tap) => tap.closeAsync()));
  }
}
