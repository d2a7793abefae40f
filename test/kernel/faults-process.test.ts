/** What happens to a port, and what is left of it, when a signal takes its process away. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Tap } from '../../lib/index.js';
import { BUILT } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { makeFrame, sequenceOf } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { statistic } from '../support/ip.js';
import { hush, openPort } from '../support/ports.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const exists = (name: string) => existsSync(`/sys/class/net/${name}`);
const LENGTH = 60;

/** A process that sends back every frame of ours, and tells how many it saw when it is asked. */
const ECHO = `
  const port = await vhost.NetPort.open({ tap: process.argv[1] });
  let seen = 0;
  const ours = ({ bytes }) => bytes[12] === 0x88 && bytes[13] === 0xb5;
  port.onFrames((frames) => {
    // Copies: they may wait for room.
    const list = frames.filter(ours).map(({ bytes }) => bytes.slice());
    seen += list.length;
    void port.send(list);
  });
  process.stdin.on('data', () => console.log(JSON.stringify({ seen, ...port.counters })));
  console.log('open');
`;

class Echo {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #lines: string[] = [];
  ended = false;

  constructor(name: string) {
    const source = `import * as vhost from '${BUILT}';\n${ECHO}`;
    this.process = spawn(process.execPath, ['--input-type=module', '-e', source, name]);
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#lines.push(...text.trim().split('\n'));
    });
    this.process.stderr.pipe(process.stderr);
    this.process.on('exit', () => {
      this.ended = true;
    });
    cleanup(async () => {
      this.process.kill('SIGKILL');
      await until(() => this.ended, 'the process ends');
    });
  }

  async line(): Promise<string> {
    await until(() => this.#lines.length > 0, 'the process says something');
    return this.#lines.shift() as string;
  }

  async counts(): Promise<{ seen: number; rxFrames: number; txFrames: number }> {
    this.process.stdin.write('?');
    return JSON.parse(await this.line());
  }
}

/** The wire's end: sends frames in order, whether they are taken or not, and reads the answers. */
class Load {
  readonly wire: Wire;
  sent = 0;
  /** The numbers of the frames that came back, as they came. */
  readonly answers: number[] = [];

  constructor(name: string) {
    this.wire = new Wire(name);
    cleanup(() => this.wire.close());
  }

  step(count: number): void {
    for (let i = 0; i < count; i++) {
      const frame = makeFrame(LENGTH, this.sent);
      this.sent += this.wire.socket.send(frame, LENGTH, Uint32Array.of(LENGTH), 1);
    }
    for (let frames = this.wire.read(); frames.length > 0; frames = this.wire.read()) {
      for (const bytes of frames) this.answers.push(sequenceOf(bytes));
    }
  }

  /** Sends `count` frames at a time until `more` answers have come. */
  async answered(more: number, count: number): Promise<void> {
    const wanted = this.answers.length + more;
    const come = () => {
      this.step(count);
      return this.answers.length >= wanted;
    };
    await until(come, `${more} answers`);
  }

  async run(ms: number, count: number): Promise<void> {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(10)) this.step(count);
  }
}

async function echoOn(name: string): Promise<{ echo: Echo; load: Load }> {
  const echo = new Echo(name);
  expect(await echo.line()).toBe('open');
  hush(name);
  return { echo, load: new Load(name) };
}

/** Workers of vhost: tasks of the process since Linux 6.4, threads of the kernel before. */
function workersOf(pid: number): string[] {
  const folders = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        return readdirSync(`/proc/${entry}/task`).map((task) => `/proc/${entry}/task/${task}`);
      } catch {
        return [];
      }
    });
  return folders.filter((folder) => {
    try {
      return readFileSync(`${folder}/comm`, 'utf8').startsWith(`vhost-${pid}`);
    } catch {
      return false;
    }
  });
}

describe('a process that is killed under load', () => {
  test('leaves no TAP, no worker and no socket', async () => {
    const name = tapName();
    const { echo, load } = await echoOn(name);
    const { pid } = echo.process as { pid: number };
    await load.answered(500, 8);
    echo.process.kill('SIGKILL');
    await until(() => echo.ended, 'the process ends');
    await until(() => !exists(name), 'the TAP is gone');
    await until(() => workersOf(pid).length === 0, 'the worker is gone');
    // The name is free, and works.
    await openPort({ tap: name });
  });

  test('leaves a TAP that persists as it was, for the next port', async () => {
    const name = tapName();
    const tap = Tap.open(name);
    tap.setPersist(true);
    await tap.closeAsync();
    cleanup(async () => {
      const last = Tap.open(name);
      last.setPersist(false);
      await last.closeAsync();
    });
    for (let round = 0; round < 2; round++) {
      const { echo, load } = await echoOn(name);
      const { pid } = echo.process as { pid: number };
      await load.answered(500, 8);
      echo.process.kill('SIGKILL');
      await until(() => echo.ended, 'the process ends');
      await until(() => workersOf(pid).length === 0, 'the worker is gone');
      expect(exists(name)).toBe(true);
    }
  });
});

test('a process that is stopped for a minute under load goes on, in order, and loses only what its TAP dropped', async () => {
  const name = tapName();
  const { echo, load } = await echoOn(name);
  await load.answered(500, 8);
  echo.process.kill('SIGSTOP');
  await load.run(60_000, 1);
  const dropped = () => statistic(name, 'tx_dropped');
  const droppedWhileStopped = dropped();
  echo.process.kill('SIGCONT');
  await load.answered(1000, 1);
  // The last ones come, too.
  await sleep(500);
  load.step(0);
  const counts = await echo.counts();
  expect(load.answers.length).toBe(counts.seen);
  expect(counts.seen + dropped()).toBe(load.sent);
  expect(droppedWhileStopped).toBeGreaterThan(0);
  const { answers } = load;
  expect(answers.every((sequence, i) => i === 0 || sequence > (answers[i - 1] as number))).toBe(
    true,
  );
}, 180_000);
