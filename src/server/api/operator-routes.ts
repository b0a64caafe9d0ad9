// Probes, metrics, and the state of this node: what operators and machines ask. Never refused for
// load, not counted in the API's metrics, answered from memory.

import type { FastifyInstance, FastifyReply } from 'fastify';
import { type Check, checksText, type Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import type { NodeStatusSource } from '../status-source.ts';
import { jsonText } from './json-text.ts';

export interface OperatorRoutesOptions {
  readonly health: Health;
  readonly metrics: Metrics;
  readonly status: NodeStatusSource;
  readonly version: string;
}

function sendJson(reply: FastifyReply, status: number, value: unknown): void {
  const type = 'application/json; charset=utf-8';
  void reply.code(status).header('content-type', type).send(jsonText(value));
}

function sendText(reply: FastifyReply, status: number, text: string): void {
  void reply.code(status).header('content-type', 'text/plain; charset=utf-8').send(text);
}

/** What a node says of itself; `cluster/status.sh` reads it. */
function nodeView(status: NodeStatusSource, version: string): Readonly<Record<string, unknown>> {
  const raft = status.raft();
  return {
    nodeId: status.nodeId,
    version,
    ...status.startup(),
    role: raft?.role,
    term: raft?.term,
    leaderId: raft?.leaderId,
    commitIndex: raft?.commitIndex,
    appliedIndex: raft?.appliedIndex,
    lastIndex: raft?.lastIndex,
    firstIndex: raft?.firstIndex,
    voters: raft?.configuration.voters,
    recovering: status.log()?.recovering,
    admissionOpen: status.log()?.admissionOpen,
    targets: status.targets().filter(({ circuit }) => circuit !== 'closed'),
  };
}

export function registerOperatorRoutes(app: FastifyInstance, options: OperatorRoutesOptions): void {
  const { health, metrics, status, version } = options;
  const pong = '{"msg":"pong"}';
  app.all('/api/ping', (_request, reply) => {
    void reply.header('content-type', 'application/json; charset=utf-8').send(pong);
  });
  app.get('/api/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.registry.contentType).send(await metrics.text()),
  );
  app.get('/livez', (_request, reply) => sendText(reply, 200, 'ok'));
  app.get('/startupz', (_request, reply) =>
    sendJson(reply, health.started() ? 200 : 503, status.startup()),
  );
  app.get<{ Querystring: { verbose?: string } }>('/readyz', (request, reply) => {
    const checks: readonly Check[] = health.readiness();
    const ready = checks.every(({ ok }) => ok);
    const verbose = !ready || request.query.verbose !== undefined;
    sendText(reply, ready ? 200 : 503, verbose ? checksText(checks) : 'ok');
  });
  app.get('/v1/node', (_request, reply) => sendJson(reply, 200, nodeView(status, version)));
}
