#!/usr/bin/env node
/** The vhost-net command. */
import { existsSync, readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { integer } from './number-options.js';
import { describeError, EXIT_DONE, EXIT_USAGE, exitCodeOf, UsageError } from './output.js';

/** As a shell reports a process that SIGINT ended. */
const EXIT_INTERRUPTED = 130;

async function main(args: readonly string[]): Promise<number> {
  // Loaded here, so that a host where the library cannot be loaded gets one clear sentence.
  const [
    { attach },
    { addAttachOptions, completeOptions },
    { backend },
    { addBackendOptions },
    { broker },
    { addBrokerOptions },
    { doctor },
    { exec },
    { top },
    { addTopOptions },
    { trace },
  ] = await Promise.all([
    import('./attach/attach.js'),
    import('./attach/options.js'),
    import('./backend/backend.js'),
    import('./backend/options.js'),
    import('./broker/broker.js'),
    import('./broker/options.js'),
    import('./doctor/doctor.js'),
    import('./exec/exec.js'),
    import('./top/top.js'),
    import('./top/options.js'),
    import('./trace/trace.js'),
  ]);
  let exitCode = EXIT_DONE;
  const program = new Command('vhost-net')
    .description("Drive Linux's in-kernel virtio-net accelerator, /dev/vhost-net, from Node.js.")
    .version(version())
    .exitOverride()
    .addHelpText(
      'after',
      '\nExit status: 0 done, 1 failed, 2 wrong usage, 3 this host lacks a device, a right or a feature.',
    );
  program
    .command('doctor')
    .description('what this host can do, and what to do about what it cannot')
    .option('--json', 'print one JSON document')
    .action(async (options: { json?: boolean }) => {
      exitCode = await doctor(options);
    });
  addAttachOptions(
    program.command('attach').argument('[tap]', 'the TAP: joined, or created; none with --socket'),
  )
    .description('attach vhost-net to a TAP, or a vhost-user back end, and forward its frames')
    .addHelpText(
      'after',
      `
Examples:
  vhost-net attach vnet0 --address 10.0.0.1/24 --respond 10.0.0.2
  vhost-net attach vnet0 --forward-mode rxonly --pcap vnet0.pcap --duration 10
  vhost-net attach vnet0 --forward-mode txonly --txpkts 1514 --count 100000
  vhost-net attach --socket /run/switch/vhost-user0 --respond 10.0.0.2

It ends at --duration, --count or Ctrl-C, and gives everything back; a second Ctrl-C ends it at once.`,
    )
    .action(async (tap: string | undefined, options) => {
      exitCode = await attach(completeOptions(tap, options), interruptible());
    });
  addBackendOptions(program.command('backend'))
    .description('serve the network devices of vhost-user front-ends: QEMU, DPDK')
    .addHelpText(
      'after',
      `
Examples:
  vhost-net backend --socket /run/vm1.sock --to responder:10.0.0.2
  vhost-net backend --socket /run/vm1.sock --to socket:/run/vm2.sock
  vhost-net backend --socket /run/vm1.sock --to tap:vnet0

QEMU: -object memory-backend-memfd,id=m,size=1G,share=on -numa node,memdev=m -chardev socket,id=c,path=/run/vm1.sock
      -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n`,
    )
    .action(async (options) => {
      exitCode = await backend(options, interruptible());
    });
  addBrokerOptions(program.command('broker'))
    .description('open queues of TAPs for processes that have no rights to')
    .addHelpText(
      'after',
      `
Example:
  vhost-net broker --socket /run/vhost-net.sock --allow alice:vm1-* --allow 1001:vnet0

Clients are told by the uid that the kernel says they have. Ctrl-C stops it and removes the socket.`,
    )
    .action(async (options) => {
      exitCode = await broker(options, interruptible());
    });
  program
    .command('exec')
    .description('run a command with queues of a TAP, from a broker, as its descriptors')
    .argument('<tap>', 'the TAP, which the broker creates or joins')
    .argument('<command...>', 'the command; {tapfds} and {vhostfds} become its descriptors')
    .requiredOption('--broker <PATH>', "the broker's socket")
    .option('--queues <N>', 'queue pairs', integer(1, 256), 1)
    .addHelpText(
      'after',
      `
Example:
  vhost-net exec vnet0 --broker /run/vhost-net.sock -- \\
    qemu-system-x86_64 -netdev tap,id=n0,fds={tapfds},vhost=on,vhostfds={vhostfds} ...`,
    )
    .action(async (tap: string, command: string[], options) => {
      exitCode = await exec(tap, command, options);
    });
  addTopOptions(program.command('top'))
    .description('watch what vhost-net does on this host, by port and queue pair')
    .addHelpText(
      'after',
      `
Each row is a TAP and a process that serves it with vhost-net; RX is what the host sends to the interface. Of any
program the kernel shows frames, bits and drops of the interface, and the CPU of all its vhost workers (VHOST%).
A row for each queue pair, with kicks and calls per frame and how full its rings are, has only vhost-net attach,
which publishes them in /run/vhost-net-stats (without root: $XDG_RUNTIME_DIR/vhost-net-stats). What is not known
is -. Other users' processes only root sees.

Examples:
  vhost-net top
  vhost-net top vnet0 --json --count 10`,
    )
    .action(async (taps: string[], options) => {
      exitCode = await top(taps, options, interruptible());
    });
  program
    .command('trace')
    .description('show what a vhost-user front end and back end say to each other')
    .argument('<socket>', 'where the one of them connects')
    .requiredOption('--to <SOCKET>', 'where the other listens')
    .option('--json', 'print a JSON line for each message', false)
    .addHelpText(
      'after',
      `
Whoever connects to <socket> is connected to the other, and everything passes unchanged, descriptors too; what is no
message of the protocol is shown as such and passes as well. Which of the two is the front end shows itself: it
speaks first. The socket of the back end's own requests is followed too.

Examples:
  vhost-net trace /run/vm1.sock --to /run/vhost-user1.sock
  qemu-system-x86_64 ... -chardev socket,id=c0,path=/run/vm1.sock -netdev vhost-user,id=n0,chardev=c0`,
    )
    .action(async (socket: string, options) => {
      exitCode = await trace(socket, options, interruptible());
    });
  await program.parseAsync(args, { from: 'user' });
  return exitCode;
}

/** Aborted by the first SIGINT or SIGTERM, or when nobody reads our output any more. */
function interruptible(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
      controller.abort('interrupted');
    });
  }
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    controller.abort('nobody reads the output');
  });
  return controller.signal;
}

function version(): string {
  // From dist/bin, as one file, or as it was compiled.
  const [bundled, compiled] = ['../../package.json', '../../../package.json'].map(
    (place) => new URL(place, import.meta.url),
  ) as [URL, URL];
  const file = existsSync(bundled) ? bundled : compiled;
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

const args = process.argv.slice(2);
try {
  process.exitCode = await main(args);
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what was wrong; help and version are no errors.
    process.exitCode = error.exitCode === 0 ? EXIT_DONE : EXIT_USAGE;
  } else {
    const doing = args
      .slice(0, 2)
      .filter((word) => !word.startsWith('-'))
      .join(' ');
    process.stderr.write(describeError(error, doing));
    if (error instanceof UsageError) process.stderr.write(`See vhost-net ${args[0]} --help.\n`);
    process.exitCode = exitCodeOf(error);
  }
}
