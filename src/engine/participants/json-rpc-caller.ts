// Calls branches by JSON-RPC, over the connections and under the limits of HTTP: a target is an origin,
// whatever is spoken there.

import type { Random } from '../../raft/index.ts';
import type { Done } from './answering.ts';
import type { HttpCaller } from './http-caller.ts';
import type { HttpForm } from './http-form.ts';
import { jsonRpcForm } from './json-rpc-form.ts';
import type { BranchCall, ParticipantCaller, TargetStatus } from './types.ts';

// As dtm's: 22 digits and letters that nobody confuses.
const ID_ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const ID_LENGTH = 22;

export class JsonRpcCaller implements ParticipantCaller {
  readonly #http: HttpCaller;
  readonly #form: HttpForm;

  constructor(http: HttpCaller, random: Random) {
    this.#http = http;
    this.#form = jsonRpcForm(() => newId(random));
  }

  call(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    this.#http.callAs(this.#form, call, mayWrite, done);
  }

  /** They are the HTTP caller's. */
  targets(): readonly TargetStatus[] {
    return [];
  }

  /** The connections are closed by the HTTP caller. */
  async close(): Promise<void> {
    await Promise.resolve();
  }
}

function newId(random: Random): string {
  let id = '';
  for (let digit = 0; digit < ID_LENGTH; digit += 1) {
    id += ID_ALPHABET.charAt(Math.floor(random.next() * ID_ALPHABET.length));
  }
  return id;
}
