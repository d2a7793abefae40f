/** `vhost-net attach TAP`, or a socket: the main job. */
import { NetPort, type NetPortOptions } from '../../../lib/index.js';
import { macSwap, receiveOnly } from '../forward/forwarder.js';
import { icmpEcho } from '../forward/icmp-echo.js';
import { stdoutTerminal } from '../live-block.js';
import { EXIT_DONE } from '../output.js';
import { PcapWriter } from '../pcap.js';
import { Publisher } from '../published/publisher.js';
import { answer } from './answer.js';
import { bridge } from './bridge.js';
import { describeSocket, namesOf, ownMac, setUpHostSide } from './host-side.js';
import type { Job } from './job.js';
import { jsonReporter } from './json-reporter.js';
import type { AttachOptions } from './options.js';
import type { Detached, Reporter, Sample } from './reporter.js';
import { terminalReporter } from './terminal-reporter.js';
import { transmit } from './transmit.js';

/** Milliseconds between two reports. */
const REPORT_EVERY = 1000;

/** Attaches, forwards frames until something ends it, detaches. Returns the exit code. */
export async function attach(options: AttachOptions, stop: AbortSignal): Promise<number> {
  // Before anything is made: a file that cannot be written must leave nothing behind.
  const pcap = options.pcap === undefined ? undefined : new PcapWriter(options.pcap);
  const ports: NetPort[] = [];
  try {
    for (const where of placesOf(options, stop)) {
      const { queues: queuePairs, queueSize, offload = [] } = options;
      ports.push(await NetPort.open({ ...where, queuePairs, queueSize, offload }));
    }
    return await new Session(ports, options, pcap, stop).run();
  } finally {
    await Promise.all(ports.map((port) => port.close()));
    pcap?.close();
  }
}

/** What each port is on: one, or the two that are bridged. */
function placesOf(options: AttachOptions, signal: AbortSignal): Partial<NetPortOptions>[] {
  const { port, bridge, busyPoll, backend } = options;
  const onTap = (tap: string) => ({
    ...{ tap, up: false },
    ...(busyPoll === undefined ? {} : { busyPoll }),
    ...(backend === undefined ? {} : { backend }),
  });
  const first =
    'tap' in port ? onTap(port.tap) : { socket: { path: port.socket, mode: port.mode, signal } };
  return bridge === undefined ? [first] : [first, onTap(bridge)];
}

type Done = Pick<Detached, 'answered' | 'dropped'>;

class Session implements Job {
  readonly ports: readonly NetPort[];
  readonly options: AttachOptions;
  readonly pcap: PcapWriter | undefined;
  readonly #reporter: Reporter;
  readonly #end = new AbortController();
  #reason = '';

  constructor(
    ports: readonly NetPort[],
    options: AttachOptions,
    pcap: PcapWriter | undefined,
    stop: AbortSignal,
  ) {
    this.ports = ports;
    this.options = options;
    this.pcap = pcap;
    this.#reporter =
      options.json || !process.stdout.isTTY
        ? jsonReporter(stdoutTerminal.write, options)
        : terminalReporter(stdoutTerminal, options);
    const interrupt = () => this.finish(String(stop.reason));
    if (stop.aborted) interrupt();
    else stop.addEventListener('abort', interrupt, { once: true });
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  finish(reason: string): void {
    if (this.#end.signal.aborted) return;
    this.#reason = reason;
    this.#end.abort();
  }

  async run(): Promise<number> {
    await this.#setUp();
    const started = performance.now();
    let last = started;
    const publisher = new Publisher();
    const report = () => {
      publisher.write(this.ports, this.options.queueSize);
      const now = performance.now();
      this.#reporter.progress(this.#samples, (now - last) / 1000);
      last = now;
    };
    const reports = setInterval(report, REPORT_EVERY);
    const { duration } = this.options;
    const limit =
      duration === undefined
        ? undefined
        : setTimeout(() => this.finish('the time is over'), duration * 1000);
    let done: Done;
    try {
      done = await this.#forward();
    } finally {
      clearInterval(reports);
      clearTimeout(limit);
      publisher.close();
    }
    await Promise.all(this.ports.map((port) => port.close()));
    const seconds = (performance.now() - started) / 1000;
    this.#reporter.detached({ reason: this.#reason, seconds, ports: this.#samples, ...done });
    return EXIT_DONE;
  }

  async #setUp(): Promise<void> {
    for (const [i, port] of this.ports.entries()) {
      const hostSide = i === 0 ? this.options : { address: [] };
      this.#reporter.attached(
        port.taps.length === 0
          ? describeSocket(port, this.options)
          : await setUpHostSide(port, this.options, hostSide),
      );
      port.on('link', (up) => this.#reporter.link(namesOf(port), up));
    }
  }

  /** Forwards until the end. Returns what was done with the frames. */
  async #forward(): Promise<Done> {
    const { forwardMode, respond } = this.options;
    const [port] = this.ports as [NetPort];
    if (forwardMode === 'io') return { answered: {}, dropped: await bridge(this) };
    const mac = ownMac(port, this.options);
    const forwarders = {
      icmpecho: () => icmpEcho(respond, mac),
      macswap: macSwap,
      rxonly: () => receiveOnly,
      txonly: () => receiveOnly,
    };
    const forwarder = forwarders[forwardMode]();
    if (forwardMode === 'txonly') await transmit(this, mac);
    else await answer(this, forwarder);
    return { answered: forwarder.counts };
  }

  get #samples(): Sample[] {
    return this.ports.map((port) => ({
      ...namesOf(port),
      counters: port.counters,
      pairs: port.pairCounters,
    }));
  }
}
