/** The command line of `vmm`. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { integer } from '../cli/number-options.js';
import type { CardTransport } from './net-card.js';

export interface Options {
  kernel: string;
  initrd?: string;
  cmdline: string;
  /** Bytes. */
  memory: number;
  cpus: number;
  tap: string[];
  socket: string[];
  queues: number;
  transport: CardTransport;
  mac: string;
  mtu?: number;
  registerPage?: true;
  reboot: boolean;
}

const UNITS = new Map([
  ['', 1],
  ['M', 1 << 20],
  ['G', 1 << 30],
]);
const LEAST_MEMORY = 64 << 20;
const MOST_MEMORY = 64 * (1 << 30);
const PAGE = 4096;

function memorySize(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)([MG]?)$/i.exec(text) ?? [];
  const size = Number(digits) * (UNITS.get(unit.toUpperCase()) ?? 1);
  if (digits === '' || size < LEAST_MEMORY || size > MOST_MEMORY || size % PAGE !== 0) {
    throw new InvalidArgumentError('It must be 64M to 64G, in bytes or with M or G.');
  }
  return size;
}

function macAddress(text: string): string {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) || Number.parseInt(text.slice(0, 2), 16) & 1) {
    throw new InvalidArgumentError('It must be a unicast address such as 02:00:00:00:00:01.');
  }
  return text;
}

const collect = (value: string, before: string[]) => [...before, value];

export function parseOptions(args: readonly string[]): Options {
  const program = new Command('vmm')
    .description('Boots Linux on KVM with network cards of vhost-net and vhost-user.')
    .requiredOption('--kernel <file>', 'a bzImage, or a vmlinux')
    .option('--initrd <file>', 'the first file system')
    .option('--cmdline <text>', "the kernel's command line", 'console=ttyS0')
    .option('--memory <size>', 'the guest’s memory', memorySize, 512 << 20)
    .option('--cpus <number>', 'processors', integer(1, 64), 1)
    .option('--tap <name>', 'a card on this TAP, made if there is none; repeatable', collect, [])
    .option('--socket <path>', 'a card of the vhost-user back end there; repeatable', collect, [])
    .option('--queues <number>', 'queue pairs of each card', integer(1, 32), 1)
    .addOption(
      new Option('--transport <name>', 'where the guest finds its cards')
        .choices(['pci', 'mmio'])
        .default('pci'),
    )
    .option(
      '--mac <address>',
      'of the first card; the others follow, those of TAPs before those of sockets',
      macAddress,
      '02:00:00:00:00:01',
    )
    .option('--mtu <bytes>', 'offered to the guest', integer(68, 65535))
    .option('--register-page', 'let the guest read registers of virtio-mmio as memory')
    .option('--no-reboot', 'end when the guest resets itself')
    .addHelpText(
      'after',
      '\nOn a terminal, Ctrl-A x ends it, Ctrl-A l pulls the cable or plugs it in again,\nand Ctrl-A s prints how often the processors left the guest for each card.',
    )
    .parse(args, { from: 'user' });
  return program.opts<Options>();
}

/** The address of card `number`: the last byte counts on. */
export function cardMac(mac: string, number: number): string {
  const last = (Number.parseInt(mac.slice(-2), 16) + number) & 0xff;
  return `${mac.slice(0, -2)}${last.toString(16).padStart(2, '0')}`;
}
