/** `vhost-net backend` killed and started again in front of Linux, which goes on; and what it holds when QEMU ended. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli, type Run } from '../support/cli.js';
import { until } from '../support/host.js';
import { HOST, PEER } from '../support/ping.js';
import { LinuxGuest } from '../support/qemu-linux.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

/** What a process holds: descriptors but for pipes, by their kind, and files of memory. */
function held({ child: { pid } }: Run): string {
  const folder = `/proc/${pid}/fd`;
  const files = readdirSync(folder).map((fd) => readlinkSync(`${folder}/${fd}`));
  const mapped = readFileSync(`/proc/${pid}/maps`, 'utf8').match(/\/memfd:\S+/g) ?? [];
  const kinds = [...files, ...mapped].map((name) => name.replace(/:\[\d+\]$/, ''));
  return kinds
    .filter((name) => name !== 'pipe')
    .sort()
    .join('\n');
}

test.each([
  ['QEMU comes to again', []],
  ['comes to a QEMU that listens', ['--connect']],
])('a ping goes on when the back end was killed, with the next, which %s', async (_, how) => {
  const path = socketPath();
  const start = () =>
    cli(['backend', '--socket', path, '--to', `responder:${PEER.ipv4}`, '--json', ...how]);
  const server = how.length > 0;
  const begun = server ? 'connecting' : 'listening';
  const first = start();
  await first.line(begun);
  const before = held(first);
  const guest = await LinuxGuest.boot({ path, server });
  await guest.configure(HOST.ipv4);
  await guest.startPinging(PEER.ipv4);
  await guest.answered(5);

  first.child.kill('SIGKILL');
  await first.ended;
  const second = start();
  await second.line(begun);
  await second.line('started');
  await guest.answered(10);
  expect(held(second)).not.toBe(before);

  await guest.process.kill();
  await second.line('disconnected');
  await until(() => held(second) === before, `it holds what it held before: ${before}`);
  second.child.kill('SIGINT');
  expect(await second.exitCode()).toBe(0);
  expect(second.lines.filter(({ event, error }) => event === 'failed' || error)).toEqual([]);
  expect(existsSync(path)).toBe(server);
});
