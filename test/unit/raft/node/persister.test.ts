import { describe, expect, it } from 'vitest';
import type { Entry, Message, PersistEffect } from '../../../../src/raft/index.ts';
import { NO_OBSERVER } from '../../../../src/raft/node/observer.ts';
import { Persister } from '../../../../src/raft/node/persister.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';
import { configurationOf, MemoryLog } from '../../../helpers/raft-memory.ts';

function effect(writeId: number, indexes: readonly number[]): PersistEffect {
  const entries: Entry[] = indexes.map((index) => ({ kind: 'noop', index, term: 1, timeMs: 0 }));
  const release: Message[] = [{ kind: 'timeoutNow', from: 1, to: 2, term: writeId, fromBoot: 1 }];
  return {
    kind: 'persist',
    writeId,
    hardState: undefined,
    truncateFrom: undefined,
    entries,
    recovered: false,
    release,
  };
}

function setUp(releaseBeforePersist = false) {
  const clock = new ManualClock();
  const log = new MemoryLog(clock, configurationOf([1]));
  log.open(1);
  const trace: string[] = [];
  const persister = new Persister({
    log,
    clock,
    fatal: (error) => trace.push(`fatal ${error.message}`),
    observer: NO_OBSERVER,
    release: (messages) => trace.push(...messages.map((message) => `release ${message.term}`)),
    persisted: (writeIds) => trace.push(`persisted ${writeIds.join(',')}`),
    bytesMax: 1 << 20,
    releaseBeforePersist,
  });
  return { clock, log, trace, persister };
}

describe('the persister', () => {
  it('writes in one batch everything that queued while a write was in flight', async () => {
    const { clock, log, persister, trace } = setUp();
    persister.enqueue(effect(1, [1]));
    persister.kick();
    persister.enqueue(effect(2, [2]));
    persister.enqueue(effect(3, [3, 4]));
    persister.kick();
    await clock.advance(10);
    expect(log.batches.map((batch) => batch.entries.map((entry) => entry.index))).toEqual([
      [1],
      [2, 3, 4],
    ]);
    expect(trace).toEqual(['release 1', 'persisted 1', 'release 2', 'release 3', 'persisted 2,3']);
  });

  it('releases no message before the write that carries it is durable (A1, A2)', async () => {
    const { clock, persister, trace } = setUp();
    persister.enqueue(effect(1, [1]));
    persister.kick();
    await clock.advance(0.5);
    expect(trace).toEqual([]);
    await clock.advance(1);
    expect(trace).toEqual(['release 1', 'persisted 1']);
  });

  it('releases early under its deliberate bug, so that checkers can be tested', () => {
    const { persister, trace } = setUp(true);
    persister.enqueue(effect(1, [1]));
    expect(trace).toEqual(['release 1']);
  });

  it('runs a barrier alone, between the writes before it and those after it', async () => {
    const { clock, log, persister, trace } = setUp();
    persister.enqueue(effect(1, [1]));
    persister.kick();
    persister.barrier(
      async () => {
        trace.push(`barrier at ${log.lastIndex}`);
      },
      () => trace.push('barrier done'),
    );
    persister.enqueue(effect(2, [2]));
    await clock.advance(10);
    expect(trace).toEqual([
      'release 1',
      'persisted 1',
      'barrier at 1',
      'barrier done',
      'release 2',
      'persisted 2',
    ]);
  });

  it('stops after the write in flight and starts no other', async () => {
    const { clock, log, persister } = setUp();
    persister.enqueue(effect(1, [1]));
    persister.kick();
    persister.enqueue(effect(2, [2]));
    let idle = false;
    persister.stop(() => {
      idle = true;
    });
    expect(idle).toBe(false);
    await clock.advance(10);
    expect(idle).toBe(true);
    expect(log.batches).toHaveLength(1);
  });

  it('treats a failed operation on the log as fatal', async () => {
    const { clock, persister, trace } = setUp();
    persister.barrier(
      () => Promise.reject(new Error('disk gone')),
      () => trace.push('done'),
    );
    persister.kick();
    await clock.advance(1);
    expect(trace).toEqual(['fatal disk gone']);
  });
});
