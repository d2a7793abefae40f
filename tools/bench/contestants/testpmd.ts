/**
 * DPDK's testpmd with virtio-user on the same vhost-net, made to obey. It knows no number of frames: what
 * it moved is read from the TAP's counters, its rate from when they moved.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetInterface } from '../../../lib/index.js';
import { Testpmd } from '../testpmd.js';
import { obey, type Took } from './commands.js';

/** Between two looks at the counters, in ms. */
const PAUSE = 5;
/** Looks in a row at which nothing moved any more. */
const STILL = 10;

let testpmd: Testpmd | undefined;
let tap = '';

function opened(): Testpmd {
  if (!testpmd) throw new Error('no testpmd is open');
  return testpmd;
}

async function open(name: string): Promise<void> {
  tap = name;
  const device = `net_virtio_user0,path=/dev/vhost-net,iface=${name},queues=1,queue_size=512`;
  testpmd = await Testpmd.start({ device, name });
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
  await opened().tell(`${forward}\nstart\n`, /packet forwarding/);
  for (let still = 0; still < STILL; ) {
    const look = { frames: counted(...counters) - before, at: performance.now() };
    still = look.frames === looks.at(-1)?.frames ? still + 1 : 0;
    if (still === 0) looks.push(look);
    if (look.frames >= count) break;
    await sleep(PAUSE);
  }
  await opened().tell('stop\n', /Done\./);
  const [first = { frames: 0, at: 0 }] = looks;
  const last = looks.at(-1) ?? first;
  // What it sent is on its way for a moment after it stopped.
  await sleep(PAUSE * STILL);
  const frames = counted(...counters) - before;
  const perFrame = (last.at - first.at) / (last.frames - first.frames);
  return { frames, ns: frames * perFrame * 1e6, cpu: 0 };
}

async function close(): Promise<object> {
  await testpmd?.quit();
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
