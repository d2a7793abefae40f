/** `vhost-net attach --socket`: the command on the socket of a testpmd. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { until } from '../support/host.js';
import { peerFolder } from '../support/peer-process.js';
import { Testpmd, vhostPort } from '../support/testpmd.js';

holdNothingLeaks();

const socket = () => join(peerFolder(), 'be.sock');

test('rxonly counts what a testpmd sends, and txonly is counted by it', async () => {
  const path = socket();
  const testpmd = await Testpmd.start({ port: vhostPort(path), forward: 'rxonly' });
  const sending = cli(['attach', '--socket', path, '--forward-mode', 'txonly', '--count', '5000']);
  expect(await sending.exitCode(), sending.stderr).toBe(0);
  expect(await sending.line('attached')).toMatchObject({ socket: path, forwardMode: 'txonly' });
  const { socket: name, counters } = await sending.line('detached');
  expect({ name, counters }).toMatchObject({ name: path, counters: { txFrames: 5000 } });
  await testpmd.statsOnce(({ rxPackets }) => rxPackets === 5000);
  await testpmd.command('stop');
  await testpmd.command('set fwd txonly');
  const receiving = cli([
    'attach',
    '--socket',
    path,
    '--forward-mode',
    'rxonly',
    '--count',
    '2000',
  ]);
  await receiving.line('attached');
  await testpmd.command('start');
  expect(await receiving.exitCode(), receiving.stderr).toBe(0);
  const got = (await receiving.line('detached')).counters as { rxFrames: number };
  expect(got.rxFrames).toBeGreaterThanOrEqual(2000);
  await testpmd.stop();
});

test('a command that listens is come to, tells when its back end goes, and goes on with the next', async () => {
  const path = socket();
  const run = cli(['attach', '--socket', path, '--listen', '--respond', '10.0.0.2']);
  await until(() => run.child.exitCode !== null || existsSync(path), 'it listens');
  const client = { port: vhostPort(path, { more: ',client=1' }), start: false };
  const testpmd = await Testpmd.start(client);
  await run.line('attached');
  await testpmd.kill();
  expect(await run.line('link')).toMatchObject({ socket: path, up: false });
  await Testpmd.start(client);
  await until(() => run.lines.some(({ up }) => up === true), 'the link comes up');
  run.child.kill('SIGINT');
  expect(await run.exitCode(), run.stderr).toBe(0);
});
