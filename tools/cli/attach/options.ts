/** The options of `vhost-net attach`, and what of them cannot be meant. */
import { isIP } from 'node:net';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  checkInterfaceName,
  OFFLOADS,
  type OffloadName,
  PORT_BACKENDS,
  type PortBackend,
  parseMac,
} from '../../../lib/index.js';
import { FORWARD_MODES, type ForwardMode } from '../forward/forwarder.js';
import { LEAST_TX_FRAME } from '../forward/tx-frame.js';
import { integer, seconds } from '../number-options.js';
import { UsageError } from '../output.js';

export interface AttachOptions {
  /** The TAP, or the path of a socket in its place. */
  port: { tap: string } | { socket: string; mode: 'client' | 'server' };
  /** Queue pairs. */
  queues: number;
  queueSize: number;
  /** True: all that there is but tunnels. */
  offload?: true | OffloadName[];
  /** µs. */
  busyPoll?: number;
  /** Default: the kernel, where the host has vhost-net. */
  backend?: PortBackend;
  /** The other TAP, for mode `io`. */
  bridge?: string;
  address: string[];
  forwardMode: ForwardMode;
  respond: string[];
  respondMac?: Uint8Array;
  txpkts: number;
  burst: number;
  pcap?: string;
  /** Seconds. */
  duration?: number;
  count?: number;
  persist: boolean;
  mtu?: number;
  mac?: Uint8Array;
  /** Tell of each queue pair. */
  stats: boolean;
  json: boolean;
}

/** As far as a message of vhost-user can name rings. */
const MOST_SOCKET_QUEUES = 128;

const OFFLOAD_NAMES = Object.keys(OFFLOADS) as OffloadName[];

export function addAttachOptions(command: Command): Command {
  return command
    .option('--socket <PATH>', 'in the place of a TAP: the socket of a vhost-user back end')
    .option('--listen', 'with --socket: listen there, for the back end to connect', false)
    .option('--queues <N>', 'queue pairs, each with a worker of its own', integer(1, 256), 1)
    .option('--queue-size <N>', 'descriptors of each ring, a power of two', integer(2, 32768), 256)
    .option(
      '--offload <NAMES>',
      `all, or of ${OFFLOAD_NAMES.join(', ')}, with commas: frames come and go with this left undone`,
      offload,
    )
    .option(
      '--busy-poll <US>',
      'µs for which a worker looks for more before it sleeps (default: 0)',
      integer(0, 1_000_000),
    )
    .option(
      '--backend <NAME>',
      `who moves the frames: ${PORT_BACKENDS.join(', ')}, or user:PATH, which is --socket PATH (default: kernel where the host has /dev/vhost-net, else in-process)`,
      backend,
    )
    .option('--address <CIDR>', "an address for the host's side (repeatable)", cidr, [])
    .addOption(
      new Option(
        '--forward-mode <MODE>',
        'what to do with frames (default: icmpecho with --respond, io with --bridge, else rxonly)',
      ).choices(FORWARD_MODES),
    )
    .option('--bridge <TAP2>', 'with io: forward everything to this TAP, and back')
    .option(
      '--respond <IP...>',
      'with icmpecho: answer ARP, ping and neighbour discovery for these',
      address,
      [],
    )
    .option(
      '--respond-mac <MAC>',
      'with icmpecho and txonly: the hardware address of our side',
      mac,
    )
    .option(
      '--txpkts <BYTES>',
      'with txonly: length of each frame',
      integer(LEAST_TX_FRAME, 65_549),
      64,
    )
    .option('--burst <N>', 'with txonly: frames given to the device at a time', integer(1, 512), 32)
    .option('--pcap <FILE>', 'capture every frame received and sent')
    .option('--duration <SECONDS>', 'end after this time', seconds)
    .option(
      '--count <N>',
      'end after this many frames received (txonly: sent)',
      integer(1, 2 ** 53 - 1),
    )
    .option('--persist', 'leave the TAP behind', false)
    .option('--mtu <BYTES>', 'MTU of the TAP', integer(68, 65_521))
    .option('--mac <MAC>', "hardware address of the TAP, the host's side", mac)
    .option('--stats', 'tell of each queue pair', false)
    .option('--json', 'print JSON lines also on a terminal', false);
}

/** As they come from the command line. */
export type GivenOptions = Omit<AttachOptions, 'port' | 'forwardMode' | 'backend'> & {
  forwardMode?: ForwardMode;
  backend?: PortBackend | { user: string };
  socket?: string;
  listen: boolean;
};

/** As {@link GivenOptions}, with the socket where it belongs. */
type PlainOptions = Omit<GivenOptions, 'backend'> & Pick<AttachOptions, 'backend'>;

/** Fills in what follows from other options. Throws `UsageError` for what does not go together. */
export function completeOptions(tap: string | undefined, given: GivenOptions): AttachOptions {
  const plain = withoutUser(given);
  const { socket, listen, ...options } = plain;
  for (const name of [tap, options.bridge]) {
    try {
      if (name !== undefined) checkInterfaceName(name);
    } catch (error) {
      throw new UsageError((error as Error).message);
    }
  }
  if (options.backend === 'in-process' && options.busyPoll !== undefined) {
    throw new UsageError('--busy-poll goes with the kernel’s vhost-net, not --backend in-process');
  }
  const port = portOf(tap, plain);
  if (tap !== undefined && options.bridge === tap) {
    throw new UsageError('--bridge needs a second TAP, not the same one');
  }
  const forwardMode = options.forwardMode ?? defaultMode(options);
  if (forwardMode === 'icmpecho' && options.respond.length === 0) {
    throw new UsageError('--forward-mode icmpecho needs an address to answer for: --respond IP');
  }
  if (forwardMode !== 'icmpecho' && options.respond.length > 0) {
    throw new UsageError(`--respond goes with --forward-mode icmpecho, not ${forwardMode}`);
  }
  if (forwardMode === 'io' && options.bridge === undefined) {
    throw new UsageError('--forward-mode io needs the TAP to forward to: --bridge TAP2');
  }
  if (forwardMode !== 'io' && options.bridge !== undefined) {
    throw new UsageError(`--bridge goes with --forward-mode io, not ${forwardMode}`);
  }
  return { ...options, port, forwardMode };
}

/** `--backend user:PATH` is `--socket PATH`. */
function withoutUser({ backend, ...given }: GivenOptions): PlainOptions {
  if (typeof backend !== 'object') return backend === undefined ? given : { ...given, backend };
  const { user } = backend;
  if (given.socket !== undefined && given.socket !== user) {
    throw new UsageError(
      `--backend user:${user} and --socket ${given.socket} are two back ends: leave one out`,
    );
  }
  if (given.listen && given.socket === undefined) {
    throw new UsageError('--listen goes with --socket PATH: --backend user:PATH connects');
  }
  return { ...given, socket: user };
}

function portOf(tap: string | undefined, given: PlainOptions): AttachOptions['port'] {
  const { socket, listen } = given;
  if (socket === undefined) {
    if (listen) throw new UsageError('--listen goes with --socket PATH');
    if (tap === undefined) throw new UsageError('attach needs a TAP, or --socket PATH');
    return { tap };
  }
  if (tap !== undefined)
    throw new UsageError(`the socket of a back end is in the place of a TAP: leave out ${tap}`);
  if (socket === '') throw new UsageError('--socket needs a path');
  const ofTheTap = ofTapsOnly(given);
  if (ofTheTap !== undefined) {
    throw new UsageError(`--${ofTheTap} is about a TAP, and --socket has none`);
  }
  if (given.queues > MOST_SOCKET_QUEUES) {
    throw new UsageError(`--socket has at most ${MOST_SOCKET_QUEUES} queue pairs`);
  }
  return { socket, mode: listen ? 'server' : 'client' };
}

/** The first option that a socket cannot have; with a bridge some are for the TAP at its other side. */
function ofTapsOnly(given: PlainOptions): string | undefined {
  if (given.address.length > 0) return 'address';
  if (given.mac !== undefined) return 'mac';
  if (given.bridge !== undefined) return undefined;
  if (given.mtu !== undefined) return 'mtu';
  if (given.persist) return 'persist';
  if (given.backend !== undefined) return 'backend';
  return given.busyPoll === undefined ? undefined : 'busy-poll';
}

function defaultMode({ bridge, respond }: Pick<AttachOptions, 'bridge' | 'respond'>): ForwardMode {
  if (bridge !== undefined) return 'io';
  return respond.length > 0 ? 'icmpecho' : 'rxonly';
}

function address(text: string, before: string[]): string[] {
  if (isIP(text) === 0) throw new InvalidArgumentError('It must be an IPv4 or IPv6 address.');
  return [...before, text];
}

function cidr(text: string, before: string[]): string[] {
  const [ip = '', length, ...rest] = text.split('/');
  const most = isIP(ip) === 4 ? 32 : 128;
  const prefix = Number(length);
  if (isIP(ip) === 0 || rest.length > 0 || !/^\d+$/.test(length ?? '') || prefix > most) {
    throw new InvalidArgumentError('It must be of the form 10.0.0.1/24 or fd00::1/64.');
  }
  return [...before, text];
}

function offload(text: string): true | OffloadName[] {
  const names = text.split(',');
  const known = names.filter((name): name is OffloadName => OFFLOAD_NAMES.some((n) => n === name));
  if (text === 'all') return true;
  if (known.length === names.length) return known;
  throw new InvalidArgumentError(`It must be all, or of ${OFFLOAD_NAMES.join(',')} with commas.`);
}

function backend(text: string): PortBackend | { user: string } {
  const known = PORT_BACKENDS.find((name) => name === text);
  if (known) return known;
  const [, user] = /^user:(.+)$/s.exec(text) ?? [];
  if (user !== undefined) return { user };
  throw new InvalidArgumentError(`It must be ${PORT_BACKENDS.join(', ')} or user:PATH.`);
}

function mac(text: string): Uint8Array {
  try {
    return parseMac(text);
  } catch {
    throw new InvalidArgumentError('It must be of the form 52:54:00:12:34:56.');
  }
}
