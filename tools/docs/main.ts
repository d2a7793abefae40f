#!/usr/bin/env node
/** `npm run docs`: makes docs/errors.md and docs/api; with `--check` only says what is out of date. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorsPage } from './errors.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const ERRORS = join(ROOT, 'docs', 'errors.md');
const API = join(ROOT, 'docs', 'api');
const API_PAGE = 'README.md';

function makeApi(folder: string): void {
  const args = ['node_modules/typedoc/bin/typedoc', '--out', folder, '--logLevel', 'Warn'];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
  // It has said what is wrong.
  if (status !== 0) process.exit(1);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function outOfDate(): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-docs-'));
  try {
    makeApi(folder);
    const stale: string[] = [];
    if (read(join(folder, API_PAGE)) !== read(join(API, API_PAGE))) stale.push('docs/api');
    if (errorsPage() !== read(ERRORS)) stale.push('docs/errors.md');
    return stale;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv.includes('--check')) {
  const stale = outOfDate();
  if (stale.length > 0) {
    process.stderr.write(`out of date: ${stale.join(', ')}; run \`npm run docs\`\n`);
    process.exitCode = 1;
  }
} else {
  makeApi(API);
  writeFileSync(ERRORS, errorsPage());
}
