/** A broker of this process's, which is root's, and clients that are nobody's. */
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import {
  Broker,
  type BrokeredPair,
  type BrokerGrant,
  type BrokerOptions,
  type BrokerRefusal,
} from '../../lib/index.js';
import { runChild } from './child.js';
import { cleanup } from './cleanup.js';
import { socketPath } from './sockets.js';

export const ROOT = 0;
export const NOBODY = 65534;

export const exists = (tap: string) => existsSync(`/sys/class/net/${tap}`);

export interface Served {
  broker: Broker;
  path: string;
  /** What it did so far. */
  granted: BrokerGrant[];
  refused: BrokerRefusal[];
}

/** Serves until the test is over. */
export function serve(options: Partial<BrokerOptions> & Pick<BrokerOptions, 'allow'>): Served {
  const broker = Broker.listen({ path: socketPath(), ...options });
  cleanup(() => broker.close());
  const served: Served = { broker, path: broker.path, granted: [], refused: [] };
  broker.on('granted', (grant) => served.granted.push(grant));
  broker.on('refused', (refusal) => served.refused.push(refusal));
  return served;
}

/**
 * Runs the body of a module in a process of nobody's, and returns what it gives to `show`. It has the
 * library as `vhost`, the broker's `path`, and the name `tap`.
 */
export async function asNobody(body: string, path: string, tap: string): Promise<unknown> {
  const { code, stdout, stderr } = await runChild(
    `const [path, tap] = process.argv.slice(1);
     const show = (value) => console.log(JSON.stringify(value));
     const { requestQueues } = vhost;
     const codeOf = async (call) => {
       try { await call(); return 'none'; } catch (error) { return error.code; }
     };
     ${body}`,
    { uid: NOBODY, args: [path, tap] },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** Closes the pairs when the test is over. */
export function kept(pairs: readonly BrokeredPair[]): readonly BrokeredPair[] {
  cleanup(() => {
    for (const { tap, vhost } of pairs) {
      vhost.close();
      tap.close();
    }
  });
  return pairs;
}
