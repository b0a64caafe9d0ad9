// What a route is, to the server that carries it: a name, a lane, and a function from a request to an
// answer. Nothing of the framework.

import type { Coordinator } from '../../engine/index.ts';
import type { Lane } from './admission.ts';
import type { Answer } from './answer.ts';
import type { Parameters } from './parameters.ts';

export interface ApiRequest {
  readonly coordinator: Coordinator;
  readonly parameters: Parameters;
  /** The segment of the path that the route names with a colon; empty for others. */
  readonly segment: string;
  /** Empty on GET and DELETE. @throws InvalidRequestError when it is not UTF-8. */
  readonly text: () => string;
  readonly remoteAddress: string;
  /** Room is left for progress alone: what turns out to be new work must be refused. */
  readonly isCrowded: () => boolean;
}

export type Method = 'GET' | 'POST' | 'DELETE';
type Handle = (request: ApiRequest) => Promise<Answer> | Answer;

export interface Route {
  readonly method: Method;
  readonly path: string;
  /** Label of the metrics: of a closed set, whatever the path holds (defect 12.27). */
  readonly api: string;
  readonly lane: Lane;
  /** Answered without the engine: also while it starts. */
  readonly standalone: boolean;
  readonly handle: Handle;
}

const PREFIX = '/api/dtmsvr/';

export function route(method: Method, name: string, lane: Lane, handle: Handle): Route {
  const [api = name] = name.toLowerCase().split('/');
  return { method, path: PREFIX + name, api, lane, standalone: false, handle };
}

export function standaloneRoute(name: string, handle: () => Answer): Route {
  const api = name.toLowerCase();
  return { method: 'GET', path: PREFIX + name, api, lane: 'admission', standalone: true, handle };
}
