// Closed-loop load that speaks dtm's wire: `concurrency` clients, each sends its next transaction when
// the one before is answered. Points at any dtm server.

import { randomUUID } from 'node:crypto';
import type { RecordableHistogram } from 'node:perf_hooks';
import { createHistogram } from 'node:perf_hooks';
import { GrpcWire } from './grpc-wire.ts';
import { HttpWire } from './http-wire.ts';
import type { Kind } from './kinds.ts';
import { loadKinds } from './kinds.ts';
import type { Send, Wire } from './wire.ts';

export interface LoadOptions {
  /** Base URLs of the servers; clients are spread over them. */
  readonly urls: readonly string[];
  /** host:port of the servers' gRPC APIs, for kinds that are submitted over it. */
  readonly grpcAddresses?: readonly string[];
  readonly participantUrl: string;
  /** host:port of participants that speak gRPC, for kinds that call them. */
  readonly grpcParticipant?: string;
  readonly kind: string;
  readonly concurrency: number;
  readonly warmupMs: number;
  readonly measureMs: number;
}

export interface LoadResult {
  /** Answered within the measured time. */
  readonly transactions: number;
  /** With those before and after it: what the CPU time of the whole run was spent on. */
  readonly answered: number;
  readonly errors: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What one channel of a real client serves; one for all would be one socket for all. */
const CLIENTS_PER_GRPC_CONNECTION = 16;

interface Target {
  readonly sends: readonly Send[];
  readonly wires: readonly Wire[];
}

function targetsOf(options: LoadOptions): readonly Target[] {
  const { urls, grpcAddresses = [], participantUrl, grpcParticipant = '', concurrency } = options;
  const kind = loadKinds({ http: participantUrl, grpc: grpcParticipant }).get(options.kind);
  if (kind === undefined) throw new Error(`no such kind of load: ${options.kind}`);
  const grpcConnections = Math.ceil(concurrency / CLIENTS_PER_GRPC_CONNECTION);
  const servers =
    kind.submittedOver === 'http'
      ? urls.map((url) => new HttpWire(url, concurrency))
      : grpcAddresses.map((address) => new GrpcWire(address, grpcConnections));
  return servers.map((server) => {
    const branches = kind.steps.some(({ to }) => to === 'branch')
      ? kind.branchesOver === 'grpc'
        ? new GrpcWire(grpcParticipant, grpcConnections)
        : new HttpWire(participantUrl, concurrency)
      : undefined;
    return {
      sends: sendsOf(kind, server, branches),
      wires: branches === undefined ? [server] : [server, branches],
    };
  });
}

function sendsOf(kind: Kind, server: Wire, branches: Wire | undefined): readonly Send[] {
  return kind.steps.map((step) => {
    if (step.to === 'server') return server.toServer(step.route, step.body);
    if (branches === undefined) throw new Error('no connection to the participants');
    return branches.toBranch(step);
  });
}

async function succeeds({ sends }: Target, gid: string): Promise<boolean> {
  for (const send of sends) {
    if (!(await send(gid))) return false;
  }
  return true;
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const run = randomUUID().slice(0, 8);
  const targets = targetsOf(options);
  const histogram: RecordableHistogram = createHistogram();
  const begin = performance.now() + options.warmupMs;
  const end = begin + options.measureMs;
  let transactions = 0;
  let answered = 0;
  let errors = 0;
  const client = async (number: number): Promise<void> => {
    const target = targets[number % targets.length];
    if (target === undefined) throw new Error('no server to send to');
    for (let i = 0; ; i += 1) {
      const startedAt = performance.now();
      if (startedAt >= end) return;
      const isOk = await succeeds(target, `${run}-${number}-${i}`);
      const endedAt = performance.now();
      answered += 1;
      if (!isOk) errors += 1;
      if (endedAt < begin || endedAt > end) continue;
      transactions += 1;
      histogram.record(Math.max(1, Math.round((endedAt - startedAt) * 1000)));
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, (_, i) => client(i)));
  await Promise.all(targets.flatMap(({ wires }) => wires.map((wire) => wire.close())));
  return {
    transactions,
    answered,
    errors,
    perSecond: Math.round((transactions * 1000) / options.measureMs),
    p50Ms: histogram.percentile(50) / 1000,
    p99Ms: histogram.percentile(99) / 1000,
    maxMs: histogram.max / 1000,
  };
}
