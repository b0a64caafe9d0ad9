// What an operator gets wrong when starting a node: one line that says what to change.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../../src/server/config.ts';
import { DataDirectoryClaim } from '../../../src/server/data-directory-claim.ts';
import { EXIT, exitCodeOf } from '../../../src/server/exit.ts';
import { listening } from '../../../src/server/listening.ts';
import { Metrics } from '../../../src/server/metrics.ts';
import { Node } from '../../../src/server/node.ts';
import { localReplicas } from '../../../src/server/replica-local.ts';
import { configWith, RecordingLog } from './fakes.ts';

const KEYS = { host: 'listen.host', port: 'listen.httpPort' };

let dataDir = '';
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'assent-mistakes-'));
});
afterEach(() => {
  rmSync(dataDir, { recursive: true, force: true });
});

async function failureOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it did not fail');
}

function nodeOf() {
  const config = configWith({
    'node.dataDir': dataDir,
    'listen.host': '127.0.0.1',
    'listen.httpPort': '0',
    'listen.grpcPort': '0',
    'listen.peerPort': '0',
  });
  const log = new RecordingLog();
  const fatal = (error: Error): never => {
    throw error;
  };
  const node = new Node({ config, log, fatal, replicas: localReplicas, version: 'v0' });
  const replica = () => localReplicas.create({ config, log, metrics: new Metrics('v0'), fatal });
  return { config, log, node, replica };
}

describe('mistakes of operators', () => {
  it('a directory that is not formatted is refused before anything listens, with how to format', async () => {
    const { log, node } = nodeOf();
    const error = await failureOf(node.start());
    expect(error.message).toContain(`${dataDir} is not formatted`);
    expect(error.message).toContain('--format --cluster-id');
    expect(error.message).not.toContain('\n');
    expect(exitCodeOf(error)).toBe(EXIT.dataRefused);
    expect(log.records).toEqual([]);
  });

  it.runIf(process.platform === 'linux')(
    'a second process on one data directory is stopped before it opens the log',
    async () => {
      const { config, log, replica } = nodeOf();
      const voters = [{ nodeId: 1, birthId: 'b1' }];
      await localReplicas.format(config, { clusterId: 'c', voters }, log);
      const [first, second] = [replica(), replica()];
      await first.claim();
      const error = await failureOf(second.claim());
      expect(error.message).toBe(`node.dataDir ${dataDir} is in use by another process`);
      expect(exitCodeOf(error)).toBe(EXIT.inUse);
      await first.stop(1_000);
      await second.claim();
      await second.stop(1_000);
    },
  );

  it.runIf(process.platform === 'linux')('knows one directory by any of its names', async () => {
    const claim = await DataDirectoryClaim.take(dataDir);
    await failureOf(DataDirectoryClaim.take(join(dataDir, '..', dataDir.slice(tmpdir().length))));
    await claim?.release();
  });

  it.runIf(process.platform === 'linux')(
    'a directory that was deleted under its process is not taken for a new one',
    async () => {
      const claim = await DataDirectoryClaim.take(dataDir);
      for (let round = 0; round < 5; round += 1) {
        rmSync(dataDir, { recursive: true });
        mkdirSync(dataDir);
        const next = await DataDirectoryClaim.take(dataDir);
        await next?.release();
      }
      await claim?.release();
    },
  );

  it('a port that is taken is named with its host and its setting', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const bound = server.address();
    const port = typeof bound === 'object' ? (bound?.port ?? 0) : 0;
    const other = createServer();
    const listen = (): Promise<void> =>
      new Promise((resolve, reject) => {
        other.once('error', reject).listen(port, '127.0.0.1', resolve);
      });
    const error = await failureOf(listening({ host: '127.0.0.1', port, keys: KEYS }, listen));
    expect(error.message).toBe(
      `cannot listen on 127.0.0.1:${port}: another process does (EADDRINUSE); stop it, or change listen.httpPort`,
    );
    expect(exitCodeOf(error)).toBe(EXIT.inUse);
    await new Promise((resolve) => server.close(resolve));
  });

  it('an address of another machine is named with its setting, a defect is not disguised', async () => {
    const failing = (code: string) =>
      failureOf(
        listening({ host: '10.9.9.9', port: 1, keys: KEYS }, () =>
          Promise.reject(Object.assign(new Error(code), { code })),
        ),
      );
    const refused = await failing('EADDRNOTAVAIL');
    expect(refused.message).toContain('listen.host');
    expect(exitCodeOf(refused)).toBe(EXIT.config);
    expect(exitCodeOf(await failing('EMFILE'))).toBe(EXIT.brokenInvariant);
  });

  it('problems between settings are told together with those of single ones', () => {
    const flags = new Map([
      ['api.bodyBytesMax', '1MiB'],
      ['api.transactionBytesMax', '2MiB'],
      ['listen.httpPort', 'many'],
      ['raft.heartbeatIntervalMs', 'often'],
    ]);
    let problems: readonly string[] = [];
    try {
      loadConfig({ file: undefined, environment: {}, flags });
    } catch (error) {
      if (error instanceof ConfigError) problems = error.problems;
    }
    expect(problems).toEqual([
      expect.stringContaining('listen.httpPort'),
      expect.stringContaining('raft.heartbeatIntervalMs'),
      expect.stringMatching(/api\.transactionBytesMax.*api\.bodyBytesMax/),
    ]);
  });
});
