/** QEMU's command line. */
import type { BootImage } from './boot-image.js';
import { PORT } from './guest.js';
import { shareTag } from './job.js';

export interface Machine {
  accel: 'tcg' | 'kvm';
  /** MiB. */
  memory: number;
  cpus: number;
  /** What the kernel prints: all of it takes half a second. */
  console: 'errors' | 'all';
}

export const QEMU = 'qemu-system-x86_64';

/** File descriptors that QEMU inherits, by the port they serve. */
export const PORT_FD = { stdout: 3, stderr: 4, control: 5 } as const;

const KERNEL_ARGUMENTS = [
  'console=ttyS0',
  // A panic resets at once, which -no-reboot turns into QEMU's exit. A kernel that lost its way is no place for a
  // test's result, even where it would go on without the process that ran.
  'panic=-1',
  'oops=panic',
  // The rest is for speed: emulated, each of these costs a tenth of a second or more.
  'mitigations=off',
  'init_on_alloc=0',
  'audit=0',
  'apparmor=0',
  'tsc=reliable',
  'no_timer_check',
  'cryptomgr.notests',
  'i8042.nokbd',
  'i8042.noaux',
  'random.trust_cpu=on',
  'rcupdate.rcu_expedited=1',
];

export function qemuArguments(
  machine: Machine,
  boot: BootImage,
  jobDir: string,
  shares: readonly string[],
) {
  const accel =
    machine.accel === 'kvm'
      ? ['-accel', 'kvm', '-cpu', 'host']
      : ['-accel', 'tcg,thread=multi', '-cpu', 'max'];
  return [
    ...accel,
    ...['-M', 'q35,hpet=off,sata=off,usb=off,smbus=off', '-nodefaults', '-no-user-config'],
    ...['-smp', String(machine.cpus), '-m', String(machine.memory)],
    ...['-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', boot.kernel, '-initrd', boot.initrd],
    ...[
      '-append',
      [
        ...KERNEL_ARGUMENTS,
        ...(machine.console === 'errors' ? ['quiet'] : []),
        `test_vm.job=${jobDir}`,
      ].join(' '),
    ],
    ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ...shares.flatMap((path, number) => [
      '-virtfs',
      `local,path=${path.replaceAll(',', ',,')},mount_tag=${shareTag(number)},security_model=none,multidevs=remap`,
    ]),
    ...['-device', 'virtio-serial-pci'],
    ...(['stdout', 'stderr', 'control'] as const).flatMap((name) => [
      ...['-chardev', `socket,id=${name},fd=${PORT_FD[name]}`],
      ...['-device', `virtserialport,chardev=${name},nr=${PORT[name]},name=${name}`],
    ]),
  ];
}
