// How a node asks another node for something: the port of the forwarding lane between peers.
//
// Owns: what may be said of a request that got no reply. Does not own: connections (the server's
// peer network), the meaning of the bytes (forward-codec.ts).
//
// Invariants: `done` runs exactly once per request, never from inside `forward`, and within the
// transport's own bound on time. `notSent` is said only when no byte of the request can have reached
// the peer, because the outcome of an operation is judged by it (docs/architecture.md §Consensus).

import type { NodeId } from '../../raft/index.ts';

export type ForwardResult =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array }
  /** Certainly never written: no connection, a full queue, or the network is closing. */
  | { readonly kind: 'notSent' }
  /** The connection broke, or no reply came in time, after the request may have been written. */
  | { readonly kind: 'lost' };

export type ForwardHandler = (
  from: NodeId,
  request: Uint8Array,
  /** At most once; a later or second call, or one after the connection broke, does nothing. */
  reply: (bytes: Uint8Array) => void,
) => void;

export interface ForwardTransport {
  forward(to: NodeId, request: Uint8Array, done: (result: ForwardResult) => void): void;
  /** Replaces the handler. Requests that arrive without one are left unanswered. */
  onForward(handler: ForwardHandler): void;
  /** One way, best effort, in order with this peer's other traffic of the lane. */
  notify(to: NodeId, bytes: Uint8Array): void;
  onNotify(handler: (from: NodeId, bytes: Uint8Array) => void): void;
}
