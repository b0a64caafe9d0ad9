// Where connections come from. Plain TCP here; TLS takes this door later.

import { connect, createServer, type Server, type Socket } from 'node:net';

export interface SocketFactory {
  /** A socket that emits `connect` once it may be written to. */
  connect(host: string, port: number): Socket;
  createServer(onSocket: (socket: Socket) => void): Server;
}

export const PLAIN_TCP: SocketFactory = {
  connect: (host, port) => connect({ host, port, noDelay: true }),
  createServer: (onSocket) => createServer({ noDelay: true }, onSocket),
};
