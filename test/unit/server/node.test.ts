// The order in which a node's parts come and go.

import { Client, credentials, status as Status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Coordinator } from '../../../src/engine/operations/index.ts';
import { EXIT, exitCodeOf } from '../../../src/server/exit.ts';
import { Node } from '../../../src/server/node.ts';
import type { Replica } from '../../../src/server/replica.ts';
import { configWith, FakeCoordinator, RecordingLog, saga, statusSource } from './fakes.ts';

function fixture() {
  const steps: string[] = [];
  let opened: (coordinator: Coordinator) => void = () => undefined;
  const replica: Replica = {
    status: statusSource(),
    claim: async () => undefined,
    open: () => {
      steps.push('open');
      return new Promise((resolve) => {
        opened = resolve;
      });
    },
    handOverLeadership: async () => {
      steps.push('hand over');
    },
    stop: async () => {
      steps.push('stop');
    },
  };
  const log = new RecordingLog();
  const config = configWith({
    'listen.host': '127.0.0.1',
    'listen.httpPort': '0',
    'listen.grpcPort': '0',
    'shutdown.drainTimeoutMs': '2000',
  });
  const node = new Node({
    config,
    log,
    fatal: (error) => {
      throw error;
    },
    replicas: { create: () => replica, format: async () => undefined },
    version: 'v0',
  });
  const ports = () => log.records.flatMap(({ fields }) => fields['port'] ?? []) as number[];
  const port = () => ports()[0] ?? 0;
  const grpcPort = () => ports()[1] ?? 0;
  return { node, steps, port, grpcPort, open: (coordinator: Coordinator) => opened(coordinator) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

function submit(port: number): Promise<Response> {
  const body = JSON.stringify(saga());
  return fetch(`http://127.0.0.1:${port}/api/dtmsvr/submit`, { method: 'POST', body });
}

/** Aborts `gid` over gRPC; the codes of both fields fit one byte. */
async function abortByGrpc(client: Client): Promise<Status> {
  const same = (bytes: Buffer): Buffer => bytes;
  const message = Buffer.from('\n\x02t1\x12\x03tcc', 'latin1');
  return new Promise((resolve) => {
    client.makeUnaryRequest('/dtmgimp.Dtm/Abort', same, same, message, (error) =>
      resolve(error?.code ?? Status.OK),
    );
  });
}

describe('node', () => {
  it('3: serves gRPC likewise, and ends its calls in flight when it stops', async () => {
    const { node, steps, grpcPort, open } = fixture();
    const started = node.start();
    await until(() => steps.includes('open'));
    const client = new Client(`127.0.0.1:${grpcPort()}`, credentials.createInsecure());
    expect(await abortByGrpc(client)).toBe(Status.UNAVAILABLE);

    const coordinator = new FakeCoordinator();
    open(coordinator);
    await started;
    expect(await abortByGrpc(client)).toBe(Status.OK);

    let finish: () => void = () => undefined;
    coordinator.outcome = () =>
      new Promise((resolve) => {
        finish = () => resolve({ kind: 'unknown', message: 'late' });
      });
    const inflight = abortByGrpc(client);
    await until(() => coordinator.requests.length === 2);
    const stopped = node.stop();
    await until(() => steps.includes('hand over'));
    expect(steps).toEqual(['open', 'hand over']);
    finish();
    expect(await inflight).toBe(Status.DEADLINE_EXCEEDED);
    await stopped;
    expect(steps).toEqual(['open', 'hand over', 'stop']);
    expect(await abortByGrpc(client)).toBe(Status.UNAVAILABLE);
    client.close();
  });

  it('listens before its replica is open, serves then, and stops in order', async () => {
    const { node, steps, port, open } = fixture();
    const started = node.start();
    await until(() => steps.includes('open'));
    expect((await submit(port())).status).toBe(503);

    const coordinator = new FakeCoordinator();
    open(coordinator);
    await started;
    expect((await submit(port())).status).toBe(200);

    let finish: () => void = () => undefined;
    coordinator.outcome = () =>
      new Promise((resolve) => {
        finish = () => resolve({ kind: 'unknown', message: 'late' });
      });
    const inflight = submit(port());
    await until(() => coordinator.requests.length === 2);
    const stopped = node.stop();
    expect(node.stop()).toBe(stopped);
    await until(() => steps.includes('hand over'));
    expect((await fetch(`http://127.0.0.1:${port()}/readyz`)).status).toBe(503);
    expect(steps).toEqual(['open', 'hand over']);

    finish();
    expect((await inflight).status).toBe(504);
    await stopped;
    expect(steps).toEqual(['open', 'hand over', 'stop']);
    await expect(submit(port())).rejects.toThrow();
  });
});

describe('exit codes', () => {
  it('out of space means try again later, wherever it happened', () => {
    const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
    expect(exitCodeOf(new Error('append', { cause: full }))).toBe(EXIT.temporary);
    expect(exitCodeOf(Object.assign(new Error('x'), { code: 'EIO' }))).toBe(EXIT.brokenInvariant);
    expect(exitCodeOf('text')).toBe(EXIT.brokenInvariant);
  });
});
