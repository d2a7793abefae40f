/** The options of `vhost-net backend`, and what it says when it begins. */
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { FrontEnd } from '../support/front-end.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

test('--help says what each option is by default, in words', async () => {
  const run = cli(['backend', '--help']);
  expect(await run.exitCode()).toBe(0);
  expect(run.stdout.replace(/\s+/g, ' ')).toContain(
    '--mac <MAC> with responder: its hardware address (default: 02:00:00:00:00:01)',
  );
  expect(run.stdout).not.toContain('{');
});

test.each([
  [
    'an address with what has none',
    'pcap:/dev/null',
    '52:54:00:12:34:56',
    /--mac goes with --to responder:/,
  ],
  ['an address with a TAP', 'tap:vnet0', '52:54:00:12:34:56', /--mac goes with --to responder:/],
  [
    'the address of a group',
    'responder:10.0.0.2',
    '01:00:5e:00:00:01',
    /of one card, not of a group/,
  ],
  ['the address of all', 'responder:10.0.0.2', 'ff:ff:ff:ff:ff:ff', /of one card, not of a group/],
  ['an address that is none', 'responder:10.0.0.2', '52:54', /52:54:00:12:34:56/],
])('%s is wrong usage', async (_, to, mac, reason) => {
  const run = cli(['backend', '--socket', socketPath(), '--to', to, '--mac', mac]);
  expect({ code: await run.exitCode(), stdout: run.stdout }).toEqual({ code: 2, stdout: '' });
  expect(run.stderr).toMatch(reason);
});

test('features are named, the one of the protocol too', async () => {
  const path = socketPath();
  const run = cli(['backend', '--socket', path, '--to', 'responder:10.0.0.2']);
  await run.line('listening');
  await new FrontEnd(path).bringUp();
  expect(await run.line('started')).toMatchObject({
    features: {
      mask: '0x140000000',
      names: ['VHOST_USER_F_PROTOCOL_FEATURES', 'VIRTIO_F_VERSION_1'],
    },
  });
});
