// @ts-check
/**
 * Formats the native sources in place, or with `--check` names those that are not formatted.
 *
 * `node tools/setup/clang-format.mjs [--check]`
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { content, filesBelow } from './stamp.mjs';
import { root } from './step.mjs';

const require = createRequire(import.meta.url);
const program = require('clang-format').getNativeBinary();
const check = process.argv.includes('--check');
const sources = /\.(?:cc?|hh?)$/;
let unformatted = 0;

for (const file of [...filesBelow('native', sources), ...filesBelow('tools', sources)]) {
  const { status, stdout, stderr } = spawnSync(program, check ? [file] : ['-i', file], {
    cwd: root,
  });
  if (status !== 0) {
    process.stderr.write(`${file}: clang-format failed\n${stderr ?? ''}`);
    process.exit(2);
  }
  if (check && !content(file)?.equals(stdout)) {
    process.stderr.write(`${file} is not formatted; npm run format does it\n`);
    unformatted++;
  }
}
process.exitCode = unformatted > 0 ? 1 : 0;
