import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  Broker,
  type BrokerGrant,
  type BrokerOptions,
  type BrokerRefusal,
} from '../../lib/index.js';
import { runChild } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { tapName, until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

const NOBODY = 65534;
const exists = (name: string) => existsSync(`/sys/class/net/${name}`);

interface Served {
  path: string;
  granted: BrokerGrant[];
  refused: BrokerRefusal[];
}

/** A broker in this process, which is root's. */
function serve(options: Partial<BrokerOptions> & Pick<BrokerOptions, 'allow'>): Served {
  const broker = Broker.listen({ path: socketPath(), ...options });
  cleanup(() => broker.close());
  const served: Served = { path: broker.path, granted: [], refused: [] };
  broker.on('granted', (grant) => served.granted.push(grant));
  broker.on('refused', (refusal) => served.refused.push(refusal));
  return served;
}

/** Runs the body of a module as nobody, with `path` and `tap`, and what it shows as JSON. */
async function asNobody(body: string, path: string, tap: string): Promise<unknown> {
  const { code, stdout, stderr } = await runChild(
    `const [path, tap] = process.argv.slice(1);
     const show = (value) => console.log(JSON.stringify(value));
     const { requestQueues } = vhost;
     ${body}`,
    { uid: NOBODY, args: [path, tap] },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

describe('a process without rights', () => {
  test('gets a TAP queue and a vhost device that is its own to use', async () => {
    const tap = tapName();
    const { path, granted, refused } = serve({ allow: [{ uid: NOBODY, taps: tap }], mtu: 1400 });
    const seen = await asNobody(
      `
      const [pair] = await requestQueues(path, tap);
      await pair.vhost.setOwner();
      show({
        uid: process.getuid(),
        name: pair.tap.name,
        header: pair.tap.hasVnetHeader,
        up: pair.tap.interface.up,
        mtu: pair.tap.interface.mtu,
        features: pair.vhost.getFeatures() !== 0n,
      });
      await pair.vhost.closeAsync();
      pair.tap.close();
      `,
      path,
      tap,
    );
    expect(seen).toEqual({
      uid: NOBODY,
      name: tap,
      header: true,
      up: true,
      mtu: 1400,
      features: true,
    });
    expect(granted).toMatchObject([
      { peer: { uid: NOBODY, gid: NOBODY }, tap, queues: 1, created: true },
    ]);
    expect(refused).toEqual([]);
    await until(() => !exists(tap), 'the TAP goes with its last queue');
  });
});
