/** How `attach` tells what happens to programs: a JSON line for each event, of one TAP or socket. */
import type { PortCounters } from '../../../lib/index.js';
import { round } from '../numbers.js';
import { type Reporter, SampleRates } from './reporter.js';

/** `stats`: whether to tell of each queue pair too. */
export function jsonReporter(
  write: (text: string) => void,
  { stats }: { stats: boolean },
): Reporter {
  const samples = new SampleRates();
  const line = (event: string, fields: object) =>
    write(`${JSON.stringify({ event, time: new Date().toISOString(), ...fields })}\n`);
  return {
    attached: (what) => line('attached', what),
    progress(ports, seconds) {
      const perSecond = samples.next(ports, seconds);
      for (const [i, { counters, pairs, ...names }] of ports.entries()) {
        const rates = perSecond[i] ?? { counters, pairs };
        line('stats', {
          ...names,
          seconds: round(seconds),
          counters,
          perSecond: withBits(rates.counters),
          ...(stats && {
            pairs: pairs.map((pair, n) => ({
              counters: pair,
              perSecond: withBits(rates.pairs[n] ?? pair),
            })),
          }),
        });
      }
    },
    link: (of, up) => line('link', { ...of, up }),
    detached({ reason, seconds, ports, answered, dropped }) {
      for (const { counters, pairs, ...names } of ports) {
        line('detached', {
          ...names,
          reason,
          seconds: round(seconds),
          counters,
          answered,
          ...(dropped !== undefined && { dropped }),
          ...(stats && { pairs: pairs.map((pair) => ({ counters: pair })) }),
        });
      }
    },
  };
}

function withBits(perSecond: PortCounters): PortCounters & { rxBits: number; txBits: number } {
  return {
    ...perSecond,
    rxBits: round(perSecond.rxBytes * 8),
    txBits: round(perSecond.txBytes * 8),
  };
}
