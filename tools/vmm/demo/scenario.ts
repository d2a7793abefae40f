/**
 * The demo itself, as root in a network namespace or machine of its own: Debian's kernel in our VMM talks
 * to this one through vhost-net.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { Tap } from '../../../lib/index.js';
import { GUEST_COMMAND_LINE, guestFiles } from '../guest/guest-files.js';
import { GuestShell } from '../guest/shell.js';
import { holdKvm } from '../kvm/hold.js';
import { Machine } from '../machine.js';
import type { NetCard } from '../net-card.js';
import { Undo } from '../undo.js';
import { fromGuest, type Stream, toGuest } from './traffic.js';

const TAP = 'demo0';
const HOST = '10.77.0.1';
const GUEST = '10.77.0.2';
const PINGS = 10;
const BYTES = 100 << 20;
const BOOT_LIMIT = 180_000;

function heading(text: string): void {
  process.stdout.write(`\n── ${text} ──\n`);
}

function mbPerSecond({ bytes, seconds }: Stream): string {
  return (bytes / 1e6 / seconds).toFixed(0);
}

/** Tells every second how often a processor left the guest for the card, until it is stopped. */
function watchExits(card: NetCard): () => void {
  let before = card.exits;
  const timer = setInterval(() => {
    process.stdout.write(`    network device: ${card.exits - before} exits/s\n`);
    before = card.exits;
  }, 1000);
  return () => clearInterval(timer);
}

async function demo(undo: Undo): Promise<boolean> {
  const files = await guestFiles();
  undo.add(holdKvm(), (giveBack) => giveBack());
  const taps = undo.add(Tap.openQueues(TAP, 1), ([tap]) => tap?.closeAsync());
  execFileSync('ip', ['address', 'add', `${HOST}/24`, 'dev', TAP]);
  taps[0]?.interface.setUp();

  heading(`Linux ${files.release} in the VMM, its card on PCI`);
  let machine: Machine | undefined;
  const shell = new GuestShell((bytes) => machine?.type(bytes));
  const started = performance.now();
  machine = await Machine.start({
    kernel: await readFile(files.kernel),
    initrd: await readFile(files.initrd),
    ...{ commandLine: GUEST_COMMAND_LINE, memory: 256 << 20, cpus: 1 },
    cards: [{ taps, transport: 'pci', mac: '02:00:00:00:00:01' }],
    onSerial: (byte) => shell.receive(byte),
  });
  undo.add(machine, (running) => running.close());
  await shell.ready(BOOT_LIMIT);
  const release = (await shell.run('uname -r')).output.trim();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${release} takes commands after ${seconds} s\n`);
  await shell.run(`ip address add ${GUEST}/24 dev eth0; ip link set eth0 up`);

  heading(`ping ${HOST}, from the guest`);
  const { output } = await shell.run(`ping -c ${PINGS} -i 0.2 ${HOST}`);
  process.stdout.write(output);
  const replies = Number(/(\d+) packets received/.exec(output)?.[1] ?? 0);

  const card = machine.cards[0] as NetCard;
  const { exits } = card;
  heading(`${BYTES >> 20} MiB of TCP out of the guest, and in`);
  const stop = watchExits(card);
  const out = await fromGuest(shell, GUEST, BYTES);
  process.stdout.write(`  out: ${out.bytes} bytes in ${out.seconds.toFixed(1)} s\n`);
  const back = await toGuest(shell, HOST, BYTES);
  process.stdout.write(`  in:  ${back.bytes} bytes in ${back.seconds.toFixed(1)} s\n`);
  stop();
  const during = card.exits - exits;

  const off = machine.ended;
  void shell.run('poweroff -f').catch(() => {});
  await off;
  process.stdout.write(
    `\ndemo:vmm: guest on Linux ${release}, ${replies}/${PINGS} echo replies, ` +
      `${mbPerSecond(out)} MB/s out, ${mbPerSecond(back)} MB/s in, ${during} device exits\n`,
  );
  return replies === PINGS && out.bytes === BYTES && back.bytes === BYTES && during === 0;
}

const undo = new Undo();
try {
  process.exitCode = (await demo(undo)) ? 0 : 1;
} finally {
  await undo.run();
}
