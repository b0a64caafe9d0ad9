// The only writer of the durable log: one write in flight, everything queued meanwhile in the next.
//
// Owns: the order of writes and the moment at which messages that assert durability leave (F3 of the
// design's findings; Raft paper Fig. 2 "updated on stable storage before responding").
// Does not own: the log, the core, the network.
//
// Invariants: completions are reported in the order of the effects; a message of an effect leaves
// only after the write that carries the effect; a barrier runs with no write in flight, after every
// effect queued before it and before every effect queued after it.

import type { Message, PersistEffect } from '../core/index.ts';
import { encodeEntry } from './entry-codec.ts';
import { asError } from './errors.ts';
import type { RaftObserver } from './observer.ts';
import { mergePersists } from './persist-merge.ts';
import type { Clock, Fatal, LogBatch, LogStorage } from './ports.ts';

interface QueuedEffect {
  readonly kind: 'effect';
  readonly effect: PersistEffect;
  readonly bytes: number;
}
interface QueuedBarrier {
  readonly kind: 'barrier';
  readonly run: () => Promise<void>;
  readonly done: () => void;
}
type QueueItem = QueuedEffect | QueuedBarrier;

export interface PersisterDeps {
  readonly log: LogStorage;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly observer: RaftObserver;
  readonly release: (messages: readonly Message[]) => void;
  /** The effects with these ids are durable; what they release has been sent. */
  readonly persisted: (writeIds: readonly number[]) => void;
  readonly bytesMax: number;
  /** The simulator's deliberate bug: acknowledge before the write is durable. */
  readonly releaseBeforePersist: boolean;
}

export class Persister {
  readonly #deps: PersisterDeps;
  #queue: QueueItem[] = [];
  #queuedBytes = 0;
  #busy = false;
  #stopped = false;
  #totalBytes = 0;
  #onIdle: (() => void) | undefined;

  constructor(deps: PersisterDeps) {
    this.#deps = deps;
  }

  get busy(): boolean {
    return this.#busy;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Bytes of entries ever queued: what a pin of the log has cost since it was set. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Queues an effect; `kick` starts it, so that the effects of one turn share a write. */
  enqueue(effect: PersistEffect): void {
    let bytes = 0;
    for (const entry of effect.entries) bytes += encodeEntry(entry).length;
    this.#queue.push({ kind: 'effect', effect, bytes });
    this.#queuedBytes += bytes;
    this.#totalBytes += bytes;
    if (this.#deps.releaseBeforePersist) this.#deps.release(effect.release);
  }

  /** Runs an operation on the log alone. A rejection is fatal; `done` runs after success. */
  barrier(run: () => Promise<void>, done: () => void): void {
    this.#queue.push({ kind: 'barrier', run, done });
  }

  kick(): void {
    if (this.#busy || this.#stopped) return;
    const head = this.#queue[0];
    if (head === undefined) return;
    this.#busy = true;
    if (head.kind === 'barrier') {
      this.#queue.shift();
      this.#runBarrier(head);
    } else {
      this.#write(this.#takeEffects());
    }
  }

  /** Starts nothing more; `idle` runs once no write is in flight, perhaps at once. */
  stop(idle: () => void): void {
    this.#stopped = true;
    if (this.#busy) this.#onIdle = idle;
    else idle();
  }

  #takeEffects(): readonly PersistEffect[] {
    const taken: PersistEffect[] = [];
    let bytes = 0;
    for (const item of this.#queue) {
      if (item.kind === 'barrier') break;
      if (taken.length > 0 && bytes + item.bytes > this.#deps.bytesMax) break;
      taken.push(item.effect);
      bytes += item.bytes;
    }
    this.#queue = this.#queue.slice(taken.length);
    this.#queuedBytes -= bytes;
    return taken;
  }

  #write(effects: readonly PersistEffect[]): void {
    const { log, clock, fatal, observer } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    let batch: LogBatch;
    try {
      batch = mergePersists(effects);
    } catch (cause) {
      this.#stopped = true;
      fatal(asError(cause), { writeIds: effects.map((effect) => effect.writeId) });
      return;
    }
    // Such an effect exists only to keep its messages behind earlier writes, which are durable now.
    if (isEmpty(batch)) {
      this.#complete(effects);
      return;
    }
    log.append(batch, () => {
      let bytes = 0;
      for (const entry of batch.entries) bytes += encodeEntry(entry).length;
      observer.persisted({
        effects: effects.length,
        entries: batch.entries.length,
        bytes,
        durationMs: clock.monotonicMs() - startedAtMs,
      });
      this.#complete(effects);
    });
  }

  #complete(effects: readonly PersistEffect[]): void {
    this.#finish(() => {
      if (!this.#deps.releaseBeforePersist) {
        for (const effect of effects) this.#deps.release(effect.release);
      }
      this.#deps.persisted(effects.map((effect) => effect.writeId));
    });
  }

  #runBarrier(item: QueuedBarrier): void {
    item.run().then(
      () => this.#finish(item.done),
      (cause: unknown) => {
        this.#stopped = true;
        this.#deps.fatal(asError(cause), { during: 'an operation on the log' });
      },
    );
  }

  #finish(report: () => void): void {
    this.#busy = false;
    if (this.#stopped) {
      this.#onIdle?.();
      return;
    }
    report();
    this.kick();
  }
}

function isEmpty(batch: LogBatch): boolean {
  const { entries, hardState, recovered, truncateFrom } = batch;
  return (
    entries.length === 0 && hardState === undefined && truncateFrom === undefined && !recovered
  );
}
