/**
 * DPDK's testpmd as a vhost-user peer: its vhost port is a back end, its virtio-user port a front end. Neither needs
 * huge pages or rights. A forwarding one keeps its processor busy, so a test stops it as soon as it can.
 */
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { PeerProcess, peerFolder } from './peer-process.js';

const PROMPT = /testpmd> /;
/** Its two threads, each on a processor of its own where there are two. */
const THREADS = `0@0,1@${Math.min(1, availableParallelism() - 1)}`;
/** How long something may take to come of it, in ms. */
const PATIENCE = 90_000;

export interface TestpmdOptions {
  /** Its only port, as `--vdev` has it: {@link vhostPort} or {@link virtioUserPort}. */
  port: string;
  /** What it does with frames. Default: `'io'`, back to where they came from. */
  forward?: 'io' | 'rxonly' | 'txonly' | 'macswap' | 'icmpecho';
  /** The processor that forwards, 0 or 1: two peers on one processor move 300 times less. Default: 1. */
  processor?: 0 | 1;
  /** Queue pairs. Default: 1. */
  queues?: number;
  /** More arguments of testpmd itself, as `--txpkts=1514`. */
  more?: readonly string[];
  /** It forwards from the start. Default: true. */
  start?: boolean;
}

/** What a port counted since it began. */
export interface TestpmdStats {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
}

/** A back end on `path`. `more` as `',client=1'`. */
export function vhostPort(path: string, { queues = 1, more = '' } = {}): string {
  return `net_vhost0,iface=${path},queues=${queues}${more}`;
}

/** A front end to `path`. `more` as `',server=1'` or `',packed_vq=1'`. */
export function virtioUserPort(path: string, { queues = 1, more = '' } = {}): string {
  return `net_virtio_user0,mac=00:11:22:33:44:55,path=${path},queues=${queues}${more}`;
}

export class Testpmd {
  readonly process: PeerProcess;

  private constructor(options: TestpmdOptions) {
    const { port, forward = 'io', processor = 1, queues = 1, more = [], start = true } = options;
    const folder = peerFolder();
    // To a pipe it would write only when it ends. Told by a prompt, it ends as well when this process does.
    this.process = new PeerProcess(
      'stdbuf',
      [
        ...['-oL', 'dpdk-testpmd', '--lcores', THREADS, '--main-lcore', String(1 - processor)],
        ...['--no-huge', '-m', '256', '--no-pci', '--no-telemetry'],
        ...[`--file-prefix=${basename(folder)}`, '--vdev', port],
        ...['--log-level=lib.vhost.config:debug', '--', '-i', `--forward-mode=${forward}`],
        ...['--total-num-mbufs=8192', '--port-topology=loop'],
        ...[`--rxq=${queues}`, `--txq=${queues}`, ...(start ? ['--auto-start'] : []), ...more],
      ],
      { RUNTIME_DIRECTORY: folder, XDG_RUNTIME_DIR: folder },
    );
  }

  /** Starts it, and waits until its port is there: a back end listens then, a front end is connected. */
  static async start(options: TestpmdOptions): Promise<Testpmd> {
    const testpmd = new Testpmd(options);
    await testpmd.process.says(PROMPT);
    return testpmd;
  }

  /** A command at its prompt, as `'stop'` or `'port stop 0'`. Returns what it said to it. */
  async command(line: string): Promise<string> {
    return this.process.tell(`${line}\n`, PROMPT);
  }

  async stats(): Promise<TestpmdStats> {
    const said = await this.process.tell('show port stats 0\n', /Tx-bps:.*[\s\S]*testpmd> /);
    const count = (name: string) => Number(new RegExp(`${name}: *(\\d+)`).exec(said)?.[1]);
    return {
      rxPackets: count('RX-packets'),
      rxBytes: count('RX-bytes'),
      txPackets: count('TX-packets'),
      txBytes: count('TX-bytes'),
    };
  }

  /** The counters, once they are as they should be. */
  async statsOnce(enough: (stats: TestpmdStats) => boolean): Promise<TestpmdStats> {
    let stats = await this.stats();
    for (const deadline = Date.now() + PATIENCE; !enough(stats); stats = await this.stats()) {
      if (Date.now() > deadline) throw new Error(`testpmd counted ${JSON.stringify(stats)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return stats;
  }

  /** Whether the other end has made its port usable. */
  async linkUp(): Promise<void> {
    let said = '';
    for (const deadline = Date.now() + PATIENCE; !/Link status: up/.test(said); ) {
      if (Date.now() > deadline) throw new Error(`testpmd has no link: ${said}`);
      said = await this.command('show port info 0');
    }
  }

  /** Ends it in order: a front end stops its rings. Returns its exit code. */
  async stop(): Promise<number | NodeJS.Signals> {
    return this.process.stop('stop\nquit\n');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    return this.process.kill();
  }
}
