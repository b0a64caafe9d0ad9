// The state machine as consensus sees it: entries in, mutations of the store and news out.
//
// Owns: the batch (decode, fetch what it reads, apply, tell the listeners), the hand-over to another
// generation, and the comparison of digests.
// Does not own: what a command does (machine), where the state is kept (store).
//
// Invariants
//   R1. A batch is applied in one turn, after everything that it reads has been fetched.
//   R2. Listeners hear of an entry after its mutations are visible, and before the next entry.
//   R3. A replica whose digest differs from the leader's stops: it must be rebuilt, not believed.

import type {
  CommandsEntry,
  Entry,
  Fatal,
  SnapshotMeta,
  SnapshotSource,
  StateMachine,
  Term,
} from '../../raft/index.ts';
import type { AppliedEntry, Command, Key } from '../machine/index.ts';
import { decodeCommand, keysToRead, type Machine } from '../machine/index.ts';
import { DIGEST_INTERVAL, type Store } from '../store/index.ts';

export interface ReplicatedMachineDeps {
  readonly store: Store;
  readonly machine: Machine;
  readonly fatal: Fatal;
  readonly onApplied: (entry: AppliedEntry) => void;
  /** A leader's first entry: behind it, everything of its predecessors is applied. */
  readonly onNoop: (term: Term) => void;
  /** The applied index has reached a multiple of DIGEST_INTERVAL. */
  readonly onDigest: (index: number, digest: bigint) => void;
  readonly onDivergence: (context: Readonly<Record<string, unknown>>) => void;
}

interface DecodedEntry {
  readonly entry: Entry;
  readonly commands: readonly Command[];
}

export class ReplicatedMachine implements StateMachine {
  readonly #deps: ReplicatedMachineDeps;

  constructor(deps: ReplicatedMachineDeps) {
    this.#deps = deps;
  }

  apply(entries: readonly Entry[], done: () => void): void {
    const { store, fatal } = this.#deps;
    const decoded = entries.map(decode);
    const keys: Key[] = [];
    for (const { commands } of decoded)
      for (const command of commands) keys.push(...keysToRead(command));
    const ready = join(store.apply.backpressure(), () => store.apply.prefetch(keys));
    if (ready === undefined) {
      this.#applyAll(decoded);
      // Not from inside the call (the contract of the port).
      queueMicrotask(done);
      return;
    }
    ready
      .then(() => {
        this.#applyAll(decoded);
        done();
      })
      .catch((error: unknown) => {
        fatal(error instanceof Error ? error : new Error(String(error)), {
          component: 'replicated-machine',
          appliedIndex: store.apply.appliedIndex,
        });
      });
  }

  snapshot(): Promise<SnapshotSource> {
    return this.#deps.store.snapshot();
  }

  receive(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#deps.store.receive(meta, chunks);
  }

  discard(generation: number): Promise<void> {
    return this.#deps.store.discard(generation);
  }

  install(meta: SnapshotMeta, generation: number): Promise<void> {
    return this.#deps.store.install(meta, generation);
  }

  #applyAll(decoded: readonly DecodedEntry[]): void {
    for (const { entry, commands } of decoded) this.#applyOne(entry, commands);
  }

  #applyOne(entry: Entry, commands: readonly Command[]): void {
    const { store, machine, onApplied, onNoop, onDigest, onDivergence } = this.#deps;
    const { index, term, timeMs } = entry;
    let applied: AppliedEntry | undefined;
    if (entry.kind === 'commands') {
      applied = machine.applyEntry({ index, term, timeMs, commands }, store.apply, (at) =>
        store.apply.digestAt(at),
      );
    }
    store.apply.commitBatch({
      index,
      term,
      timeMs,
      ...(entry.kind === 'configuration' ? { configuration: entry.configuration } : {}),
    });
    if (applied?.divergence !== undefined) {
      onDivergence({ reason: 'the state differs from the leader’s', ...applied.divergence });
      return;
    }
    if (applied !== undefined) onApplied(applied);
    if (entry.kind === 'noop') onNoop(term);
    if (index % DIGEST_INTERVAL === 0) onDigest(index, store.apply.digest());
  }
}

function decode(entry: Entry): DecodedEntry {
  return { entry, commands: entry.kind === 'commands' ? decodeAll(entry) : [] };
}

function decodeAll(entry: CommandsEntry): readonly Command[] {
  return entry.commands.map((bytes) => decodeCommand(bytes));
}

/** Waits for the first, if there is anything to wait for, then asks the second. */
function join(
  first: Promise<void> | undefined,
  second: () => Promise<void> | undefined,
): Promise<void> | undefined {
  return first === undefined ? second() : first.then(second);
}
