// dtm's gRPC API for load, straight on HTTP/2: the gRPC library would cost the load three times as
// much CPU as a request costs here, on the cores that the nodes need.
//
// A message is encoded once without its gid and sent behind it: in protobuf, the fields of two encoded
// messages one after the other are one message with all of them.

import type { IncomingHttpHeaders } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { fileURLToPath } from 'node:url';
import { loadSync } from '@grpc/proto-loader';
import type { Body, BranchCall, Route, Send, Wire } from './wire.ts';

const PROTO = fileURLToPath(new URL('../../proto/dtmgimp.proto', import.meta.url));
const METHODS: Readonly<Record<Route, string>> = {
  prepare: 'Prepare',
  submit: 'Submit',
  registerBranch: 'RegisterBranch',
  prepareWorkflow: 'PrepareWorkflow',
};
const PREFIX_BYTES = 5;
/** Field 1, a string: the gid in both kinds of request. */
const GID_TAG = 0x0a;
/** A gid's length is one byte of its encoding below this. */
const GID_BYTES_MAX = 127;
const PAYLOAD = Buffer.from('{"amount":30,"account":"a1"}');
const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

interface Method {
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
}
const SERVICE = loadSync(PROTO, { keepCase: true })['dtmgimp.Dtm'] as unknown as Readonly<
  Record<string, Method>
>;

export class GrpcWire implements Wire {
  readonly #sessions: readonly ClientHttp2Session[];
  #turn = 0;

  constructor(address: string, connections: number) {
    this.#sessions = Array.from({ length: connections }, () => {
      const session = connect(`http://${address}`);
      // Its calls report it.
      session.on('error', () => undefined);
      return session;
    });
  }

  toServer(route: Route, body: Body): Send {
    const method = SERVICE[METHODS[route]];
    if (method === undefined) throw new Error(`${route} has no method`);
    const rest = method.requestSerialize(
      route === 'registerBranch' ? branchRequest(body) : transactionRequest(body),
    );
    return (gid) => this.#call({ ...HEADERS, ':path': method.path }, framed(gid, rest));
  }

  toBranch({ url, type, branchId, op }: BranchCall): Send {
    const headers = {
      ...HEADERS,
      ':path': url.slice(url.indexOf('/')),
      'dtm-trans_type': type,
      'dtm-branch_id': branchId,
      'dtm-op': op,
    };
    const message = Buffer.concat([prefix(PAYLOAD.length), PAYLOAD]);
    return (gid) => this.#call({ ...headers, 'dtm-gid': gid }, message);
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#sessions.map((session) => new Promise<void>((resolve) => session.close(resolve))),
    );
  }

  #call(headers: Readonly<Record<string, string>>, message: Buffer): Promise<boolean> {
    this.#turn += 1;
    const session = this.#sessions[this.#turn % this.#sessions.length];
    if (session === undefined || session.closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      let isOk = false;
      const stream = session.request(headers);
      stream.on('trailers', (trailers: IncomingHttpHeaders) => {
        isOk = trailers['grpc-status'] === '0';
      });
      stream.on('error', () => undefined);
      stream.on('close', () => resolve(isOk));
      stream.resume();
      stream.end(message);
    });
  }
}

/** Not compressed, and how long the message is. */
function prefix(length: number): Buffer {
  const bytes = Buffer.alloc(PREFIX_BYTES);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

function framed(gid: string, rest: Buffer): Buffer {
  if (gid.length > GID_BYTES_MAX) throw new Error(`gid ${gid} is too long for load`);
  const length = 2 + gid.length + rest.length;
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + length);
  bytes[0] = 0;
  bytes.writeUInt32BE(length, 1);
  bytes[PREFIX_BYTES] = GID_TAG;
  bytes[PREFIX_BYTES + 1] = gid.length;
  bytes.write(gid, PREFIX_BYTES + 2, 'latin1');
  rest.copy(bytes, PREFIX_BYTES + 2 + gid.length);
  return bytes;
}

function transactionRequest(body: Body): object {
  return {
    TransType: body.trans_type,
    TransOptions: { WaitResult: body['wait_result'] },
    CustomedData: body['custom_data'],
    BinPayloads: ((body['payloads'] ?? []) as readonly string[]).map((text) => Buffer.from(text)),
    QueryPrepared: body['query_prepared'],
    Steps: body['steps'] === undefined ? '' : JSON.stringify(body['steps']),
    ReqExtra: body['req_extra'],
  };
}

function branchRequest({ trans_type, branch_id, data, ...texts }: Body): object {
  return {
    TransType: trans_type,
    BranchID: branch_id,
    Data: texts,
    BusiPayload: Buffer.from(typeof data === 'string' ? data : ''),
  };
}
