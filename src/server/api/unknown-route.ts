// What no route takes: 404 as Go's router says it, also for a wrong method; and a path with a slash
// too many is sent to the one without it (dtm reference §1.1, §11.31).

import type { FastifyInstance, HTTPMethods } from 'fastify';
import type { Metrics } from '../metrics.ts';

export function registerUnknownRoutes(app: FastifyInstance, metrics: Metrics): void {
  app.setNotFoundHandler((request, reply) => {
    const { method, url } = request;
    const queryAt = url.indexOf('?');
    const path = queryAt === -1 ? url : url.slice(0, queryAt);
    const query = queryAt === -1 ? '' : url.slice(queryAt);
    const target = path.slice(0, -1);
    // Only to routes that exist: never to a place that the client names.
    const isRoute = path.endsWith('/') && hasRoute(app, method, target);
    const status = isRoute ? (method === 'GET' ? 301 : 307) : 404;
    metrics.requestAnswered({
      api: 'other',
      status,
      durationMs: 0,
      code: isRoute ? undefined : 'NOT_FOUND',
    });
    if (isRoute)
      return reply
        .code(status)
        .header('location', target + query)
        .send('');
    return reply.code(404).header('content-type', 'text/plain').send('404 page not found');
  });
}

/** Also one whose last segment is a name, such as that of a topic. */
function hasRoute(app: FastifyInstance, method: HTTPMethods, path: string): boolean {
  if (app.hasRoute({ url: path, method })) return true;
  const nameAt = path.lastIndexOf('/') + 1;
  const isNamed = nameAt > 1 && nameAt < path.length;
  return isNamed && app.hasRoute({ url: `${path.slice(0, nameAt)}:segment`, method });
}
