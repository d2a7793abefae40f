#!/usr/bin/env node
/** `npm test`: every layer from cheap to real, and one table of them all. */
import { Command, InvalidArgumentError } from 'commander';
import { NODE_LINES, type NodeLine, nodeBinary } from '../addon/node-lines.js';
import { columns } from '../cli/output.js';
import { progressOn } from '../test-vm/progress.js';
import { GUEST_PROGRAMS, guestFiles } from '../vmm/guest/guest-files.js';
import { inVm, lint, onHost } from './layers.js';
import { closingLine, failureLines, type LayerResult, tableRows, total } from './results.js';
import { runInSlots } from './slots.js';

const LAYERS = ['lint', 'unit', 'native', 'fuzz', 'package', 'peers', 'kernel', 'vmm'] as const;
type Layer = (typeof LAYERS)[number];
/** The layers that run under every line of Node. */
const ON_EVERY_NODE: readonly Layer[] = ['unit', 'native'];

/** What has the machine to itself: the peers poll, each a processor, and lose frames where they have to share it. */
const ALONE: readonly Layer[] = ['peers'];

/** The kernel lines that are supported, oldest first. */
const KERNELS = ['6.1', '6.12', '7.3'];
/** Those under which the VMM runs, the longer run first: it is another kernel's interface, and the outermost lines will do. */
const VMM_KERNELS = ['7.3', '6.1'];

interface Options {
  layer: Layer[];
  node: NodeLine[];
  kernel: string[];
  host?: boolean;
}

/** What is to be run, each a row of the table, from cheap to real. */
function jobs({ layer, node, kernel, host }: Options): (() => Promise<LayerResult>)[] {
  const lines = (otherwise: string[]) => (kernel.length > 0 ? kernel : otherwise);
  return LAYERS.filter((known) => layer.includes(known)).flatMap((name) => {
    if (name === 'lint') return [lint];
    if (ON_EVERY_NODE.includes(name)) return node.map((line) => () => onHost(name, line));
    if (host || !(name === 'kernel' || name === 'vmm')) return [() => onHost(name)];
    return lines(name === 'kernel' ? KERNELS : VMM_KERNELS).map((line) => () => inVm(name, line));
  });
}

/** What several jobs would download at once, or a machine that has no network to do it by. */
async function prepare({ layer, node, host }: Options): Promise<void> {
  if (layer.some((name) => ON_EVERY_NODE.includes(name))) {
    for (const line of node) await nodeBinary(line);
  }
  if (layer.includes('peers')) await guestFiles([], progressOn(process.stderr));
  if (layer.includes('vmm') && !host) await guestFiles(GUEST_PROGRAMS, progressOn(process.stderr));
}

/** Takes a value as often as it is given, where it is one of `choices`. */
const oneOf =
  <T extends string>(choices: readonly T[]) =>
  (value: string, before: T[]): T[] => {
    const choice = choices.find((each) => each === value);
    if (choice === undefined) throw new InvalidArgumentError(`There are ${choices.join(', ')}.`);
    return [...before, choice];
  };
const collect = (value: string, before: string[]) => [...before, value];

const program = new Command('test')
  .description('Runs the tests, from cheap to real.')
  .option('--layer <name>', 'only this layer; repeatable', oneOf(LAYERS), [])
  .option('--node <line>', 'only this line of Node; repeatable', oneOf(NODE_LINES), [])
  .option('--kernel <name>', 'only this kernel line or image; repeatable', collect, [])
  .option('--host', "the layers kernel and vmm on this machine's own kernel, as root")
  .parse();

const given = program.opts<Options>();
const chosen: Options = {
  ...given,
  layer: given.layer.length > 0 ? given.layer : [...LAYERS],
  node: given.node.length > 0 ? given.node : [...NODE_LINES],
};
await prepare(chosen);
const only = (take: (name: Layer) => boolean) =>
  jobs({ ...chosen, layer: chosen.layer.filter(take) });
const results = [
  ...(await runInSlots(
    only((name) => ALONE.includes(name)),
    1,
  )),
  ...(await runInSlots(only((name) => !ALONE.includes(name)))),
];

const lines = [...columns(tableRows(results)), ...failureLines(results), '', closingLine(results)];
process.stdout.write(`\n${lines.join('\n')}\n`);
const { failed, skipped } = total(results);
// In CI every test can run: one that is skipped there hides something.
if (failed > 0 || (process.env.CI && skipped > 0)) process.exitCode = 1;
