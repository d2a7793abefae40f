#!/usr/bin/env node
/** `npm run bench:vmm [ROUNDS]`: the same guest in our VMM and in QEMU, side by side. */
import { progressOn } from '../../test-vm/progress.js';
import { guestFiles } from '../guest/guest-files.js';
import { runNested } from '../nested.js';

await guestFiles([], progressOn(process.stderr));
const scenario = new URL('./scenario.js', import.meta.url);
process.exitCode = await runNested('bench:vmm', scenario, process.argv.slice(2));
