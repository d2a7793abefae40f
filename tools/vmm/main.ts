#!/usr/bin/env node
/** `npm run vmm`: boots Linux on KVM with vhost-net network cards. */
import { readFileSync } from 'node:fs';
import { Tap, VIRTIO_NET_S_LINK_UP } from '../../lib/index.js';
import { describeError, exitCodeOf } from '../cli/output.js';
import { Console } from './console.js';
import { Machine } from './machine.js';
import { cardMac, type Options, parseOptions } from './options.js';
import { Undo } from './undo.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function main(options: Options, undo: Undo): Promise<void> {
  // At once, and not in pieces by other threads: there is nothing else to do.
  const kernel = readFileSync(options.kernel);
  const initrd = options.initrd === undefined ? undefined : readFileSync(options.initrd);
  const cards = options.tap.map((name, i) => {
    const taps = undo.add(Tap.openQueues(name, options.queues), closeAll);
    taps[0]?.interface.setUp();
    const { transport, mtu, registerPage } = options;
    return { taps, transport, mtu, registerPage, mac: cardMac(options.mac, i) };
  });
  let machine: Machine | undefined;
  let quit!: (reason: string) => void;
  const quitted = new Promise<string>((resolve) => {
    quit = resolve;
  });
  for (const signal of SIGNALS) process.once(signal, quit);
  const terminal = new Console(process.stdin, process.stdout, {
    onInput: (bytes) => machine?.type(bytes),
    onKey: (letter) => onKey(letter, machine, quit),
  });
  undo.add(terminal, (opened) => opened.close());
  let reason = 'reset';
  while (reason === 'reset' || reason === 'triple fault') {
    machine = await Machine.start({
      ...{ kernel, initrd, commandLine: options.cmdline, cards },
      ...{ memory: options.memory, cpus: options.cpus },
      onSerial: (byte) => terminal.write(byte),
    });
    reason = await Promise.race([machine.ended, quitted]);
    await machine.close();
    if (!options.reboot) break;
  }
  if (!['poweroff', 'reset', 'quit', ...SIGNALS].includes(reason))
    throw new Error(`the guest: ${reason}`);
}

/** The keys behind Ctrl-A. */
function onKey(letter: string, machine: Machine | undefined, quit: (reason: string) => void): void {
  if (letter === 'x') quit('quit');
  for (const { device, tap, exits } of machine?.cards ?? []) {
    if (letter === 'l') {
      const up = (device.config.status & VIRTIO_NET_S_LINK_UP) === 0;
      device.setLink(up);
      process.stderr.write(`\r\n${tap}: link ${up ? 'up' : 'down'}\r\n`);
    }
    if (letter === 's') process.stderr.write(`\r\n${tap}: ${exits} exits\r\n`);
  }
}

function closeAll(taps: readonly Tap[]): Promise<unknown> {
  return Promise.all(taps.map((tap) => tap.closeAsync()));
}

const undo = new Undo();
try {
  await main(parseOptions(process.argv.slice(2)), undo);
} catch (error) {
  process.exitCode = exitCodeOf(error);
  process.stderr.write(describeError(error, 'vmm'));
} finally {
  await undo.run();
}
