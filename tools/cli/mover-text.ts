/** Who moves the frames of a port, in words. */
import { existsSync } from 'node:fs';

/** Of the name of a {@link NetPort.backend}. Why it is not the kernel is said. */
export function moverText(backend: string): string {
  if (backend === 'kernel') return '/dev/vhost-net';
  if (backend === 'vhost-user') return 'a vhost-user back end';
  const why = existsSync('/dev/vhost-net') ? 'as asked' : 'no /dev/vhost-net here';
  return `the ${backend} back end (${why})`;
}
