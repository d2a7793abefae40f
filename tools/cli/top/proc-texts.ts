/** What the texts of /proc say. Each reader takes a file's content. */

/** Of /proc/PID/stat: the name is in brackets, and may hold brackets itself. */
export function statOf(text: string): { name: string; parent: number; startTime: number } {
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  return {
    name: text.slice(text.indexOf('(') + 1, end),
    parent: Number(fields[1]),
    // In ticks since the machine began; the fields behind the name count from the third.
    startTime: Number(fields[19]),
  };
}

/** Of /proc/PID/fdinfo/FD of a TUN/TAP queue: its interface, unless it has none. */
export function interfaceOf(text: string): string | undefined {
  return /^iff:\t(.+)$/m.exec(text)?.[1];
}

/** Of /proc/PID/schedstat: nanoseconds that a thread ran. */
export function runTimeOf(text: string): number {
  return Number(text.split(' ', 1)[0]);
}

/** What an interface counted, as its host sees it. */
export interface DeviceCounters {
  rxBytes: number;
  rxFrames: number;
  rxDropped: number;
  txBytes: number;
  txFrames: number;
  txDropped: number;
}

/** Of /proc/PID/net/dev: the counters of each interface of the process's namespace. */
export function devicesOf(text: string): Map<string, DeviceCounters> {
  const devices = new Map<string, DeviceCounters>();
  for (const line of text.split('\n').slice(2)) {
    const [name, values] = line.split(':');
    if (name === undefined || values === undefined) continue;
    const numbers = values.trim().split(/\s+/).map(Number);
    const at = (i: number) => numbers[i] ?? 0;
    devices.set(name.trim(), {
      rxBytes: at(0),
      rxFrames: at(1),
      rxDropped: at(3),
      txBytes: at(8),
      txFrames: at(9),
      txDropped: at(11),
    });
  }
  return devices;
}

/** Of the name of a vhost worker: the thread that called VHOST_SET_OWNER. */
export function vhostOwnerOf(name: string): number | undefined {
  const owner = /^vhost-(\d+)$/.exec(name)?.[1];
  return owner === undefined ? undefined : Number(owner);
}
