#!/usr/bin/env node
/**
 * `npm run demo:vmm`: on a host with vhost-net and a KVM that runs guests, in a private network namespace;
 * elsewhere inside the test VM, with nested KVM.
 */
import { progressOn } from '../../test-vm/progress.js';
import { guestFiles } from '../guest/guest-files.js';
import { runNested } from '../nested.js';

// Downloaded and unpacked here: a machine of its own has no network.
await guestFiles([], progressOn(process.stderr));
process.exitCode = await runNested('demo:vmm', new URL('./scenario.js', import.meta.url));
