/** What `vhost-net backend` tells people. */
import { beforeEach, expect, test } from 'vitest';
import type { VhostUserDevice } from '../../lib/index.js';
import { terminalReporter } from '../../tools/cli/backend/reporter.js';

let written = '';
const reporter = terminalReporter((text) => {
  written += text;
});
/** Without the time of day. */
const lines = () => written.replaceAll(/^\d\d:\d\d:\d\d {2}/gm, '');

beforeEach(() => {
  written = '';
});

test('which TAP it serves, and who moves its frames, stands in the first line', () => {
  reporter.listening(['/run/a'], { tap: 'vnet0', backend: 'kernel' });
  reporter.listening(['/run/a', '/run/b'], {});
  expect(lines()).toBe(
    'serving /run/a, from vnet0 by /dev/vhost-net; Ctrl-C stops\nserving /run/a and /run/b; Ctrl-C stops\n',
  );
});

test('who connects does not say that it listens, and says once who is not there', () => {
  reporter.connecting(['/run/a'], {});
  reporter.waiting('/run/a');
  expect(lines()).toBe(
    'connecting to /run/a, again every second; Ctrl-C stops\n/run/a: nobody is there yet\n',
  );
});

test('an error brings what to do about it', () => {
  reporter.failed('/run/a', 'EACCES: permission denied', 'no rights to the socket');
  reporter.failed('/run/a', 'ring 1: broken');
  expect(lines()).toBe(
    '/run/a: EACCES: permission denied\n  hint: no rights to the socket\n/run/a: ring 1: broken\n',
  );
});

test('features have names', () => {
  reporter.started('/run/a', { features: 0x1_4000_0000n } as VhostUserDevice);
  expect(lines()).toBe('/run/a: started, VHOST_USER_F_PROTOCOL_FEATURES VIRTIO_F_VERSION_1\n');
});

test('the end has what was answered, and what was lost', () => {
  reporter.stopped('interrupted', { arp: 2, echo: 0, lost: 3 });
  reporter.stopped('interrupted', { arp: 0 });
  expect(lines()).toBe('stopped: interrupted; 2 arp, 3 lost\nstopped: interrupted\n');
});
