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

export interface LinuxGuestOptions {
  /** The socket of the back end. */
  path: string;
  /** QEMU listens, and the back end connects. Default: it connects, and again when the back end went away. */
  server?: boolean;
  /** Default: `'pc'`, with a card on PCI. On `'microvm'` it is on virtio-mmio. */
  machine?: 'pc' | 'microvm';
  /** Queue pairs, and as many processors. Default: 1. */
  queues?: number;
  /** There is room for memory that comes later. */
  slots?: number;
  /** It waits for the guest of another QEMU, which comes by this socket. */
  incoming?: string;
}

/** MiB. */
const MEMORY = 192;
const MOST_MEMORY = 1024;

export class LinuxGuest {
  readonly process: PeerProcess;
  readonly shell: GuestShell;
  readonly qmp: Qmp;

  private constructor(process: PeerProcess, shell: GuestShell, qmp: Qmp) {
    this.process = process;
    this.shell = shell;
    this.qmp = qmp;
  }

  /** Boots one. It takes commands then. */
  static async boot(options: LinuxGuestOptions): Promise<LinuxGuest> {
    const guest = await LinuxGuest.start(options);
    await guest.shell.ready(BOOT);
    return guest;
  }

  static async start(options: LinuxGuestOptions): Promise<LinuxGuest> {
    const monitor = join(peerFolder(), 'qmp');
    const process = new PeerProcess('qemu-system-x86_64', [
      ...machineOf(options),
      ...cardOf(options),
      ...(await bootOf(options)),
      ...['-qmp', `unix:${monitor},server=on,wait=off`],
    ]);
    const shell = new GuestShell((bytes) => process.write(bytes));
    process.onOutput((text) => {
      for (const byte of Buffer.from(text)) shell.receive(byte);
    });
    const there = () => existsSync(monitor) || process.ended !== undefined;
    await until(there, 'QEMU listens');
    if (process.ended !== undefined) throw new Error(`QEMU ended: ${process.output}`);
    return new LinuxGuest(process, shell, await Qmp.connect(monitor));
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

async function bootOf({ machine = 'pc', incoming }: LinuxGuestOptions): Promise<string[]> {
  const { kernel, initrd } = await guestFiles();
  // Neither has a clock that Linux could measure its processor by: the one it measures in vain, the other hangs.
  const clock = machine === 'pc' ? 'tsc=reliable no_timer_check' : 'tsc_early_khz=2000000';
  const come = incoming === undefined ? [] : ['-incoming', `unix:${incoming}`];
  const append = ['-append', `${GUEST_COMMAND_LINE} panic=-1 ${clock}`];
  return ['-kernel', kernel, '-initrd', initrd, ...append, ...come];
}
