// What a route is, to the server that carries it: a name, a lane, and a function from a request to an
// answer. Nothing of the framework.

import type { Coordinator } from '../../engine/index.ts';
import type { Lane } from './admission.ts';
import type { Answer } from './answer.ts';
import type { Parameters } from './parameters.ts';

export interface ApiRequest {
  readonly coordinator: Coordinator;
  readonly parameters: Parameters;
  /** Undefined on GET. */
  readonly body: Uint8Array | undefined;
  readonly remoteAddress: string;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Label of the metrics: the last segment of the path, lower case. */
  readonly api: string;
  readonly lane: Lane;
  /** Answered without the engine: also while it starts. */
  readonly standalone: boolean;
  handle(request: ApiRequest): Promise<Answer> | Answer;
}

const PREFIX = '/api/dtmsvr/';

export function route(
  method: 'GET' | 'POST',
  name: string,
  lane: Lane,
  handle: (request: ApiRequest) => Promise<Answer> | Answer,
): Route {
  const api = name.toLowerCase();
  return { method, path: PREFIX + name, api, lane, standalone: false, handle };
}

export function standaloneRoute(name: string, handle: () => Answer): Route {
  const api = name.toLowerCase();
  return { method: 'GET', path: PREFIX + name, api, lane: 'admission', standalone: true, handle };
}
