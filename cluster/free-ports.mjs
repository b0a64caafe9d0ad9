// Tries to listen where nodes are about to. Arguments: id,port,purpose … Says in one line which is the
// first that cannot be had, and fails.

import { once } from 'node:events';
import { createServer } from 'node:net';

for (const argument of process.argv.slice(2)) {
  const [id, port, purpose] = argument.split(',');
  const server = createServer();
  try {
    await once(server.listen({ host: '127.0.0.1', port: Number(port) }), 'listening');
  } catch (error) {
    const why =
      error.code === 'EADDRINUSE' ? 'EADDRINUSE, another process listens there' : error.code;
    console.log(`node ${id} cannot listen on 127.0.0.1:${port} (${purpose}): ${why}`);
    process.exit(1);
  }
  await once(server.close(), 'close');
}
