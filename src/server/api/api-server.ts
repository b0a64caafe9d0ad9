// The HTTP server of a node: carries requests to routes and answers back, within bounds.
//
// Owns: listening, limits, admission, draining, the mapping of what is no request to an answer.
// Does not own: what a route means. Fastify routes and replies; its body parser, its schemas and its
// log are passed by, because they cost time on every saga and know nothing of our bounds.

import type { AddressInfo, Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Coordinator } from '../../engine/index.ts';
import type { NodeLog } from '../../raft/index.ts';
import type { Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import { bodyText, InvalidRequestError } from '../requests/index.ts';
import { Admission } from './admission.ts';
import { type Answer, errorAnswer, invalidAnswer, overloadedAnswer } from './answer.ts';
import { answerClientError } from './client-error.ts';
import { type OperatorRoutesOptions, registerOperatorRoutes } from './operator-routes.ts';
import { Parameters } from './parameters.ts';
import { readRequestBody } from './request-body.ts';
import type { Route } from './route.ts';
import { registerUnknownRoutes } from './unknown-route.ts';

export interface ApiServerLimits {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
  readonly inflightRequestsMax: number;
  readonly inflightBytesMax: number;
  readonly connectionsMax: number;
  readonly receiveTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

export interface ApiServerDeps {
  readonly routes: readonly Route[];
  /** Undefined until the engine is open. */
  readonly coordinator: () => Coordinator | undefined;
  readonly operator: OperatorRoutesOptions;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: NodeLog;
}

/** How late Node may notice that a request does not arrive. */
const CONNECTIONS_CHECK_MS_MAX = 2_000;
/** Idle connections are closed at once; the last answers have this long to leave. */
const CLOSE_GRACE_MS = 200;
const STARTING_RETRY_MS = 1_000;
const JSON_TYPE = 'application/json; charset=utf-8';
/** Of a name in a path; Fastify's default of 100 is shorter than a topic's name may be. */
const SEGMENT_LENGTH_MAX = 1_024;

export class ApiServer {
  readonly #limits: ApiServerLimits;
  readonly #deps: ApiServerDeps;
  readonly #admission: Admission;
  readonly #app: FastifyInstance;
  readonly #sockets = new Set<Socket>();
  #idle: (() => void) | undefined;

  constructor(limits: ApiServerLimits, deps: ApiServerDeps) {
    this.#limits = limits;
    this.#deps = deps;
    this.#admission = new Admission(limits);
    this.#app = this.#createApp();
    deps.metrics.observeApi({
      requests: () => this.#admission.requests,
      bytes: () => this.#admission.bytes,
      connections: () => this.#sockets.size,
    });
  }

  /** Routes and hooks, for requests that need no socket. */
  get app(): FastifyInstance {
    return this.#app;
  }

  async listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    await this.#app.listen(address);
    const bound = this.#app.server.address();
    if (bound === null || typeof bound === 'string') throw new Error('not bound to a port');
    return bound;
  }

  /** Resolves once no request is in flight, or after `timeoutMs`: how many were left. */
  async drain(timeoutMs: number): Promise<number> {
    if (this.#admission.requests > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#admission.requests;
  }

  async close(): Promise<void> {
    const timer = setTimeout(() => this.#app.server.closeAllConnections(), CLOSE_GRACE_MS);
    await this.#app.close();
    clearTimeout(timer);
  }

  #createApp(): FastifyInstance {
    const { headerBytesMax, receiveTimeoutMs, headersTimeoutMs, keepAliveTimeoutMs } = this.#limits;
    const app = Fastify({
      logger: false,
      exposeHeadRoutes: false,
      return503OnClosing: false,
      forceCloseConnections: false,
      routerOptions: { maxParamLength: SEGMENT_LENGTH_MAX },
      requestTimeout: receiveTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      http: {
        maxHeaderSize: headerBytesMax,
        headersTimeout: headersTimeoutMs,
        connectionsCheckingInterval: Math.min(
          CONNECTIONS_CHECK_MS_MAX,
          Math.ceil(headersTimeoutMs / 4),
        ),
        requireHostHeader: true,
      },
      clientErrorHandler: (error, socket) =>
        this.#deps.metrics.requestRejected(answerClientError(error, socket)),
      frameworkErrors: (_error, _request, reply) => {
        this.#send(reply, errorAnswer('MALFORMED_HTTP', 'the path is malformed'));
      },
    });
    // Routes read their bodies themselves, whatever the content type.
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      app.addHttpMethod(method, { hasBody: false, overrideExisting: true });
    }
    app.server.maxConnections = this.#limits.connectionsMax;
    app.server.maxHeadersCount = 100;
    app.server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    for (const route of this.#deps.routes) this.#register(app, route);
    registerOperatorRoutes(app, this.#deps.operator);
    registerUnknownRoutes(app, this.#deps.metrics);
    app.setErrorHandler((error, _request, reply) => {
      this.#deps.log.error({ err: error }, 'a request failed in the framework');
      this.#send(reply, errorAnswer('INTERNAL', 'internal error'));
    });
    return app;
  }

  #register(app: FastifyInstance, route: Route): void {
    app.route({
      method: route.method,
      url: route.path,
      handler: (request, reply) => this.#serve(route, request, reply),
    });
  }

  #serve(route: Route, request: FastifyRequest, reply: FastifyReply): void {
    const startedMs = performance.now();
    if (!this.#admission.enter(route.lane)) {
      this.#send(reply, overloadedAnswer('too many requests in flight'), true);
      this.#count(route, startedMs, 503, 'OVERLOADED');
      return;
    }
    let bytes = 0;
    const finish = (answer: Answer | undefined, closes = false): void => {
      this.#admission.giveBytes(bytes);
      this.#leave();
      if (answer === undefined) return;
      this.#send(reply, answer, closes);
      this.#count(route, startedMs, answer.status, answer.code);
    };
    if (route.method !== 'POST') {
      void this.#answer(route, request, undefined).then((answer) => finish(answer));
      return;
    }
    const bodyLimits = { bytesMax: this.#limits.bodyBytesMax, lane: route.lane };
    readRequestBody(request.raw, bodyLimits, this.#admission, (outcome) => {
      switch (outcome.kind) {
        case 'body':
          bytes = outcome.bytes.length;
          void this.#answer(route, request, outcome.bytes).then((answer) => finish(answer));
          return;
        case 'tooLarge':
          finish(
            errorAnswer(
              'BODY_TOO_LARGE',
              `the body must be at most ${this.#limits.bodyBytesMax} bytes`,
            ),
            true,
          );
          return;
        case 'overloaded':
          finish(overloadedAnswer('too many bytes in flight'), true);
          return;
        case 'gone':
          finish(undefined);
      }
    });
  }

  async #answer(
    route: Route,
    request: FastifyRequest,
    body: Uint8Array | undefined,
  ): Promise<Answer> {
    const coordinator = this.#deps.coordinator() ?? (route.standalone ? NOT_NEEDED : undefined);
    if (coordinator === undefined) {
      const more = { retryAfterMs: STARTING_RETRY_MS };
      return this.#deps.health.draining
        ? errorAnswer('DRAINING', 'the node is stopping', more)
        : errorAnswer('STARTING', 'the node is starting', more);
    }
    try {
      return await route.handle({
        coordinator,
        parameters: new Parameters(request.query),
        segment: new Parameters(request.params).text('segment'),
        text: () => bodyText(body),
        remoteAddress: request.ip,
        isCrowded: () => this.#admission.isCrowded,
      });
    } catch (error) {
      if (error instanceof InvalidRequestError) return invalidAnswer(error.message);
      this.#deps.log.error({ err: error, type: route.api }, 'a route failed');
      return errorAnswer('INTERNAL', 'internal error');
    }
  }

  #send(reply: FastifyReply, answer: Answer, closes = false): void {
    reply.code(answer.status).header('content-type', answer.contentType ?? JSON_TYPE);
    if (answer.retryAfterMs !== undefined) {
      reply.header('retry-after', String(Math.max(1, Math.ceil(answer.retryAfterMs / 1_000))));
    }
    if (closes || this.#deps.health.draining) reply.header('connection', 'close');
    void reply.send(answer.body);
  }

  #count(route: Route, startedMs: number, status: number, code: string | undefined): void {
    const durationMs = performance.now() - startedMs;
    this.#deps.metrics.requestAnswered({ api: route.api, status, durationMs, code });
  }

  #leave(): void {
    this.#admission.leave();
    if (this.#admission.requests === 0) this.#idle?.();
  }
}

function notOpen(): never {
  throw new Error('a standalone route used the engine');
}
const NOT_NEEDED: Coordinator = {
  execute: notOpen,
  waitResult: notOpen,
  query: notOpen,
  list: notOpen,
  topics: notOpen,
  dueLaterThan: notOpen,
};
