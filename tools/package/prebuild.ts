#!/usr/bin/env node
/** Makes the binaries that the package has inside; `npm pack` runs it first. */
import { cpSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ADDON, buildAddon, ROOT } from '../addon/build.js';
import { ARCHITECTURES } from '../addon/node-lines.js';

for (const arch of ARCHITECTURES) {
  const folder = await buildAddon({ name: `prebuild-${arch}`, arch, flags: ['-s'] });
  const binary = join(ROOT, 'prebuilds', `linux-${arch}`, 'vhost_net.node');
  mkdirSync(dirname(binary), { recursive: true });
  cpSync(join(folder, ADDON), binary);
}
