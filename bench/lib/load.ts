// Closed-loop load that speaks dtm's wire: `concurrency` clients, each sends its next saga when the
// one before is answered. Points at any dtm server.

import { randomUUID } from 'node:crypto';
import type { RecordableHistogram } from 'node:perf_hooks';
import { createHistogram } from 'node:perf_hooks';
import type { Dispatcher } from 'undici';
import { Pool } from 'undici';

export type SagaKind = 'two-branches-wait' | 'two-branches' | 'empty-urls-wait';

export interface LoadOptions {
  /** Base URLs of the servers; clients are spread over them. */
  readonly urls: readonly string[];
  readonly participantUrl: string;
  readonly kind: SagaKind;
  readonly concurrency: number;
  readonly warmupMs: number;
  readonly measureMs: number;
}

export interface LoadResult {
  readonly sagas: number;
  readonly errors: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

function bodyOf(kind: SagaKind, participantUrl: string): (gid: string) => string {
  const url = (path: string) => (kind === 'empty-urls-wait' ? '' : `${participantUrl}/${path}`);
  const rest = JSON.stringify({
    trans_type: 'saga',
    steps: [
      { action: url('out'), compensate: url('outUndo') },
      { action: url('in'), compensate: url('inUndo') },
    ],
    payloads: ['{"amount":30,"account":"a1"}', '{"amount":30,"account":"b1"}'],
    wait_result: kind !== 'two-branches',
  }).slice(1);
  return (gid) => `{"gid":"${gid}",${rest}`;
}

/** One request; resolves to its status, or 0 when the connection failed. */
function post(pool: Pool, path: string, body: string): Promise<number> {
  return new Promise((resolve) => {
    let status = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => {
        status = statusCode;
      },
      onResponseData: () => undefined,
      onResponseEnd: () => resolve(status),
      onResponseError: () => resolve(0),
    };
    pool.dispatch(
      { method: 'POST', path, body, headers: { 'content-type': 'application/json' } },
      handler,
    );
  });
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const makeBody = bodyOf(options.kind, options.participantUrl);
  const run = randomUUID().slice(0, 8);
  const targets = options.urls.map((url) => {
    const { origin, pathname } = new URL(url);
    const prefix = pathname === '/' ? '/api/dtmsvr' : pathname;
    return {
      pool: new Pool(origin, { connections: options.concurrency }),
      path: `${prefix}/submit`,
    };
  });
  const histogram: RecordableHistogram = createHistogram();
  const begin = performance.now() + options.warmupMs;
  const end = begin + options.measureMs;
  let sagas = 0;
  let errors = 0;
  const client = async (number: number): Promise<void> => {
    const target = targets[number % targets.length];
    if (target === undefined) throw new Error('no server to send to');
    for (let i = 0; ; i += 1) {
      const startedAt = performance.now();
      if (startedAt >= end) return;
      const status = await post(target.pool, target.path, makeBody(`${run}-${number}-${i}`));
      const endedAt = performance.now();
      if (status !== 200) errors += 1;
      if (endedAt < begin || endedAt > end) continue;
      sagas += 1;
      histogram.record(Math.max(1, Math.round((endedAt - startedAt) * 1000)));
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, (_, i) => client(i)));
  await Promise.all(targets.map(({ pool }) => pool.close()));
  return {
    sagas,
    errors,
    perSecond: Math.round((sagas * 1000) / options.measureMs),
    p50Ms: histogram.percentile(50) / 1000,
    p99Ms: histogram.percentile(99) / 1000,
    maxMs: histogram.max / 1000,
  };
}
