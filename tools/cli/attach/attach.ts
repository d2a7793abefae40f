/** `vhost-net attach TAP`: the main job. */
import { once } from 'node:events';
import { release } from 'node:os';
import { featureNames, formatMac, NetPort } from '../../../lib/index.js';
import { type Forwarder, macSwap, receiveOnly } from '../forward/forwarder.js';
import { icmpEcho } from '../forward/icmp-echo.js';
import { txFrame } from '../forward/tx-frame.js';
import { EXIT_DONE } from '../output.js';
import { PcapWriter } from '../pcap.js';
import type { AttachOptions } from './options.js';
import { jsonReporter, type Reporter, terminalReporter } from './reporter.js';

/** Milliseconds between two reports. */
const REPORT_EVERY = 1000;

/** Attaches, forwards frames until something ends it, detaches. Returns the exit code. */
export async function attach(
  tap: string,
  options: AttachOptions,
  stop: AbortSignal,
): Promise<number> {
  // Before anything is made: a file that cannot be written must leave nothing behind.
  const pcap = options.pcap === undefined ? undefined : new PcapWriter(options.pcap);
  try {
    const port = await NetPort.open({ tap, queueSize: options.queueSize, up: false });
    try {
      return await new Session(port, options, pcap, stop).run();
    } finally {
      await port.close();
    }
  } finally {
    pcap?.close();
  }
}

class Session {
  readonly #port: NetPort;
  readonly #options: AttachOptions;
  readonly #pcap: PcapWriter | undefined;
  readonly #reporter: Reporter;
  readonly #end = new AbortController();
  #reason = '';

  constructor(
    port: NetPort,
    options: AttachOptions,
    pcap: PcapWriter | undefined,
    stop: AbortSignal,
  ) {
    this.#port = port;
    this.#options = options;
    this.#pcap = pcap;
    const write = (text: string) => process.stdout.write(text);
    this.#reporter =
      options.json || !process.stdout.isTTY
        ? jsonReporter(write)
        : terminalReporter(write, () => process.stdout.columns || 80);
    const interrupt = () => this.#finish(String(stop.reason));
    if (stop.aborted) interrupt();
    else stop.addEventListener('abort', interrupt, { once: true });
  }

  async run(): Promise<number> {
    const port = this.#port;
    await this.#configure();
    const started = performance.now();
    let last = started;
    const report = () => {
      const now = performance.now();
      this.#reporter.progress(port.counters, (now - last) / 1000);
      last = now;
    };
    const reports = setInterval(report, REPORT_EVERY);
    const { duration, forwardMode } = this.#options;
    const limit =
      duration === undefined
        ? undefined
        : setTimeout(() => this.#finish('the time is over'), duration * 1000);
    port.on('link', (up) => this.#reporter.link(up));
    const forwarder = this.#forwarder();
    try {
      if (forwardMode === 'txonly') await this.#transmit();
      else await this.#forward(forwarder);
    } finally {
      clearInterval(reports);
      clearTimeout(limit);
    }
    await port.close();
    this.#reporter.detached({
      reason: this.#reason,
      seconds: (performance.now() - started) / 1000,
      counters: port.counters,
      answered: forwarder.counts,
    });
    return EXIT_DONE;
  }

  /** The host's side of the TAP, as the options want it. */
  async #configure(): Promise<void> {
    const port = this.#port;
    const options = this.#options;
    const { tap } = port;
    const host = tap.interface;
    if (options.persist) tap.setPersist(true);
    if (options.mac) host.setMac(options.mac);
    if (options.mtu !== undefined) host.setMtu(options.mtu);
    host.setUp();
    if (!port.linkUp) await once(port, 'link');
    for (const cidr of options.address) host.addAddress(cidr);
    this.#reporter.attached({
      tap: host.name,
      created: tap.created,
      mac: formatMac(host.mac),
      mtu: host.mtu,
      addresses: options.address,
      forwardMode: options.forwardMode,
      queueSize: options.queueSize,
      features: {
        mask: `0x${port.features.toString(16)}`,
        names: featureNames(port.features),
      },
      kernel: release(),
    });
  }

  #forwarder(): Forwarder {
    switch (this.#options.forwardMode) {
      case 'icmpecho':
        return icmpEcho(this.#options.respond, this.#ownMac());
      case 'macswap':
        return macSwap();
      default:
        return receiveOnly;
    }
  }

  /** The host's address in the locally administered range: another one, and the same every time. */
  #ownMac(): Uint8Array {
    if (this.#options.respondMac) return this.#options.respondMac;
    const mac = this.#port.tap.interface.mac;
    mac[0] = ((mac[0] as number) | 0x02) & 0xfe;
    mac[5] = (mac[5] as number) ^ 0x01;
    return mac;
  }

  async #forward(forwarder: Forwarder): Promise<void> {
    const port = this.#port;
    const { count = Number.POSITIVE_INFINITY } = this.#options;
    this.#end.signal.addEventListener('abort', () => port.close(), { once: true });
    if (this.#end.signal.aborted) return;
    let received = 0;
    for await (const frames of port) {
      this.#pcap?.write(frames);
      const replies = forwarder.answer(frames);
      this.#pcap?.write(replies);
      if (replies.length > 0) await port.send(replies).catch(unlessGone);
      received += frames.length;
      if (received >= count) this.#finish(`${count} frames were received`);
    }
  }

  async #transmit(): Promise<void> {
    const port = this.#port;
    const { txpkts, burst, count = Number.POSITIVE_INFINITY } = this.#options;
    const frame = txFrame(txpkts, port.tap.interface.mac, this.#ownMac());
    const frames = new Array<Uint8Array>(burst).fill(frame);
    const { signal } = this.#end;
    let sent = 0;
    while (!signal.aborted && sent < count) {
      if (!port.linkUp) {
        await once(port, 'link', { signal }).catch(() => {});
        continue;
      }
      const batch = count - sent < burst ? frames.slice(0, count - sent) : frames;
      await port.send(batch);
      this.#pcap?.write(batch);
      sent += batch.length;
      // Signals, timers and reports are served between bursts.
      await new Promise(setImmediate);
    }
    if (sent >= count) this.#finish(`${count} frames were sent`);
    if (port.linkUp) await port.flush();
  }

  #finish(reason: string): void {
    if (this.#end.signal.aborted) return;
    this.#reason = reason;
    this.#end.abort();
  }
}

/** Replies that the link, or the end, overtook are not worth an error. */
function unlessGone(error: { code?: string }): void {
  if (error.code !== 'ENETDOWN' && error.code !== 'ERR_CLOSED') throw error;
}
