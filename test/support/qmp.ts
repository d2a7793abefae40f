/** QMP, by which a QEMU is told what to do while it runs: a JSON object on a line each way. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { cleanup } from './cleanup.js';
import { until } from './host.js';

interface Answer {
  id?: number;
  return?: unknown;
  error?: { desc: string };
}

interface Event {
  event: string;
  data?: Record<string, unknown>;
}

export class Qmp {
  readonly #socket: Socket;
  readonly #answers = new Map<number, Answer>();
  readonly #events: Event[] = [];
  #asked = 0;
  #broken = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#broken = true;
    });
    createInterface({ input: socket }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer & Partial<Event>;
      if (answer.id !== undefined) this.#answers.set(answer.id, answer);
      else if (answer.event !== undefined) this.#events.push(answer as Event);
    });
  }

  /** Connects to the QEMU that listens at `path`, which takes commands then. */
  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(await connection(path));
    await qmp.ask('qmp_capabilities');
    return qmp;
  }

  /** What QEMU returns for a command. Throws with its words where it refuses. */
  async ask(execute: string, given: object = {}): Promise<unknown> {
    const id = ++this.#asked;
    this.#socket.write(`${JSON.stringify({ execute, arguments: given, id })}\n`);
    await until(() => this.#broken || this.#answers.has(id), `QEMU answers ${execute}`);
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    if (answer?.return !== undefined) return answer.return;
    throw new Error(`${execute}: ${answer?.error?.desc ?? 'QEMU ended'}`);
  }

  /** Waits until QEMU told that something happened to a device; once for each time that it did. */
  async told(event: string, device: string): Promise<void> {
    const find = () =>
      this.#events.findIndex((one) => one.event === event && one.data?.device === device);
    await until(() => this.#broken || find() >= 0, `QEMU tells of ${event} of ${device}`);
    if (find() < 0) throw new Error(`QEMU ended before it told of ${event} of ${device}`);
    this.#events.splice(find(), 1);
  }
}

/** A connection to a QEMU that may have made its socket, and not listen on it yet. */
async function connection(path: string): Promise<Socket> {
  let connected: Socket | undefined;
  await until(async () => {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
    } catch {
      return false;
    }
    cleanup(() => socket.destroy());
    connected = socket;
    return true;
  }, 'QEMU listens');
  return connected as Socket;
}
