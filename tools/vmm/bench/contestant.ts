/** The VMMs that are compared: each a process with the same guest, on a TAP of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GUEST_COMMAND_LINE, type GuestFiles } from '../guest/guest-files.js';
import { GuestShell } from '../guest/shell.js';

const VMM = fileURLToPath(new URL('../../../bin/vmm.js', import.meta.url));
const COMMAND_LINE = `${GUEST_COMMAND_LINE} tsc=reliable`;
const MAC = '02:00:00:00:00:01';
/** Longest time of a boot, in ms. */
const BOOT_LIMIT = 180_000;

export interface Contestant {
  name: string;
  transport: 'pci' | 'mmio';
  command(files: GuestFiles, tap: string): string[];
}

const ours = (transport: 'pci' | 'mmio'): Contestant => ({
  ...{ name: `vhost-net, ${transport}`, transport },
  command: ({ kernel, initrd }, tap) => [
    ...[process.execPath, VMM, '--kernel', kernel, '--initrd', initrd, '--memory', '256M'],
    ...['--tap', tap, '--transport', transport, '--mac', MAC, '--cmdline', COMMAND_LINE],
    '--register-page',
  ],
});

const qemu = (transport: 'pci' | 'mmio'): Contestant => ({
  ...{ name: `QEMU, ${transport}`, transport },
  command: ({ kernel, initrd }, tap) => [
    // The processor as our VMM shows an emulated one: see native/vcpu.cc.
    ...['qemu-system-x86_64', '-enable-kvm', '-cpu', 'host,xsave=off', '-m', '256'],
    ...['-nodefaults', '-no-user-config'],
    ...(transport === 'pci' ? ['-M', 'q35'] : ['-M', 'microvm,acpi=on,isa-serial=on,rtc=off']),
    ...['-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', COMMAND_LINE],
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-netdev', `tap,id=n0,ifname=${tap},script=no,downscript=no,vhost=on`],
    '-device',
    `${transport === 'pci' ? 'virtio-net-pci' : 'virtio-net-device'},netdev=n0,mac=${MAC}`,
  ],
});

export const CONTESTANTS: readonly Contestant[] = [
  ours('pci'),
  qemu('pci'),
  ours('mmio'),
  qemu('mmio'),
];

/** One that runs: its guest takes commands. */
export class Running {
  readonly shell: GuestShell;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.shell = new GuestShell((bytes) => child.stdin?.write(bytes));
    child.stdout?.on('data', (bytes: Buffer) => {
      for (const byte of bytes) this.shell.receive(byte);
    });
  }

  static async start(contestant: Contestant, files: GuestFiles, tap: string): Promise<Running> {
    const [program = '', ...args] = contestant.command(files, tap);
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const running = new Running(child);
    const ended = once(child, 'close').then(([code, signal]) => {
      throw new Error(`it ended with ${code ?? signal}`);
    });
    await Promise.race([running.shell.ready(BOOT_LIMIT), ended]);
    // From here on its end is ours.
    ended.catch(() => {});
    return running;
  }

  /** Seconds of processor time that the process has had, the guest's among them. */
  seconds(): number {
    return secondsOf(`/proc/${this.#child.pid}/stat`);
  }

  /** Those of its first thread, its event loop. */
  mainThreadSeconds(): number {
    const { pid } = this.#child;
    return secondsOf(`/proc/${pid}/task/${pid}/stat`);
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

function secondsOf(file: string): number {
  const stat = readFileSync(file, 'utf8');
  // Behind the name, which may hold anything, come the state and the other fields.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
