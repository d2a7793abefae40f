/** The second act of `npm run demo`, which does without vhost-net, as the demo runs it: in a namespace that ends with it. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { Run } from '../support/cli.js';

holdNothingLeaks();

const SCENARIO = fileURLToPath(new URL('../../dist/tools/demo/scenario.js', import.meta.url));
const KERNEL = /^\d+\.\d+(\.\d+)?/.exec(release())?.[0];
/** It takes no rights of the host's. */
const ALONE = process.getuid?.() === 0 ? ['--net'] : ['--net', '--map-root-user'];

/** The act; with `ping` that script is the system's. */
async function act(ping?: string) {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  if (ping !== undefined) {
    writeFileSync(join(folder, 'ping'), `#!/bin/sh\n${ping}\n`);
    chmodSync(join(folder, 'ping'), 0o755);
  }
  const env = { PATH: `${folder}:${process.env.PATH}` };
  const run = new Run('unshare', [...ALONE, process.execPath, SCENARIO, 'in-process'], { env });
  return { code: await run.exitCode(), stdout: run.stdout, stderr: run.stderr };
}

test('the system’s ping is answered through the in-process back end, v4 and v6', async () => {
  const { code, stdout, stderr } = await act();
  const last = `demo: 20/20 echo replies through the in-process back end on Linux ${KERNEL}`;
  expect(stdout.trimEnd().split('\n').at(-1), stderr).toBe(last);
  expect(code).toBe(0);
  expect(stdout).toMatch(/from 10\.77\.0\.2: icmp_seq=10/);
  expect(stdout).toMatch(/from fd77::2: icmp_seq=10/);
  expect(stdout).toMatch(/^rxFrames [1-9]\d* .* txFrames [1-9]\d* /m);
});

test.each([
  ['lack', 9, '18/20'],
  ['did not come from the back end', 10, '20/20'],
])('it fails where replies %s', async (_, received, shown) => {
  const { code, stdout } = await act(`echo 10 packets transmitted, ${received} received`);
  expect(stdout).toContain(`demo: ${shown} echo replies through the in-process back end`);
  expect(code).toBe(1);
});
