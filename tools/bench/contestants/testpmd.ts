/**
 * DPDK's testpmd with virtio-user on the same vhost-net, made to obey. It knows no number of frames: what
 * it moved is read from the TAP's counters, its rate from when they moved.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetInterface } from '../../../lib/index.js';
import { obey, type Took } from './commands.js';

const PROGRAM = 'dpdk-testpmd';
/** The longest that it may take for an answer, in ms; and between two looks at the counters. */
const PATIENCE = 30_000;
const PAUSE = 5;
/** Looks in a row at which nothing moved any more. */
const STILL = 10;

let testpmd: ChildProcessWithoutNullStreams | undefined;
let output = '';
let tap = '';

/** Writes lines to its prompt, and waits until it says `answer`. */
async function tell(lines: string, answer: RegExp): Promise<void> {
  output = '';
  testpmd?.stdin.write(lines);
  for (let waited = 0; !answer.test(output); waited += PAUSE) {
    if (waited > PATIENCE || testpmd?.exitCode !== null) throw new Error(`${PROGRAM}: ${output}`);
    await sleep(PAUSE);
  }
}

async function open(name: string): Promise<void> {
  tap = name;
  const device = `net_virtio_user0,path=/dev/vhost-net,iface=${name},queues=1,queue_size=512`;
  // To a pipe it would write only when it ends.
  testpmd = spawn('stdbuf', [
    ...['-oL', PROGRAM, '-l', '0,1', '--no-huge', '-m', '256', '--no-pci', '--no-telemetry'],
    ...[`--file-prefix=${name}`, '--vdev', device, '--', '-i', '--total-num-mbufs=4096'],
  ]);
  for (const stream of [testpmd.stdout, testpmd.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  await tell('', /testpmd> /);
  new NetInterface(name).setUp();
}

function counted(...counters: string[]): number {
  return counters
    .map((name) => Number(readFileSync(`/sys/class/net/${tap}/statistics/${name}`, 'utf8')))
    .reduce((sum, count) => sum + count, 0);
}

/** Runs `forward` until `count` frames moved, or no more do. */
async function move(forward: string, counters: string[], count: number): Promise<Took> {
  const before = counted(...counters);
  const looks: { frames: number; at: number }[] = [];
  await tell(`${forward}\nstart\n`, /packet forwarding/);
  for (let still = 0; still < STILL; ) {
    const look = { frames: counted(...counters) - before, at: performance.now() };
    still = look.frames === looks.at(-1)?.frames ? still + 1 : 0;
    if (still === 0) looks.push(look);
    if (look.frames >= count) break;
    await sleep(PAUSE);
  }
  await tell('stop\n', /Done\./);
  const [first = { frames: 0, at: 0 }] = looks;
  const last = looks.at(-1) ?? first;
  // What it sent is on its way for a moment after it stopped.
  await sleep(PAUSE * STILL);
  const frames = counted(...counters) - before;
  const perFrame = (last.at - first.at) / (last.frames - first.frames);
  return { frames, ns: frames * perFrame * 1e6, cpu: 0 };
}

async function close(): Promise<object> {
  const ended = testpmd;
  testpmd?.stdin.write('quit\n');
  while (ended && ended.exitCode === null) await sleep(PAUSE);
  testpmd = undefined;
  return {};
}

await obey({
  open: async ([name = '']) => {
    await open(name);
    return {};
  },
  send: ([length, batch, count]) =>
    move(
      `set fwd txonly\nset txpkts ${length}\nset burst ${batch}`,
      ['rx_packets', 'rx_dropped'],
      Number(count),
    ),
  receive: ([batch, count]) =>
    move(`set fwd rxonly\nset burst ${batch}`, ['tx_packets'], Number(count)),
  close,
});
await close();
