/** Bytes between host and guest by HTTP: busybox's server sends whole files at once, as large as TCP will take. */
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import type { GuestShell } from './shell.js';

/** The guest's folder that its server shows. */
export const WWW = '/tmp/www';

/** Starts the guest's server; once for each boot. */
export async function serveFolder(shell: GuestShell): Promise<void> {
  await shell.run(`mkdir -p ${WWW}; httpd -p 80 -h ${WWW}`);
}

/** What the guest at `address` sends for a file of its folder. Throws where it has none. */
export async function download(address: string, name: string): Promise<IncomingMessage> {
  const request = get({ host: address, path: `/${name}`, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`the guest's server: ${response.statusCode}`);
  return response;
}

/**
 * Serves `body` once at `host`, and has the guest pipe it into `command`. Returns what that prints.
 * `limit`: milliseconds.
 */
export async function upload(
  shell: GuestShell,
  { host, body, command, limit }: { host: string; body: Readable; command: string; limit: number },
): Promise<string> {
  const server = createServer((_request, response) => {
    body.pipe(response);
  });
  server.listen(0, host);
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const { output } = await shell.run(`wget -q -O - http://${host}:${port}/ | ${command}`, limit);
    return output;
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
