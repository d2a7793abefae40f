#!/usr/bin/env node
/** `npm test`: every layer from cheap to real, and one table of them all. */
import { Command, Option } from 'commander';
import { columns } from '../cli/output.js';
import { inVm, lint, onHost } from './layers.js';
import { closingLine, type LayerResult, tableRows, total } from './results.js';

const LAYERS = ['lint', 'unit', 'native', 'fuzz', 'kernel'] as const;
type Layer = (typeof LAYERS)[number];

/** The kernel lines that are supported, oldest first. */
const KERNELS = ['6.1', '6.12', '7.3'];

interface Options {
  layer: Layer[];
  kernel: string[];
  host?: boolean;
}

async function runLayers({ layer, kernel, host }: Options): Promise<LayerResult[]> {
  const results: LayerResult[] = [];
  for (const name of LAYERS.filter((known) => layer.includes(known))) {
    if (name === 'lint') results.push(await lint());
    else if (name !== 'kernel' || host) results.push(await onHost(name));
    else for (const line of kernel) results.push(await inVm(line));
  }
  return results;
}

const collect = (value: string, before: string[]) => [...before, value];

const program = new Command('test')
  .description('Runs the tests, from cheap to real.')
  .addOption(
    new Option('--layer <name>', 'only this layer; repeatable')
      .argParser((value: string, before: Layer[]) => [...before, value as Layer])
      .default([], LAYERS.join(', ')),
  )
  .option('--kernel <name>', 'only this kernel line or image; repeatable', collect, [])
  .option('--host', "the kernel layer on this machine's own vhost-net, as root")
  .parse();

const chosen = program.opts<Options>();
const unknown = chosen.layer.find((name) => !LAYERS.includes(name));
if (unknown !== undefined) {
  program.error(`error: there is no layer '${unknown}'; there are ${LAYERS.join(', ')}`);
}
const results = await runLayers({
  ...chosen,
  layer: chosen.layer.length > 0 ? chosen.layer : [...LAYERS],
  kernel: chosen.kernel.length > 0 ? chosen.kernel : KERNELS,
});

process.stdout.write(`\n${columns(tableRows(results)).join('\n')}\n\n${closingLine(results)}\n`);
const { failed, skipped } = total(results);
// In CI every test can run: one that is skipped there hides something.
if (failed > 0 || (process.env.CI && skipped > 0)) process.exitCode = 1;
