// The order in which a node's parts come and go.

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
  const port = () => log.records.find(({ fields }) => 'port' in fields)?.fields['port'] as number;
  return { node, steps, port, open: (coordinator: Coordinator) => opened(coordinator) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

function submit(port: number): Promise<Response> {
  const body = JSON.stringify(saga());
  return fetch(`http://127.0.0.1:${port}/api/dtmsvr/submit`, { method: 'POST', body });
}

describe('node', () => {
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
