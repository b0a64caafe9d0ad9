// Participants for load over gRPC: answer every branch call with OK and an empty message at once, as
// cheaply as Node can (straight on HTTP/2).
//
// Run as its own process: prints "listening PORT", serves until its standard input closes.

import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** The five bytes before every message of gRPC; the message has none. */
const EMPTY = Buffer.alloc(5);

const server = createServer();
server.on('stream', (stream) => {
  stream.on('error', () => undefined);
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.on('end', () => {
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.end(EMPTY);
  });
  stream.resume();
});
server.listen(0, '127.0.0.1', () => {
  console.log(`listening ${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().on('end', () => process.exit(0));
