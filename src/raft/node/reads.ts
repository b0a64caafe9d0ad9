// Linearizable reads from any node: ReadIndex (thesis §6.4), gathered.
//
// Owns: which callers share a round, asking again when a round could not be confirmed, timeouts.
// Does not own: the confirmation (the core's), waiting for the apply (waiters.ts).
//
// Invariants: a caller only joins a round that starts after its call, so the index that the round
// yields covers everything committed before the call; every read ends exactly once.

import type { LogIndex, MonotonicMs } from '../core/index.ts';
import { RaftNodeError } from './errors.ts';
import type { Cancel, Clock } from './ports.ts';

interface Reader {
  readonly deadlineMs: MonotonicMs;
  readonly cancel: Cancel;
  readonly resolve: (index: LogIndex) => void;
  readonly reject: (error: RaftNodeError) => void;
}
interface Round {
  readonly readers: Reader[];
  readonly cancel: Cancel;
}

export interface ReadsDeps {
  readonly clock: Clock;
  /** Starts a round in the core. */
  readonly ask: (readId: number) => void;
  readonly waitApplied: (index: LogIndex, timeoutMs: number) => Promise<void>;
  readonly retryMs: number;
  /** A round that is lost on the way is asked again after this long. */
  readonly roundMsMax: number;
  readonly countMax: number;
}

export class Reads {
  readonly #deps: ReadsDeps;
  readonly #open = new Set<Reader>();
  readonly #rounds = new Map<number, Round>();
  #gathering: Reader[] = [];
  #scheduled = false;
  #nextReadId = 1;
  #stopped = false;

  constructor(deps: ReadsDeps) {
    this.#deps = deps;
  }

  get count(): number {
    return this.#open.size;
  }

  read(timeoutMs: number): Promise<LogIndex> {
    const { clock, countMax } = this.#deps;
    if (this.#stopped) return Promise.reject(new RaftNodeError('stopped', 'the node stops'));
    if (this.#open.size >= countMax) {
      return Promise.reject(new RaftNodeError('overloaded', 'too many reads are open'));
    }
    return new Promise((resolve, reject) => {
      const reader: Reader = {
        deadlineMs: clock.monotonicMs() + timeoutMs,
        resolve,
        reject,
        cancel: clock.after(timeoutMs, () => {
          this.#open.delete(reader);
          reject(new RaftNodeError('timeout', `the read was not confirmed in ${timeoutMs} ms`));
        }),
      };
      this.#open.add(reader);
      this.#gather([reader]);
    });
  }

  ready(readIds: readonly number[], index: LogIndex): void {
    for (const readId of readIds) {
      for (const reader of this.#endRound(readId)) this.#confirmed(reader, index);
    }
  }

  failed(readIds: readonly number[]): void {
    for (const readId of readIds) this.#askAgain(this.#endRound(readId));
  }

  stop(): void {
    this.#stopped = true;
    for (const round of this.#rounds.values()) round.cancel();
    this.#rounds.clear();
    this.#gathering = [];
    for (const reader of this.#open) {
      reader.cancel();
      reader.reject(new RaftNodeError('stopped', 'the node stops'));
    }
    this.#open.clear();
  }

  #gather(readers: readonly Reader[]): void {
    this.#gathering.push(...readers);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#deps.clock.defer(() => {
      this.#scheduled = false;
      this.#startRound();
    });
  }

  #startRound(): void {
    const readers = this.#gathering.filter((reader) => this.#open.has(reader));
    this.#gathering = [];
    if (this.#stopped || readers.length === 0) return;
    const readId = this.#nextReadId++;
    const cancel = this.#deps.clock.after(this.#deps.roundMsMax, () => {
      this.#gather(this.#endRound(readId));
    });
    this.#rounds.set(readId, { readers, cancel });
    this.#deps.ask(readId);
  }

  #endRound(readId: number): readonly Reader[] {
    const round = this.#rounds.get(readId);
    if (round === undefined) return [];
    this.#rounds.delete(readId);
    round.cancel();
    return round.readers.filter((reader) => this.#open.has(reader));
  }

  #askAgain(readers: readonly Reader[]): void {
    if (readers.length === 0 || this.#stopped) return;
    this.#deps.clock.after(this.#deps.retryMs, () => {
      if (!this.#stopped) this.#gather(readers);
    });
  }

  #confirmed(reader: Reader, index: LogIndex): void {
    this.#open.delete(reader);
    reader.cancel();
    const leftMs = Math.max(0, reader.deadlineMs - this.#deps.clock.monotonicMs());
    this.#deps.waitApplied(index, leftMs).then(
      () => reader.resolve(index),
      (cause: unknown) => {
        reader.reject(
          cause instanceof RaftNodeError ? cause : new RaftNodeError('timeout', String(cause)),
        );
      },
    );
  }
}
