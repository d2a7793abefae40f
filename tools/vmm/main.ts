#!/usr/bin/env node
/** `npm run vmm`: boots Linux on KVM with network cards of vhost-net and vhost-user. */
import { readFileSync } from 'node:fs';
import {
  hasBit,
  Tap,
  VHOST_USER_PROTOCOL_F_MTU,
  VhostUserFrontend,
  VIRTIO_NET_S_LINK_UP,
} from '../../lib/index.js';
import { describeError, exitCodeOf } from '../cli/output.js';
import { Console } from './console.js';
import { Machine } from './machine.js';
import type { Cable } from './net-card.js';
import { cardMac, type Options, parseOptions } from './options.js';
import { Undo } from './undo.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function main(options: Options, undo: Undo): Promise<void> {
  // At once, and not in pieces by other threads: there is nothing else to do.
  const kernel = readFileSync(options.kernel);
  const initrd = options.initrd === undefined ? undefined : readFileSync(options.initrd);
  const { transport, mtu, registerPage } = options;
  const cards = (await openCables(options, undo)).map((cable, i) => {
    return { ...cable, transport, mtu, registerPage, mac: cardMac(options.mac, i) };
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

/** Those of TAPs first, then those of sockets: as the cards are counted. */
async function openCables(options: Options, undo: Undo): Promise<Cable[]> {
  const { tap, socket, queues: queuePairs, mtu } = options;
  const cables: Cable[] = [];
  for (const name of tap) {
    const taps = undo.add(Tap.openQueues(name, queuePairs), closeAll);
    taps[0]?.interface.setUp();
    cables.push({ taps });
  }
  for (const path of socket) {
    const frontend = await VhostUserFrontend.open({ path, queuePairs });
    undo.add(frontend, (opened) => opened.close());
    // A back end need not know of it: the guest is told by its card.
    const hears = hasBit(frontend.protocolFeatures, VHOST_USER_PROTOCOL_F_MTU);
    if (mtu !== undefined && hears) await frontend.setMtu(mtu);
    cables.push({ frontend, path });
  }
  return cables;
}

/** The keys behind Ctrl-A. */
function onKey(letter: string, machine: Machine | undefined, quit: (reason: string) => void): void {
  if (letter === 'x') quit('quit');
  for (const { device, name, exits } of machine?.cards ?? []) {
    if (letter === 'l') {
      const up = (device.config.status & VIRTIO_NET_S_LINK_UP) === 0;
      device.setLink(up);
      process.stderr.write(`\r\n${name}: link ${up ? 'up' : 'down'}\r\n`);
    }
    if (letter === 's') process.stderr.write(`\r\n${name}: ${exits} exits\r\n`);
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
