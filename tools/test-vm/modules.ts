/** Which modules the guest loads, and in which order: modules.dep(5) and modules.builtin. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { VmError } from './errors.js';

/** Without these there is no file system and no way to run a command. */
export const BOOT_MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'];

/** What the tests use; a kernel that lacks one still boots. */
export const TEST_MODULES = [
  'af_packet',
  'tun',
  'tap',
  'vhost_net',
  'macvtap',
  'virtio_net',
  'virtio_mmio',
  'virtio_blk',
  'vhost_vsock',
  'veth',
  'bridge',
  'dummy',
];

/** Nested KVM, of which the guest loads the one its processor has. */
export const KVM_MODULES = ['kvm_amd', 'kvm_intel'] as const;

/** By module; a dummy interface nobody asked for would be in every test's way. */
const PARAMETERS: Record<string, string> = { dummy: 'numdummies=0' };

/** A line of a list in the guest's `/modules`: name and parameters. */
export function moduleLine(path: string): string {
  const name = moduleName(path);
  return `${name} ${PARAMETERS[name] ?? ''}`.trimEnd();
}

export interface ModuleIndex {
  /** Path, relative to the modules folder, by name. */
  paths: Map<string, string>;
  /** Names of what a module needs, by its name. */
  needs: Map<string, string[]>;
  builtin: Set<string>;
}

/** A module's name as the kernel has it: `kernel/arch/x86/kvm/kvm-amd.ko.xz` is `kvm_amd`. */
export function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(?:\.\w+)?$/, '')
    .replaceAll('-', '_');
}

export function parseIndex(dep: string, builtin: string): ModuleIndex {
  const index: ModuleIndex = { paths: new Map(), needs: new Map(), builtin: new Set() };
  for (const line of dep.split('\n')) {
    const [path, needs] = line.split(':');
    if (!path || needs === undefined) continue;
    index.paths.set(moduleName(path), path);
    // modules.dep lists what must be loaded last first.
    const names = needs.split(' ').filter(Boolean).map(moduleName);
    index.needs.set(moduleName(path), names.reverse());
  }
  for (const path of builtin.split('\n').filter(Boolean)) index.builtin.add(moduleName(path));
  return index;
}

/**
 * The paths to insert for `names`, each after what it needs and none twice; built-in ones need
 * nothing. `missing` are those the kernel has in neither form.
 */
export function loadOrder(
  index: ModuleIndex,
  names: readonly string[],
): { paths: string[]; missing: string[] } {
  const order = new Set<string>();
  const missing: string[] = [];
  const visit = (name: string) => {
    if (index.builtin.has(name)) return;
    const path = index.paths.get(name);
    if (path === undefined) {
      missing.push(name);
      return;
    }
    if (order.has(path)) return;
    for (const need of index.needs.get(name) ?? []) visit(need);
    order.add(path);
  };
  for (const name of names) visit(name.replaceAll('-', '_'));
  return { paths: [...order], missing };
}

/** What the guest loads, by the name of the list in its `/modules`, as paths in order. */
export type ModuleLists = Record<'boot' | 'rest' | (typeof KVM_MODULES)[number], string[]>;

/** `missing` are those without which there is no guest, and those that the user asked for. */
export function guestModules(
  index: ModuleIndex,
  extra: readonly string[],
): { lists: ModuleLists; missing: string[] } {
  const boot = loadOrder(index, BOOT_MODULES);
  const tests = loadOrder(index, TEST_MODULES);
  const asked = loadOrder(index, extra);
  const rest = new Set([...tests.paths, ...asked.paths]);
  for (const path of boot.paths) rest.delete(path);
  const [amd, intel] = KVM_MODULES;
  const lists = {
    boot: boot.paths,
    rest: [...rest],
    [amd]: loadOrder(index, [amd]).paths,
    [intel]: loadOrder(index, [intel]).paths,
  } satisfies ModuleLists;
  return { lists, missing: [...boot.missing, ...asked.missing] };
}

export async function readIndex(modulesDir: string): Promise<ModuleIndex> {
  const dep = await readFile(join(modulesDir, 'modules.dep'), 'utf8').catch(() => {
    throw new VmError(`${modulesDir} has no modules.dep: run depmod`);
  });
  const builtin = await readFile(join(modulesDir, 'modules.builtin'), 'utf8').catch(() => '');
  return parseIndex(dep, builtin);
}
