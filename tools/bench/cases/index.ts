/** All that is measured on vhost-net, in order. */
import type { Case } from './case.js';
import { throughputCases } from './throughput.js';

export function allCases(quick: boolean): Case[] {
  return [...throughputCases(quick)];
}
