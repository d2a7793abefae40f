/**
 * The demo itself, as root in a network namespace or machine of its own: what the host can do, then
 * the system's ping reaches Node through vhost-net; with the argument `in-process`, through Node alone.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type PingResult, ping } from './ping.js';

const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));
const TAP = 'demo0';
const HOST = ['10.77.0.1/24', 'fd77::1/64'];
const GUEST = ['10.77.0.2', 'fd77::2'] as const;
const COUNT = 10;
const inProcess = process.argv[2] === 'in-process';

interface StatsLine {
  event: string;
  perSecond?: Record<string, number>;
  counters?: Record<string, number>;
  answered?: Record<string, number>;
}

function heading(text: string): void {
  process.stdout.write(`\n── ${text} ──\n`);
}

/** `rx 5 frames/s …` of a line of statistics. */
function liveLine({ perSecond = {} }: StatsLine): string {
  const value = (name: string) => (perSecond[name] ?? 0).toFixed(0);
  return (
    `    live  rx ${value('rxFrames')} frames/s ${value('rxBits')} bit/s` +
    `  tx ${value('txFrames')} frames/s ${value('txBits')} bit/s` +
    `  kicks ${value('txKicks')}/s  calls ${value('rxCalls')}/s\n`
  );
}

if (!inProcess) {
  heading('vhost-net doctor');
  const doctor = spawnSync(process.execPath, [CLI, 'doctor'], { stdio: 'inherit' });
  if (doctor.status !== 0) process.exit(doctor.status ?? 1);
}

const attachArgs = [
  ...['attach', TAP, '--json', '--backend', inProcess ? 'in-process' : 'kernel'],
  ...HOST.flatMap((cidr) => ['--address', cidr]),
  ...['--respond', ...GUEST],
];
heading(`vhost-net ${attachArgs.join(' ')}`);
const attach = spawn(process.execPath, [CLI, ...attachArgs], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const exited = once(attach, 'exit');
let detached: StatsLine | undefined;
const attached = new Promise<void>((resolve) => {
  createInterface(attach.stdout).on('line', (text) => {
    const line = JSON.parse(text) as StatsLine;
    if (line.event === 'attached') resolve();
    if (line.event === 'stats') process.stdout.write(liveLine(line));
    if (line.event === 'detached') detached = line;
  });
});
await Promise.race([attached, exited]);

const results: PingResult[] = [];
for (const address of GUEST) {
  heading(`ping ${address}`);
  results.push(await ping(address, COUNT));
}
attach.kill('SIGINT');
const [status] = (await exited) as [number | null];

heading('detached');
const counters = Object.entries(detached?.counters ?? {});
process.stdout.write(`${counters.map(([name, value]) => `${name} ${value}`).join('  ')}\n\n`);

const sent = results.reduce((sum, result) => sum + result.sent, 0);
const received = results.reduce((sum, result) => sum + result.received, 0);
// What ping got must be what Node answered: no other host is there to answer for it.
const answered = (detached?.answered?.echo ?? 0) + (detached?.answered?.echo6 ?? 0);
const kernel = /^\d+\.\d+(\.\d+)?/.exec(release())?.[0] ?? release();
const way = inProcess ? 'the in-process back end' : '/dev/vhost-net';
process.stdout.write(`demo: ${received}/${sent} echo replies through ${way} on Linux ${kernel}\n`);
process.exitCode = received === sent && answered === received && status === 0 ? 0 : 1;
