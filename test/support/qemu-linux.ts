/** QEMU with Linux as its guest: Debian's cloud kernel, whose virtio-net card is a vhost-user back end's. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { GUEST_COMMAND_LINE, guestFiles } from '../../tools/vmm/guest/guest-files.js';
import { GuestShell } from '../../tools/vmm/guest/shell.js';
import { until } from './host.js';
import { PeerProcess, peerFolder } from './peer-process.js';
import { Qmp } from './qmp.js';

export const LINUX_MAC = '52:54:00:12:34:57';
/** How long it may take from power-on to the first command, in ms: emulated, it takes some 5 s of a processor. */
const BOOT = 120_000;
/** How long its move may take, and what it does itself, in ms. */
const MOVE = 120_000;
const REACH = 120_000;

export interface LinuxGuestOptions {
  /** The socket of the back end. */
  path: string;
  /** QEMU listens, and the back end connects. Default: it connects, and again when the back end went away. */
  server?: boolean;
  /** Default: `'pc'`, with a card on PCI. On `'microvm'` it is on virtio-mmio. */
  machine?: 'pc' | 'microvm';
  /** Queue pairs, and as many processors. Default: 1. */
  queues?: number;
  /** Pieces of memory that there is room for; for what can be moved, once they are there. Default: none. */
  slots?: number;
}

interface Machine {
  process: PeerProcess;
  qmp: Qmp;
}

/** What a ping says that runs besides other commands. */
const PINGS = '/tmp/pings';
/** MiB. */
const MEMORY = 192;
const MOST_MEMORY = 1024;

export class LinuxGuest {
  /** Commands for it, whose output comes from the machine that it is in. */
  readonly shell = new GuestShell((bytes) => this.process.write(bytes));
  readonly #options: LinuxGuestOptions;
  #machine: Machine;

  private constructor(options: LinuxGuestOptions, machine: Machine) {
    this.#options = options;
    this.#machine = this.#hear(machine);
  }

  /** Boots one. It takes commands then. */
  static async boot(options: LinuxGuestOptions): Promise<LinuxGuest> {
    const guest = new LinuxGuest(options, await start(options));
    await guest.shell.ready(BOOT);
    return guest;
  }

  get process(): PeerProcess {
    return this.#machine.process;
  }

  get qmp(): Qmp {
    return this.#machine.qmp;
  }

  /** Moves it to another QEMU while it runs, whose card is the back end's of `path`; the one that it was in is ended. */
  async migrate(path: string): Promise<void> {
    const before = this.#machine;
    const socket = join(peerFolder(), 'migration');
    const options = { ...this.#options, path };
    const after = this.#hear(await start(options, ['-incoming', `unix:${socket}`]));
    await before.qmp.ask('migrate', { uri: `unix:${socket}` });
    let status = '';
    const over = async () => {
      ({ status } = (await before.qmp.ask('query-migrate')) as { status: string });
      return status === 'completed' || status === 'failed';
    };
    await until(over, 'the guest is moved', MOVE);
    expect(status, after.process.output).toBe('completed');
    this.#machine = after;
    await before.process.kill();
  }

  /** Plugs a piece of memory in that is called `id`, of so many bytes. */
  async plug(id: string, size: number): Promise<void> {
    const memory = { 'qom-type': 'memory-backend-memfd', id, size, share: true };
    await this.qmp.ask('object-add', memory);
    await this.qmp.ask('device_add', { driver: 'pc-dimm', id: `dimm-${id}`, memdev: id });
  }

  /** Has it give a piece back, and waits until it did: what lies there moves to the rest first. */
  async unplug(id: string): Promise<void> {
    const dimm = `dimm-${id}`;
    await this.qmp.ask('device_del', { id: dimm });
    await this.qmp.told('DEVICE_DELETED', dimm);
    await this.qmp.ask('object-del', { id });
  }

  #hear(machine: Machine): Machine {
    machine.process.onOutput((text) => {
      for (const byte of Buffer.from(text)) this.shell.receive(byte);
    });
    return machine;
  }

  /** A command that has to succeed. Returns what it printed. */
  async run(command: string): Promise<string> {
    const { status, output } = await Promise.race([
      this.shell.run(command),
      this.process.end.then((end) => ({ status: end, output: this.shell.text.slice(-2000) })),
    ]);
    expect({ command, status, output: status === 0 ? '' : output }).toEqual({
      command,
      status: 0,
      output: '',
    });
    return output;
  }

  /** Gives the card an address, in a network of 256. */
  async configure(address: string): Promise<void> {
    await this.run(`ip link set eth0 up; ip addr add ${address}/24 dev eth0`);
  }

  /** Pings until an answer came to each of `count`. `before` goes before the command. */
  async pings(address: string, { count = 3, before = '' } = {}): Promise<void> {
    const output = await this.run(`${before} ping -c ${count} -i 0.2 ${address}`);
    expect(output).toContain(`${count} packets transmitted, ${count} packets received`);
  }

  /** Pings from now on, one process all along; see {@link LinuxGuest.answered}. */
  async startPinging(address: string): Promise<void> {
    await this.run(`ping -i 0.2 ${address} > ${PINGS} 2>&1 &`);
  }

  /** Waits until as many more answers came to it. */
  async answered(more: number): Promise<void> {
    const command = `grep -c ttl= ${PINGS} || true`;
    const wanted = Number(await this.run(command)) + more;
    await this.reaches(command, wanted);
  }

  /** Waits until the number that a command prints is at least that. */
  async reaches(command: string, least: number): Promise<void> {
    // Not at once again: the guest has better things to do.
    const reached = async () => Number(await this.run(`sleep 0.2; ${command}`)) >= least;
    await until(reached, `'${command}' prints ${least}`, REACH);
  }
}

async function start(options: LinuxGuestOptions, more: readonly string[] = []): Promise<Machine> {
  const monitor = join(peerFolder(), 'qmp');
  const process = new PeerProcess('qemu-system-x86_64', [
    ...machineOf(options),
    ...cardOf(options),
    ...(await bootOf(options)),
    ...['-qmp', `unix:${monitor},server=on,wait=off`],
    ...more,
  ]);
  await until(() => existsSync(monitor) || process.ended !== undefined, 'QEMU listens');
  if (process.ended !== undefined) throw new Error(`QEMU ended: ${process.output}`);
  return { process, qmp: await Qmp.connect(monitor) };
}

function machineOf({ machine = 'pc', queues = 1, slots = 0 }: LinuxGuestOptions): string[] {
  // A microvm has no more timers than it is asked for, and Linux needs one.
  const more = machine === 'pc' ? '' : ',pit=on,pic=on,rtc=on,acpi=on';
  const room = slots === 0 ? '' : `,slots=${slots},maxmem=${MOST_MEMORY}M`;
  return [
    ...['-accel', 'tcg', '-cpu', 'max', '-smp', String(queues)],
    ...['-M', `${machine},memory-backend=mem${more}`, '-m', `${MEMORY}M${room}`],
    ...['-object', `memory-backend-memfd,id=mem,size=${MEMORY}M,share=on`],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
  ];
}

function cardOf({ path, server, machine = 'pc', queues = 1 }: LinuxGuestOptions): string[] {
  const chardev = `socket,id=c0,path=${path}${server ? ',server=on,wait=off' : ',reconnect=1'}`;
  const netdev = `vhost-user,id=n0,chardev=c0,queues=${queues}`;
  // Without MSI-X: QEMU 7.2 crashes where a guest under its emulation turns it on for a card of vhost's.
  const pci = ['-device', `virtio-net-pci,netdev=n0,mac=${LINUX_MAC},vectors=0,mq=on`];
  const mmio = [
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-device', `virtio-net-device,netdev=n0,mac=${LINUX_MAC}`],
  ];
  return ['-chardev', chardev, '-netdev', netdev, ...(machine === 'pc' ? pci : mmio)];
}

async function bootOf({ machine = 'pc' }: LinuxGuestOptions): Promise<string[]> {
  const { kernel, initrd } = await guestFiles();
  // Neither has a clock that Linux could measure its processor by: the one it measures in vain, the other hangs.
  const clock = machine === 'pc' ? 'tsc=reliable no_timer_check' : 'tsc_early_khz=2000000';
  const append = `${GUEST_COMMAND_LINE} panic=-1 ${clock} memhp_default_state=online_movable`;
  return ['-kernel', kernel, '-initrd', initrd, '-append', append];
}
