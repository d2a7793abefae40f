import { existsSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { CLI, cli, Run } from '../support/cli.js';
import { tapName, until } from '../support/host.js';

holdNothingLeaks();

interface PortLine {
  tap: string;
  pid: number;
  program: string;
  queues: number;
  workers: number;
  vhostCpu: number | null;
  rates: Record<string, number> | null;
  pairs: Record<string, number>[] | null;
}

const fileOf = (run: Run) => `/run/vhost-net-stats/${run.child.pid}.json`;

/** A port in a process of its own that sends as fast as it can, and has published that. */
async function sending(queues: number): Promise<{ run: Run; name: string }> {
  const name = tapName();
  const args = ['attach', name, '--forward-mode', 'txonly', '--queues', String(queues)];
  const run = cli(args);
  await run.line('stats');
  await until(() => existsSync(fileOf(run)), 'it publishes');
  // It would leave a lone processor to nobody else: what looks at it starts for a minute then.
  setPriority(run.child.pid as number, constants.priority.PRIORITY_LOW);
  return { run, name };
}

/** What `top` says, a list of ports for each look. */
async function top(args: readonly string[]): Promise<PortLine[][]> {
  const run = cli(['top', '--json', ...args]);
  expect(await run.exitCode()).toBe(0);
  expect(run.stderr).toBe('');
  return (run.lines as unknown as { ports: PortLine[] }[]).map(({ ports }) => ports);
}

describe('top --json', () => {
  test('sees the frames, the workers and the rings of a port in another process', async () => {
    const { run, name } = await sending(2);
    const looks = await top(['--count', '3', name]);
    expect(looks).toHaveLength(3);
    const [port, ...others] = looks[2] as PortLine[];
    expect(others).toEqual([]);
    expect(port).toMatchObject({ tap: name, pid: run.child.pid, queues: 2, workers: 2 });
    expect(port?.rates?.txFrames).toBeGreaterThan(0);
    expect(port?.rates?.txBits).toBeGreaterThan(64 * 8);
    expect(port?.vhostCpu).toBeGreaterThan(0);
    expect(port?.pairs).toHaveLength(2);
    for (const pair of port?.pairs ?? []) {
      expect(pair.txFrames).toBeGreaterThan(0);
      expect(pair.kicksPerFrame).toBeLessThan(1);
      expect(pair.txFill).toBeLessThanOrEqual(1);
    }
    run.child.kill('SIGINT');
    expect(await run.exitCode()).toBe(0);
    expect(existsSync(fileOf(run))).toBe(false);
  });

  test('believes nothing that a killed process left behind, and the next one takes it away', async () => {
    const { run, name } = await sending(1);
    run.child.kill('SIGKILL');
    await run.ended;
    expect(existsSync(fileOf(run))).toBe(true);
    expect(await top(['--count', '1', '--interval', '0.1', name])).toEqual([[]]);
    const next = await sending(1);
    expect(existsSync(fileOf(run))).toBe(false);
    next.run.child.kill('SIGINT');
    expect(await next.run.exitCode()).toBe(0);
  });
});

test('on a pipe it prints a head, and a line for each port and pair', async () => {
  const { run, name } = await sending(1);
  const printed = cli(['top', name, '--count', '2']);
  expect(await printed.exitCode()).toBe(0);
  const lines = printed.stdout.trimEnd().split('\n');
  expect(lines[0]).toMatch(/^TIME +TAP +PID +VHOST% +RX FRAME\/s/);
  expect(lines.filter((line) => line.includes(`${name} node`))).toHaveLength(2);
  expect(lines.filter((line) => line.includes(' pair 0 '))).toHaveLength(2);
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
});

describe('on a terminal', () => {
  const LEAVE = '\x1b[?25h\x1b[?1049l';
  function onTerminal(args: string): Run {
    const command = `stty cols 70 rows 10; exec ${process.execPath} ${CLI} top ${args}`;
    return new Run('script', ['-qec', command, '/dev/null']);
  }

  test('it draws lines that do not wrap, gives the terminal back, and leaves the last table', async () => {
    const { run, name } = await sending(1);
    const shown = onTerminal(`${name} --count 2`);
    expect(await shown.exitCode()).toBe(0);
    expect(shown.stdout.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true);
    const [drawn = '', left = ''] = shown.stdout.split(LEAVE);
    const lines = drawn.slice(drawn.lastIndexOf('\x1b[H') + 3).split('\x1b[K');
    for (const line of lines) expect(line.trim().length).toBeLessThan(70);
    expect(left).toContain(name);
    run.child.kill('SIGINT');
    expect(await run.exitCode()).toBe(0);
  });

  test('Ctrl-C gives the terminal back too', async () => {
    const shown = onTerminal('--interval 0.2');
    await until(() => shown.stdout.includes('\x1b[H'), 'it draws');
    const { pid } = shown.child;
    const command = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    process.kill(command, 'SIGINT');
    await shown.ended;
    expect(shown.stdout).toContain(LEAVE);
  });
});
