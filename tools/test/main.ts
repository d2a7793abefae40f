#!/usr/bin/env node
/** `npm test`: every layer from cheap to real, and one table of them all. */
import { Command, InvalidArgumentError } from 'commander';
import { NODE_LINES, type NodeLine } from '../addon/node-lines.js';
import { columns } from '../cli/output.js';
import { inVm, lint, onHost, onNodeLines, vmmInVms } from './layers.js';
import { closingLine, type LayerResult, tableRows, total } from './results.js';

const LAYERS = ['lint', 'unit', 'native', 'fuzz', 'package', 'kernel', 'vmm'] as const;
type Layer = (typeof LAYERS)[number];
/** The layers that run under every line of Node. */
const ON_EVERY_NODE: readonly Layer[] = ['unit', 'native'];

/** The kernel lines that are supported, oldest first. */
const KERNELS = ['6.1', '6.12', '7.3'];
/** Those under which the VMM runs: it is another kernel's interface, and the outermost lines will do. */
const VMM_KERNELS = ['6.1', '7.3'];

interface Options {
  layer: Layer[];
  node: NodeLine[];
  kernel: string[];
  host?: boolean;
}

async function runLayers({ layer, node, kernel, host }: Options): Promise<LayerResult[]> {
  const results: LayerResult[] = [];
  for (const name of LAYERS.filter((known) => layer.includes(known))) {
    if (name === 'lint') results.push(await lint());
    else if (ON_EVERY_NODE.includes(name)) {
      results.push(...(await onNodeLines(name, node)));
    } else if (!(name === 'kernel' || name === 'vmm') || host) results.push(await onHost(name));
    else if (name === 'vmm') {
      results.push(...(await vmmInVms(kernel.length > 0 ? kernel : VMM_KERNELS)));
    } else {
      for (const line of kernel.length > 0 ? kernel : KERNELS) {
        results.push(await inVm('kernel', line));
      }
    }
  }
  return results;
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

const chosen = program.opts<Options>();
const results = await runLayers({
  ...chosen,
  layer: chosen.layer.length > 0 ? chosen.layer : [...LAYERS],
  node: chosen.node.length > 0 ? chosen.node : [...NODE_LINES],
});

process.stdout.write(`\n${columns(tableRows(results)).join('\n')}\n\n${closingLine(results)}\n`);
const { failed, skipped } = total(results);
// In CI every test can run: one that is skipped there hides something.
if (failed > 0 || (process.env.CI && skipped > 0)) process.exitCode = 1;
