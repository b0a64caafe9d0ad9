// The recorded data directory of an older version opens, says what it said then, and goes on
// (test/fixtures/record-0.1.0.ts made it).

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { LocalCluster } from '../../bench/lib/local-cluster.ts';
import { type BranchView, Client, type QueryView, type TransactionView } from './lib/client.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures');
/** As it was recorded; ten years of retention, so that nothing expires while the fixture serves. */
const CONFIG = [
  'log: { segmentBytes: 1048576, ballastBytes: 0 }',
  'store: { flushIntervalMs: 50 }',
  'api: { transactionBytesMax: 262144, timeZoneOffset: "+0" }',
  'retention: { finishedMs: 315360000000, preparedExpiryMs: 315360000000 }',
].join('\n');

let cluster: LocalCluster | undefined;
afterEach(async () => {
  await cluster?.destroy();
  cluster = undefined;
});

function unpack(from: string, to: string): void {
  for (const name of readdirSync(from, { recursive: true, encoding: 'utf8' })) {
    const path = join(from, name);
    if (!statSync(path).isFile() || name === 'expected.json.gz') continue;
    const target = join(to, relative(from, path).replace(/[.]gz$/, ''));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, gunzipSync(readFileSync(path)));
  }
}

/** A node that finds the recorded directory in place of its own. */
async function openRecorded(version: string): Promise<{
  readonly node: LocalCluster;
  readonly client: Client;
  readonly answers: ReadonlyMap<string, QueryView>;
}> {
  const fixture = join(FIXTURES, `data-${version}`);
  cluster = await LocalCluster.create({ nodes: 1, extraConfig: CONFIG });
  const data = join(cluster.node(1).directory, 'data');
  rmSync(data, { recursive: true });
  unpack(fixture, data);
  await cluster.startAll();
  const expected = JSON.parse(
    gunzipSync(readFileSync(join(fixture, 'expected.json.gz'))).toString(),
  ) as { readonly answers: Readonly<Record<string, QueryView>> };
  const answers = new Map(Object.entries(expected.answers));
  return { node: cluster, client: new Client(cluster), answers };
}

function rows(branches: readonly BranchView[]): readonly unknown[] {
  return branches.map(({ branch_id, op, status, url, bin_data }) => {
    return { branch_id, op, status, url, bin_data };
  });
}

async function expectRecorded(
  client: Client,
  answers: ReadonlyMap<string, QueryView>,
): Promise<void> {
  for (const [gid, { transaction, branches }] of answers) {
    const now = await client.query(gid);
    if (transaction?.status === 'submitted') {
      // Its next attempt may have been due since.
      expect(now.transaction?.status, gid).toBe('submitted');
      expect(rows(now.branches), gid).toEqual(rows(branches));
    } else {
      expect(now, gid).toEqual({ transaction, branches });
    }
  }
}

describe.each(['0.1.0'])('the data directory of version %s', (version) => {
  it('opens, and every transaction and branch is as it was', async () => {
    const { client, answers } = await openRecorded(version);
    expect(answers.size).toBeGreaterThanOrEqual(50);
    const statuses = new Set([...answers.values()].map(({ transaction }) => transaction?.status));
    expect([...statuses].sort()).toEqual(['failed', 'prepared', 'submitted', 'succeed']);
    await expectRecorded(client, answers);
  });

  it('is worked on where it was left', async () => {
    const { node, client, answers } = await openRecorded(version);
    const of = (status: string): readonly TransactionView[] =>
      [...answers.values()].flatMap(({ transaction }) =>
        transaction?.status === status ? [transaction] : [],
      );
    const touched = new Map(answers);

    for (const { gid, trans_type, steps, payloads } of of('prepared')) {
      const reply = await client.post('submit', { gid, trans_type, steps, payloads });
      expect([gid, reply.status]).toEqual([gid, 200]);
      await client.ended(gid, 'succeed');
      touched.delete(gid);
    }
    for (const { gid } of of('submitted')) {
      expect((await client.post('forceStop', { gid })).status).toBe(200);
      await client.ended(gid, 'failed');
      touched.delete(gid);
    }
    for (const { gid, trans_type, steps, payloads } of of('succeed')) {
      // A repeat of what was decided long ago (P6).
      const reply = await client.post('submit', { gid, trans_type, steps, payloads });
      expect([gid, reply.status]).toEqual([gid, 200]);
    }
    const fresh = { gid: 'fresh', trans_type: 'saga', steps: [{ action: '', compensate: '' }] };
    const reply = await client.post('submit', { ...fresh, payloads: ['{}'], wait_result: true });
    expect(reply.status).toBe(200);

    await node.stop(1);
    await node.startAll();
    await expectRecorded(client, touched);
    for (const { gid } of of('prepared')) {
      expect((await client.transaction(gid)).status).toBe('succeed');
    }
    for (const { gid } of of('submitted')) {
      expect((await client.transaction(gid)).status).toBe('failed');
    }
  });
});
