/** All that is measured on vhost-net, in order. */
import type { Case } from './case.js';
import { costCases } from './cost.js';
import { garbageCases } from './garbage.js';
import { latencyCases } from './latency.js';
import { throughputCases } from './throughput.js';

export function allCases(quick: boolean): Case[] {
  return [...throughputCases(quick), ...latencyCases(), ...costCases(quick), ...garbageCases()];
}
