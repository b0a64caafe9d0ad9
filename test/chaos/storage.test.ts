// Real processes on disks that fill up, flip bits, lose writes and are swapped (P1, P3, P8;
// docs/architecture.md §4).

import { once } from 'node:events';
import {
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import { canMount, SMALL_FILES, StorageCluster } from './lib/storage-cluster.ts';
import { flipBit, tables, usedSegments, writeAheadLog } from './lib/surgery.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function makeCluster(nodes: number, config = SMALL_FILES): Promise<StorageCluster> {
  const cluster = await StorageCluster.create(nodes, config);
  closers.push(() => cluster.destroy());
  return cluster;
}

/** A participant that answers when it is told to. */
class HeldParticipant {
  readonly #server: Server;
  #held: ServerResponse[] = [];
  #open = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<HeldParticipant> {
    const server = createServer();
    const participant = new HeldParticipant(server);
    server.on('request', (request, response: ServerResponse) => {
      request.resume();
      if (participant.#open) response.end('{"dtm_result":"SUCCESS"}');
      else participant.#held.push(response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return participant;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  release(): void {
    this.#open = true;
    for (const response of this.#held.splice(0)) response.end('{"dtm_result":"SUCCESS"}');
  }
}

/** Fills the disk under `data`, to the last page if nothing is to be left. */
function fillDisk(data: string, leaveBytes = 0): string {
  const path = join(data, 'filler');
  for (let size = 1024 * 1024; size >= 4096; size /= 4) {
    try {
      for (;;) {
        const { bavail, bsize } = statfsSync(data);
        if (leaveBytes > 0 && bavail * bsize < leaveBytes + size) break;
        writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
  return path;
}

/** Every acknowledged gid is there, and the same, on these nodes: by default on all. */
async function expectSameEverywhere(
  cluster: StorageCluster,
  ids: readonly number[] = cluster.nodes.map(({ id }) => id),
): Promise<void> {
  const [first = 1, ...others] = ids;
  const expected = await cluster.everything(first);
  expect(expected.size).toBe(new Set(cluster.acknowledged).size);
  for (const id of others) expect(await cluster.everything(id)).toEqual(expected);
}

const mountable = canMount();

describe.skipIf(!mountable)('a full disk', () => {
  it('of one follower stops neither the others nor, once there is space, its own recovery', async () => {
    const cluster = await makeCluster(3);
    for (const { id } of cluster.nodes) cluster.mountSmallDisk(id, 48);
    await cluster.startAll();
    const leader = await cluster.leaderId();
    const [victim = 0] = await cluster.followers();
    await cluster.push(leader, 100);
    const filler = fillDisk(cluster.data(victim));
    // Through the segments that the follower has ahead, and beyond.
    await cluster.push(leader, 1200, { payloadBytes: 4000 });
    const supervised = cluster.supervised(victim);
    await until('the full node has ended', 20_000, () =>
      Promise.resolve(supervised.exits.length > 0 ? true : undefined),
    );
    await cluster.push(leader, 50);
    rmSync(filler);
    await cluster.ready(victim);
    await cluster.caughtUp(victim);
    expect(new Set(supervised.exits)).toEqual(new Set([75]));
    await cluster.push(victim, 20);
    await expectSameEverywhere(cluster);
  });

  it('of every node closes admission, lets running work end, and loses nothing', async () => {
    const cluster = await makeCluster(3);
    for (const { id } of cluster.nodes) cluster.mountSmallDisk(id, 24);
    await cluster.startAll();
    const participant = await HeldParticipant.start();
    const leader = await cluster.leaderId();
    await cluster.push(leader, 50);
    const step = { action: `${participant.url}/action`, compensate: `${participant.url}/undo` };
    const running = Array.from({ length: 20 }, () => cluster.freshGid('running'));
    for (const gid of running) {
      expect((await cluster.submit(leader, { gid, steps: [step, step] })).status).toBe(200);
    }
    await until('the calls are in flight', 10_000, () =>
      Promise.resolve(participant.heldCount === running.length ? true : undefined),
    );
    // Below the floor first, as disks fill up; and to the brim once the nodes have seen it.
    for (const { id } of cluster.nodes) fillDisk(cluster.data(id), 2 * 1024 * 1024);
    for (const { id } of cluster.nodes) {
      await until(`node ${id} closes admission`, 10_000, async () =>
        (await cluster.view(id)).admissionOpen === false ? true : undefined,
      );
    }
    const fillers = cluster.nodes.map(({ id }) => fillDisk(cluster.data(id)));
    const refused = cluster.freshGid('refused');
    for (const { id } of cluster.nodes) {
      const answer = await cluster.submit(id, { gid: refused });
      expect(answer.status).toBe(503);
      expect(answer.text).toContain('NO_SPACE');
      expect(answer.text).not.toMatch(/FAILURE|ONGOING/);
    }
    participant.release();
    for (const gid of running) {
      await until(`${gid} ends`, 20_000, async () => {
        const { transaction } = (await cluster.query(leader, gid)) as {
          transaction: { status: string };
        };
        return transaction.status === 'succeed' ? true : undefined;
      });
    }
    for (const { id } of cluster.nodes) expect(cluster.supervised(id).exits).toEqual([]);
    for (const filler of fillers) rmSync(filler);
    await until('work is admitted again', 20_000, async () =>
      (await cluster.submit(leader, { gid: refused, wait: true })).status === 200
        ? true
        : undefined,
    );
    await expectSameEverywhere(cluster);
  });

  it('that a node meets with work in flight, killed and full, gives everything back', async () => {
    const cluster = await makeCluster(3);
    for (const { id } of cluster.nodes) cluster.mountSmallDisk(id, 24);
    await cluster.startAll();
    await cluster.push(await cluster.leaderId(), 200, { payloadBytes: 2000 });
    const fillers = cluster.nodes.map(({ id }) => fillDisk(cluster.data(id)));
    await cluster.endAll('SIGKILL');
    const supervised = cluster.nodes.map(({ id }) => cluster.start(id));
    // Each comes up, or asks to be started again; none gives up.
    await until('every node has tried', 20_000, async () => {
      for (const [i, { id }] of cluster.nodes.entries()) {
        const tried = (supervised[i]?.exits.length ?? 0) > 0;
        if (!tried && (await cluster.get(id, '/startupz')).status !== 200) return undefined;
      }
      return true;
    });
    for (const { exits } of supervised) expect(exits.every((code) => code === 75)).toBe(true);
    for (const filler of fillers) rmSync(filler);
    await cluster.allReady();
    await cluster.push(await cluster.leaderId(), 20);
    await expectSameEverywhere(cluster);
  });
});

describe('a flipped bit in the log of a stopped node', () => {
  it('is found at start-up and named; the node gives no vote until its peers have healed it', async () => {
    const cluster = await makeCluster(3);
    await cluster.startAll();
    const places: readonly ((data: string) => readonly [string, string, number])[] = [
      (data) => {
        const [first] = usedSegments(data);
        return ['the header of a segment', first?.path ?? '', 80];
      },
      (data) => {
        const [segment] = usedSegments(data);
        return ['the middle', segment?.path ?? '', Math.floor((segment?.usedBytes ?? 0) / 2)];
      },
      (data) => {
        const segment = usedSegments(data).at(-1);
        return ['the last batch', segment?.path ?? '', (segment?.usedBytes ?? 0) - 40];
      },
    ];
    for (const place of places) {
      await cluster.push(await cluster.leaderId(), 80, { payloadBytes: 1000 });
      for (const { id } of cluster.nodes) await cluster.caughtUp(id);
      const [victim = 0, other = 0] = await cluster.followers();
      const third = await cluster.leaderId();
      await cluster.endAll('SIGKILL');
      const [name, path, offset] = place(cluster.data(victim));
      flipBit(path, offset, 3);
      const log = cluster.logFrom(victim);

      cluster.start(victim);
      const view = await until(`${name}: found`, 10_000, async () => {
        const seen = await cluster.view(victim);
        return seen.recovering ? seen : undefined;
      });
      expect(path.endsWith(view.recovering?.file ?? '?'), name).toBe(true);
      expect(view.recovering?.offset, name).toBeLessThanOrEqual(offset);
      expect(log(), name).toContain('the log is damaged');
      const readiness = await cluster.get(victim, '/readyz');
      expect(readiness.status, name).toBe(503);
      expect(readiness.text, name).toContain('[-]log_whole failed');
      const refusal = await cluster.submit(victim, { gid: cluster.freshGid('refused') });
      expect([refusal.status, refusal.text], name).toEqual([
        503,
        expect.stringContaining('RECOVERING'),
      ]);

      // Two of three, and still no leader: its vote would be needed.
      cluster.start(other);
      const before = await until('the other is up', 10_000, async () => {
        const seen = await cluster.view(other);
        return seen.term === undefined ? undefined : seen;
      });
      await until('the other has campaigned in vain', 10_000, async () => {
        const waited = await cluster.submit(other, { gid: cluster.freshGid('refused') });
        return waited.status === 503 ? true : undefined;
      });
      for (const id of [victim, other]) {
        const { leaderId, role } = await cluster.view(id);
        expect([leaderId ?? undefined, role === 'leader'], name).toEqual([undefined, false]);
      }
      expect((await cluster.view(victim)).recovering, name).toBeTruthy();
      expect((await cluster.view(victim)).term, name).toBe(before.term);

      cluster.start(third);
      await cluster.allReady();
      await until(`${name}: healed`, 20_000, async () =>
        (await cluster.view(victim)).recovering ? undefined : true,
      );
      await cluster.caughtUp(victim);
      await expectSameEverywhere(cluster);
    }
  });

  it('on a single node keeps it up and refusing; it never decides alone', async () => {
    const cluster = await makeCluster(1);
    await cluster.startAll();
    await cluster.push(1, 100, { payloadBytes: 1000 });
    await cluster.end(1, 'SIGKILL');
    const [segment] = usedSegments(cluster.data(1));
    flipBit(segment?.path ?? '', Math.floor((segment?.usedBytes ?? 0) / 2));
    for (const attempt of ['first', 'second']) {
      cluster.start(1);
      const view = await until('the damage is told', 10_000, async () => {
        const seen = await cluster.view(1);
        return seen.recovering ? seen : undefined;
      });
      expect(view.recovering, attempt).toMatchObject({ reason: 'damaged', file: segment?.name });
      expect(view.role, attempt).toBe('follower');
      expect((await cluster.get(1, '/livez')).status).toBe(200);
      expect((await cluster.get(1, '/readyz')).status).toBe(503);
      const refusal = await cluster.submit(1, { gid: cluster.freshGid('refused') });
      expect([refusal.status, refusal.text]).toEqual([503, expect.stringContaining('RECOVERING')]);
      expect((await cluster.view(1)).recovering, attempt).toEqual(view.recovering);
      await cluster.end(1, 'SIGKILL');
    }
  });
});

describe('damage to the state', () => {
  it('in its tables or its write-ahead log is found, and the state is rebuilt', async () => {
    const cluster = await makeCluster(
      3,
      SMALL_FILES.replace('trailingEntries: 100', 'trailingEntries: 100000'),
    );
    await cluster.startAll();
    await cluster.push(await cluster.leaderId(), 200, { payloadBytes: 1000 });
    const [victim = 0] = await cluster.followers();
    await cluster.caughtUp(victim);
    const table = (): string => tables(cluster.data(victim)).at(-1) ?? '';
    const hurts: readonly (readonly [string, () => void])[] = [
      ['a table, in its first block', () => flipBit(table(), 2000)],
      [
        'a table, in its middle',
        () => flipBit(table(), Math.floor(readFileSync(table()).length / 2)),
      ],
      [
        'the write-ahead log, one bit',
        () => {
          const { path, bytes } = writeAheadLog(cluster.data(victim));
          flipBit(path, Math.floor(bytes / 3));
        },
      ],
      [
        'the write-ahead log, its end cut off',
        () => {
          const { path, bytes } = writeAheadLog(cluster.data(victim));
          truncateSync(path, Math.floor(bytes / 2));
        },
      ],
      [
        'the write-ahead log, a hole',
        () => {
          const { path, bytes } = writeAheadLog(cluster.data(victim));
          const content = readFileSync(path);
          content.fill(0, Math.floor(bytes / 4), Math.floor(bytes / 2));
          writeFileSync(path, content);
        },
      ],
    ];
    for (const [name, hurt] of hurts) {
      if (name.startsWith('a table')) {
        // Opening LevelDB turns its write-ahead log into tables.
        await cluster.end(victim, 'SIGTERM');
        cluster.start(victim);
        await cluster.ready(victim);
      }
      await cluster.end(victim, 'SIGKILL');
      hurt();
      const log = cluster.logFrom(victim);
      const supervised = cluster.start(victim);
      await until(`${name}: found`, 30_000, async () => {
        // Reading is one way to find it.
        for (const gid of cluster.acknowledged.slice(0, 20)) {
          await cluster.query(victim, gid).catch(() => undefined);
        }
        return log().includes('the state must be rebuilt') ? true : undefined;
      });
      await cluster.ready(victim);
      expect(
        supervised.exits.every((code) => code === 75),
        name,
      ).toBe(true);
      await cluster.caughtUp(victim);
      await expectSameEverywhere(cluster, [victim, await cluster.leaderId()]);
      await cluster.push(await cluster.leaderId(), 120, { payloadBytes: 1000 });
      await cluster.caughtUp(victim);
      await cluster.flushed(victim);
      await cluster.push(await cluster.leaderId(), 10);
      await cluster.caughtUp(victim);
      await cluster.flushed(victim);
    }
  });

  it('with a log that no longer holds every entry is healed by a snapshot of a peer', async () => {
    const cluster = await makeCluster(3);
    await cluster.startAll();
    const leader = await cluster.leaderId();
    const [victim = 0] = await cluster.followers();
    await cluster.push(leader, 800, { payloadBytes: 4000 });
    await cluster.caughtUp(victim);
    await until('the log is compacted', 20_000, async () =>
      ((await cluster.view(victim)).firstIndex ?? 0) > 1 ? true : undefined,
    );
    await cluster.flushed(victim);
    await cluster.end(victim, 'SIGKILL');
    const { path, bytes } = writeAheadLog(cluster.data(victim));
    truncateSync(path, Math.floor(bytes / 2));
    const log = cluster.logFrom(victim);
    cluster.start(victim);
    await cluster.ready(victim);
    await until('healed', 20_000, async () =>
      (await cluster.view(victim)).recovering ? undefined : true,
    );
    expect(log()).toContain('the log starts over');
    expect(log()).toContain('installed a snapshot');
    await cluster.caughtUp(victim);
    await expectSameEverywhere(cluster);
  });

  it('on a single node whose log no longer holds every entry destroys nothing', async () => {
    const cluster = await makeCluster(1);
    await cluster.startAll();
    await cluster.push(1, 900, { payloadBytes: 4000 });
    await until('the log is compacted', 20_000, async () =>
      ((await cluster.view(1)).firstIndex ?? 0) > 1 ? true : undefined,
    );
    await cluster.flushed(1);
    await cluster.end(1, 'SIGKILL');
    const data = cluster.data(1);
    const { path, bytes } = writeAheadLog(data);
    truncateSync(path, Math.floor(bytes / 2));
    const before = usedSegments(data).map((segment) => ({
      ...segment,
      content: readFileSync(segment.path).subarray(0, segment.usedBytes),
    }));
    for (let start = 0; start < 2; start += 1) {
      cluster.start(1);
      await until('the damage is told', 10_000, async () =>
        (await cluster.view(1)).recovering ? true : undefined,
      );
      const refusal = await cluster.submit(1, { gid: cluster.freshGid('refused') });
      expect([refusal.status, refusal.text]).toEqual([503, expect.stringContaining('RECOVERING')]);
      await cluster.end(1, 'SIGKILL');
    }
    for (const { name, content, usedBytes } of before) {
      const kept = readFileSync(join(data, `${name}.damaged`)).subarray(0, usedBytes);
      expect(kept.equals(content), name).toBe(true);
    }
    expect(readdirSync(data)).toContain('state-0.damaged');
  });
});

describe('a directory that is not its own', () => {
  it.each(['wiped', 'of another node', 'of another cluster'])(
    '(%s) is refused with a reason, and the others go on',
    async (kind) => {
      const cluster = await makeCluster(3);
      await cluster.startAll();
      const [victim = 0, other = 0] = await cluster.followers();
      await cluster.push(other, 20);
      await cluster.end(victim, 'SIGTERM');
      const data = cluster.data(victim);
      renameSync(data, `${data}.away`);
      if (kind === 'of another node') {
        cpSync(cluster.data(other), data, { recursive: true });
      } else if (kind === 'of another cluster') {
        const foreign = await makeCluster(3);
        cpSync(foreign.data(victim), data, { recursive: true });
      }
      const log = cluster.logFrom(victim);
      const refused = cluster.start(victim);
      if (kind === 'of another cluster') {
        // It may be that the others are the foreign ones: it says so, and takes no part.
        await until('the handshake is refused', 15_000, () =>
          Promise.resolve(/cluster/.test(log()) ? true : undefined),
        );
        expect((await cluster.get(victim, '/readyz')).status).toBe(503);
        expect((await cluster.view(victim)).leaderId ?? undefined).toBeUndefined();
        await cluster.end(victim, 'SIGKILL');
      } else {
        expect(await refused.ended).toBe(65);
        expect(log()).toMatch(kind === 'wiped' ? /not formatted/ : /belongs to node|node\.id/);
      }
      await cluster.push(await cluster.leaderId(), 20);
      rmSync(data, { recursive: true, force: true });
      renameSync(`${data}.away`, data);
      cluster.start(victim);
      await cluster.ready(victim);
      await expectSameEverywhere(cluster);
    },
  );
});

describe('a node left behind by a compacted log', () => {
  it('receives a snapshot, though it is killed during it and right after it, and serves', async () => {
    const cluster = await makeCluster(3);
    await cluster.startAll();
    const leader = await cluster.leaderId();
    const [victim = 0] = await cluster.followers();
    await cluster.push(leader, 50);
    await cluster.end(victim, 'SIGKILL');
    const { lastIndex = 0 } = await cluster.view(leader);
    await cluster.push(leader, 900, { payloadBytes: 4000 });
    await until('the log is compacted beyond it', 20_000, async () =>
      ((await cluster.view(leader)).firstIndex ?? 0) > lastIndex + 1 ? true : undefined,
    );
    for (const moment of ['receiving a snapshot', 'receiving a snapshot', 'installed a snapshot']) {
      const log = cluster.logFrom(victim);
      cluster.start(victim);
      await until(moment, 20_000, () => Promise.resolve(log().includes(moment) ? true : undefined));
      await cluster.end(victim, 'SIGKILL');
    }
    cluster.start(victim);
    await cluster.ready(victim);
    await cluster.caughtUp(victim);
    await cluster.push(victim, 20);
    await expectSameEverywhere(cluster);
    const states = readdirSync(cluster.data(victim)).filter((name) => name.startsWith('state-'));
    expect(states).toHaveLength(1);
    expect(states).not.toEqual(['state-0']);
  });
});
