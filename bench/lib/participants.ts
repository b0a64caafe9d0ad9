// Participants for load: answer every branch call with 200 at once, as cheaply as Node can.
//
// Run as its own process: prints "listening PORT", serves until its standard input closes.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const ANSWER = Buffer.from('{"dtm_result":"SUCCESS"}');
const HEADERS = { 'content-type': 'application/json', 'content-length': ANSWER.length };
let calls = 0;

const server = createServer((request, response) => {
  if (request.url === '/calls') {
    response.end(String(calls));
    return;
  }
  calls += 1;
  request.resume();
  response.writeHead(200, HEADERS).end(ANSWER);
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  console.log(`listening ${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().on('end', () => process.exit(0));
