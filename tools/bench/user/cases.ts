/** All that `npm run bench:user` measures, in order. */
import type { Case } from '../cases/case.js';
import { caseName, type Load, measureLoad } from '../cases/throughput.js';
import type { Effort } from '../options.js';
import { compare, type Result } from '../report.js';
import { interleave } from '../stage.js';
import { idleCase } from './idle.js';
import { SocketLane, type Who } from './lane.js';
import type { End, Flow } from './mover.js';

const LENGTHS = [64, 1514];

/** Every case; for `quick` those alone that the targets name, and the library as it waits by itself: asleep. */
export function userCases(quick: boolean): Case[] {
  const batches = quick ? [32] : [32, 256];
  const flows = LENGTHS.flatMap((length): [End, Flow][] => [
    ...batches.map((batch): [End, Flow] => ['front end', { direction: 'send', length, batch }]),
    ['front end', { direction: 'receive', length, batch: 32 }],
    ['back end', { direction: 'receive', length, batch: 32 }],
    ...(quick ? [] : [['back end', { direction: 'send', length, batch: 32 }] as [End, Flow]]),
  ]);
  const sockets = flows.map(([end, flow]) => socketCase(end, flow));
  return [...sockets, ...inProcessCases(quick), idleCase()];
}

function socketCase(end: End, flow: Flow): Case {
  const { direction, length, batch } = flow;
  const name = `${end} ${direction} ${length} B batch ${batch}`;
  return { name, run: ({ effort }) => measureSocket(name, end, flow, effort) };
}

/** DPDK is the last. A port has no other way than to hand out what came as it comes. */
function waysOf(end: End, { direction }: Flow, quick: boolean): readonly Who[] {
  const only = quick || (end === 'front end' && direction === 'receive');
  return only ? ['sleeping', 'testpmd'] : ['sleeping', 'polling', 'testpmd'];
}

async function measureSocket(
  name: string,
  end: End,
  flow: Flow,
  { rounds, roundMs, warmUpMs, quick }: Effort,
): Promise<Result[]> {
  const lanes: SocketLane[] = [];
  try {
    for (const who of waysOf(end, flow, quick)) lanes.push(await SocketLane.open(who, end));
    for (const lane of lanes) await lane.measure(flow, lane.who === 'testpmd' ? roundMs : warmUpMs);
    const rates = lanes.map((): number[] => []);
    await interleave(lanes, quick ? rounds : 4 * rounds + 1, async (lane, index) => {
      rates[index]?.push(await lane.measure(flow, roundMs));
    });
    const baseline = { name: 'testpmd', values: rates.pop() ?? [] };
    return rates.flatMap((values, index) => {
      const which = lanes[index]?.who === 'polling' ? `${name}, polling` : name;
      return compare({ ...RATE, case: which }, { name: 'vhost-net', values }, [baseline]);
    });
  } finally {
    for (const lane of lanes) lane.end();
  }
}

const RATE = { metric: 'frames per second', unit: 'frames/s', better: 'more' } as const;

/** Frames between a port and a TAP by way of this process, beside `fs` on the TAP. */
function inProcessCases(quick: boolean): Case[] {
  const loads = (quick ? [64] : LENGTHS).flatMap((length) =>
    (['send', 'receive'] as const).map(
      (direction): Load => ({ direction, length, batch: 32, pairs: 1 }),
    ),
  );
  return loads.map((load) => {
    const name = `in-process ${caseName(load)}`;
    return { name, run: (stage) => measureLoad(name, load, ['inProcess', 'fs'], stage) };
  });
}
