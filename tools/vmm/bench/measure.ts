/** What is measured of a guest and the VMM around it. */
import { execFileSync } from 'node:child_process';
import { fromGuest, toGuest } from '../demo/traffic.js';
import type { GuestFiles } from '../guest/guest-files.js';
import { type Contestant, Running } from './contestant.js';

export const HOST = '10.78.0.1';
const GUEST = '10.78.0.2';
const BYTES = 40 << 20;
const PINGS = 200;
const FRAMES = 10_000;

/**
 * Fewest segments that TCP puts into a super-frame, of the 45 that fit. It chooses them by the rate that it sees, and
 * of one slow round on an emulated processor it would make many small frames, which are slower still.
 */
export const LEAST_SEGMENTS = '44';
export const LEAST_SEGMENTS_FILE = '/proc/sys/net/ipv4/tcp_min_tso_segs';

export interface Metric {
  name: string;
  unit: string;
  /** Whether more is better. */
  more: boolean;
}

/** In the order of `measure`'s numbers. */
export const METRICS: readonly Metric[] = [
  { name: 'power-on to first echo', unit: 's', more: false },
  { name: 'ping round trip', unit: 'ms', more: false },
  { name: 'TCP out of the guest', unit: 'MB/s', more: true },
  { name: 'TCP into the guest', unit: 'MB/s', more: true },
  { name: '60 B frames out', unit: 'kframes/s', more: true },
  { name: 'process while TCP runs', unit: '% CPU', more: false },
  { name: 'main thread while TCP runs', unit: '% CPU', more: false },
];

/** One run of one contestant, from its start to its end. */
export async function measure(
  contestant: Contestant,
  files: GuestFiles,
  tap: string,
): Promise<number[]> {
  const started = performance.now();
  const running = await Running.start(contestant, files, tap);
  try {
    const { shell } = running;
    await shell.run(`ip address add ${GUEST}/24 dev eth0; ip link set eth0 up`);
    await shell.run(`ping -c 1 ${HOST}`);
    const boot = (performance.now() - started) / 1000;
    await shell.run(`echo ${LEAST_SEGMENTS} > ${LEAST_SEGMENTS_FILE}`);
    const trip = roundTrip();
    const before = [running.seconds(), running.mainThreadSeconds()];
    const out = await fromGuest(shell, GUEST, BYTES);
    const back = await toGuest(shell, HOST, BYTES);
    const used = [running.seconds(), running.mainThreadSeconds()].map(
      (after, i) => (100 * (after - (before[i] as number))) / (out.seconds + back.seconds),
    );
    const rate = await framesPerSecond(running);
    const speed = ({ bytes, seconds }: typeof out) => bytes / 1e6 / seconds;
    return [boot, trip, speed(out), speed(back), rate / 1000, ...used];
  } finally {
    await running.end();
  }
}

/** The median of the host's pings, in ms. */
function roundTrip(): number {
  const args = ['-c', String(PINGS), '-i', '0.005', GUEST];
  const output = execFileSync('ping', args, { encoding: 'utf8' });
  const times = [...output.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
  return times.sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}

/** What the guest kernel's own generator gets rid of. */
async function framesPerSecond({ shell }: Running): Promise<number> {
  const set = (file: string, ...lines: string[]) =>
    lines.map((line) => `echo ${line} > /proc/net/pktgen/${file}`).join('; ');
  await shell.run('insmod /modules/pktgen.ko');
  await shell.run(set('kpktgend_0', 'rem_device_all', 'add_device eth0'));
  const frames = [`count ${FRAMES}`, 'pkt_size 60', 'delay 0', `dst ${HOST}`];
  await shell.run(set('eth0', ...frames, 'dst_mac 02:00:00:00:00:fe'));
  await shell.run(set('pgctrl', 'start'), 120_000);
  const { output } = await shell.run('cat /proc/net/pktgen/eth0');
  return Number(/(\d+)pps/.exec(output)?.[1] ?? Number.NaN);
}
