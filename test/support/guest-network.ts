/** The network of guests whose back end a test is: a TAP, and a host behind it in a namespace, with DHCP and HTTP. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Frame, flowHash, type NetPort, type VhostUserBackend } from '../../lib/index.js';
import { CableEnd } from '../../tools/cli/backend/cable-end.js';
import { cleanup } from './cleanup.js';
import { type Line, Run } from './cli.js';
import { bridge, namespace } from './network.js';
import { peerFolder } from './peer-process.js';
import { openPort } from './ports.js';

/** The host's address, and the one that it leases. */
export const HOST = '10.77.0.1';
export const LEASED = '10.77.0.99';

/** An HTTP server that tells of what it sent by its hash; told `end`, it ends that. Told an address, it fetches it. */
const SERVER = `
import { createHash, randomBytes } from 'node:crypto';
import { createServer, get } from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
const tell = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
function counter() {
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    count(chunk) {
      hash.update(chunk);
      bytes += chunk.length;
      return chunk;
    },
    told: () => ({ bytes, hash: hash.digest('hex') }),
  };
}
let ending = false;
createServer(async (request, response) => {
  const most = Number(request.url.slice(1)) || Infinity;
  const { count, told } = counter();
  tell('sending');
  for (let sent = 0; sent < most && !ending; sent += 1 << 16) {
    if (!response.write(count(randomBytes(1 << 16)))) await once(response, 'drain');
  }
  response.end();
  tell('sent', told());
}).listen(80, '${HOST}', () => tell('listening'));
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') ending = true;
  else {
    const [response] = await once(get(line), 'response');
    const { count, told } = counter();
    for await (const chunk of response) count(chunk);
    tell('received', told());
  }
}
`;

/** What the server sent or received. */
export interface Moved extends Line {
  bytes: number;
  hash: string;
}

export class GuestNetwork {
  readonly #port: NetPort;
  readonly #space: string;
  #server: Run | undefined;
  #fetched = 0;
  readonly #guestEnd = new CableEnd(() => {});
  /** The queue pair by which the guest sent each flow last: by that it gets what comes back of it, as of a TAP. */
  readonly #pairs = new Map<number, number>();

  private constructor(port: NetPort, space: string) {
    this.#port = port;
    this.#space = space;
  }

  static async open(): Promise<GuestNetwork> {
    // What the back end offers to guests, and no more.
    const { port, name } = await openPort({ offload: ['csum', 'tso4', 'tso6', 'ecn'] });
    const far = namespace(`${HOST}/24`);
    bridge(name, far.name);
    const network = new GuestNetwork(port, far.namespace);
    const receiving = network.#receive();
    cleanup(async () => {
      await port.close();
      await receiving;
    });
    return network;
  }

  /** Serves the devices of a back end: what the host sends goes to the one of them that started last and runs. */
  join(backend: VhostUserBackend): void {
    backend.on('connect', (device) => {
      device.onFrames((frames, pair) => {
        for (const { bytes } of frames) this.#pairs.set(flowHash(bytes), pair);
        return this.#port.send(frames);
      });
    });
    backend.on('start', (device) => this.#guestEnd.started(device));
    backend.on('stop', (device) => this.#guestEnd.stopped(device));
  }

  /** Gives {@link LEASED} to who asks. */
  lease(): void {
    const folder = peerFolder();
    const [file, leases, pid] = ['conf', 'leases', 'pid'].map((name) => join(folder, name));
    const given = `start ${LEASED}\nend ${LEASED}\ninterface eth0\noption subnet 255.255.255.0\n`;
    writeFileSync(file as string, `${given}lease_file ${leases}\npidfile ${pid}\n`);
    this.#run(['busybox', 'udhcpd', '-f', file as string]);
  }

  /** Has the host serve at {@link HOST}: `/NUMBER` has as many random bytes, and `/` as many as go until {@link GuestNetwork.end}. */
  async serve(): Promise<void> {
    this.#server = this.#run([process.execPath, '--input-type=module', '-e', SERVER]);
    await this.#server.line('listening');
  }

  /** Waits until so many are sent something. */
  async sending(count: number): Promise<void> {
    await this.#server?.line('sending', count - 1);
  }

  /** Ends all that is sent. */
  end(): void {
    this.#server?.child.stdin?.write('end\n');
  }

  /** What was sent, once all of it was; behind as many others as `skip`. */
  async sent(skip = 0): Promise<Moved> {
    return (await this.#server?.line('sent', skip)) as Moved;
  }

  /** Has the host fetch something of a guest's. */
  async fetch(url: string): Promise<Moved> {
    this.#server?.child.stdin?.write(`${url}\n`);
    return (await this.#server?.line('received', this.#fetched++)) as Moved;
  }

  #run(command: readonly string[]): Run {
    const inside = ['netns', 'exec', this.#space, ...command];
    return new Run('ip', inside, { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#port) {
      for (let at = 0; at < frames.length; ) {
        const pair = this.#pairOf(frames[at] as Frame);
        const rest = frames.slice(at);
        const others = rest.findIndex((frame) => this.#pairOf(frame) !== pair);
        const run = others < 0 ? rest : rest.slice(0, others);
        await this.#guestEnd.give(run, pair);
        at += run.length;
      }
    }
  }

  #pairOf({ bytes }: Frame): number {
    return this.#pairs.get(flowHash(bytes)) ?? 0;
  }
}
