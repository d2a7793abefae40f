/** How `broker` tells what it does: a line for each client on a terminal, JSON lines otherwise. */
import type { AllowEntry, BrokerGrant, BrokerRefusal } from '../../../lib/index.js';
import { printable } from '../printable.js';

export interface Listening {
  socket: string;
  allow: readonly AllowEntry[];
  maxQueues: number;
}

export interface BrokerReporter {
  listening(what: Listening): void;
  granted(grant: BrokerGrant): void;
  refused(refusal: BrokerRefusal): void;
  stopped(reason: string): void;
}

export function jsonReporter(write: (text: string) => void): BrokerReporter {
  const line = (event: string, fields: object) =>
    write(`${JSON.stringify({ event, time: new Date().toISOString(), ...fields })}\n`);
  return {
    listening: (what) => line('listening', what),
    granted: (grant) => line('granted', grant),
    refused: (refusal) => line('refused', refusal),
    stopped: (reason) => line('stopped', { reason }),
  };
}

export function terminalReporter(write: (text: string) => void): BrokerReporter {
  // A client chooses what it asks for: nothing of it may steer the terminal.
  const line = (text: string) =>
    write(`${new Date().toLocaleTimeString('en-GB')}  ${printable(text)}\n`);
  const who = ({ peer }: { peer: BrokerGrant['peer'] }) => `uid ${peer.uid}, pid ${peer.pid}`;
  const pairs = (queues: number) => `${queues} queue pair${queues === 1 ? '' : 's'}`;
  return {
    listening({ socket, allow }) {
      write(`listening on ${socket}; Ctrl-C stops\n`);
      for (const { uid, taps } of allow) write(`uid ${uid} may have queues of ${taps}\n`);
    },
    granted(grant) {
      const { tap, queues, created } = grant;
      line(`granted ${pairs(queues)} of ${tap}${created ? ' (created)' : ''} to ${who(grant)}`);
    },
    refused: (refusal) => line(`refused ${who(refusal)}: ${refusal.reason}`),
    stopped: (reason) => line(`stopped: ${reason}`),
  };
}
