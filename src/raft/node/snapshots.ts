// Snapshots between nodes: sending one to a peer that needs compacted entries, receiving one.
//
// Owns: which streams run, the pins that keep the log for their receivers, and the way of a received
// generation: received → offered to the core → installed or discarded.
// Does not own: the image (the machine's), the stream (the transport's), the decision (the core's).
//
// Invariants: one snapshot is received or installed at a time (bug F5); a generation that the core
// does not accept is deleted; an install runs with neither an apply nor a write under way, the log's
// `Installed` record before the machine switches (docs/architecture.md §Storage); an unreachable peer
// holds up nothing but its own stream (bug F21).

import type { LogIndex, NodeId, RaftEvent, SnapshotMeta } from '../core/index.ts';
import type { Applier } from './applier.ts';
import { asError, RaftNodeError } from './errors.ts';
import type { Persister } from './persister.ts';
import type {
  Cancel,
  Clock,
  Fatal,
  LogStorage,
  NodeLog,
  SnapshotSource,
  StateMachine,
  Transport,
} from './ports.ts';

export interface SnapshotsDeps {
  readonly log: LogStorage;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly logger: NodeLog;
  readonly persister: Persister;
  readonly applier: Applier;
  readonly dispatch: (event: RaftEvent) => void;
  readonly installed: (index: LogIndex) => void;
  readonly limits: {
    readonly pinBytesMax: number;
    readonly snapshotSendsMax: number;
    readonly snapshotSendMsMax: number;
  };
}

interface Sending {
  /** Entries above this index must stay in the log for the receiver. */
  pinIndex: LogIndex;
  readonly bytesAtStart: number;
}

interface Received {
  readonly meta: SnapshotMeta;
  readonly generation: number;
  state: 'offered' | 'installing';
}

export class Snapshots {
  readonly #deps: SnapshotsDeps;
  readonly #sending = new Map<NodeId, Sending>();
  #receiving = false;
  #received: Received | undefined;
  #stopped = false;

  constructor(deps: SnapshotsDeps) {
    this.#deps = deps;
  }

  get sendingTo(): readonly NodeId[] {
    return [...this.#sending.keys()];
  }

  get receiving(): boolean {
    return this.#receiving || this.#received !== undefined;
  }

  /** Highest index that may be compacted without cutting off a receiver. */
  get compactableIndex(): LogIndex {
    let index = Number.MAX_SAFE_INTEGER;
    for (const sending of this.#sending.values()) {
      const heldBytes = this.#deps.persister.totalBytes - sending.bytesAtStart;
      if (heldBytes <= this.#deps.limits.pinBytesMax) index = Math.min(index, sending.pinIndex);
    }
    return index;
  }

  send(to: NodeId): void {
    const { clock, dispatch, limits, logger } = this.#deps;
    if (this.#sending.has(to) || this.#sending.size >= limits.snapshotSendsMax) {
      clock.defer(() => dispatch({ kind: 'snapshotSent', to, meta: undefined, ok: false }));
      return;
    }
    this.#sending.set(to, {
      pinIndex: this.#deps.applier.appliedIndex,
      bytesAtStart: this.#deps.persister.totalBytes,
    });
    logger.info({ to }, 'sending a snapshot');
    this.#stream(to).then(
      (meta) => this.#sent(to, meta, undefined),
      (cause: unknown) => this.#sent(to, undefined, asError(cause)),
    );
  }

  /** Resolves when the snapshot is durable here; the core then decides what becomes of it. */
  async receive(
    from: NodeId,
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { applier, dispatch, logger, machine } = this.#deps;
    if (this.#stopped) throw new RaftNodeError('stopped', 'the node stops');
    if (this.receiving) {
      throw new RaftNodeError('snapshotBusy', 'another snapshot is being received or installed');
    }
    if (meta.index <= applier.appliedIndex) {
      // Nothing in it is news: the core acknowledges what is here, so that the sender goes on.
      dispatch({ kind: 'snapshotReceived', from, meta });
      return;
    }
    this.#receiving = true;
    try {
      logger.info({ from, index: meta.index, term: meta.term }, 'receiving a snapshot');
      const generation = await machine.receive(meta, chunks);
      this.#received = { meta, generation, state: 'offered' };
    } finally {
      this.#receiving = false;
    }
    dispatch({ kind: 'snapshotReceived', from, meta });
  }

  /** The core has seen the offer; whatever it did not take will never be used. */
  settle(meta: SnapshotMeta): void {
    if (this.#received?.meta === meta && this.#received.state === 'offered') this.discard(meta);
  }

  install(meta: SnapshotMeta): void {
    const received = this.#received;
    if (received === undefined || !samePosition(received.meta, meta)) {
      this.#deps.fatal(new Error('an install of a snapshot that was not received'), {
        index: meta.index,
        term: meta.term,
      });
      return;
    }
    received.state = 'installing';
    const { applier, dispatch, installed, log, logger, machine, persister } = this.#deps;
    const run = async (): Promise<void> => {
      await new Promise<void>((resolve) => {
        persister.barrier(() => log.installed(meta, received.generation), resolve);
        persister.kick();
      });
      await machine.install(meta, received.generation);
    };
    applier.install(meta.index, run, () => {
      this.#received = undefined;
      logger.info({ index: meta.index, term: meta.term }, 'installed a snapshot');
      dispatch({ kind: 'snapshotInstalled', meta });
      installed(meta.index);
    });
  }

  discard(meta: SnapshotMeta): void {
    const { logger, machine } = this.#deps;
    const received = this.#received;
    if (received === undefined || !samePosition(received.meta, meta)) return;
    logger.info({ index: meta.index, term: meta.term }, 'discarding a received snapshot');
    machine.discard(received.generation).then(
      () => this.#forget(received),
      (cause: unknown) => {
        // A generation that is in the way is deleted at the next opening; it holds no truth.
        logger.warn({ error: String(cause) }, 'could not delete a discarded snapshot');
        this.#forget(received);
      },
    );
  }

  stop(): void {
    this.#stopped = true;
  }

  #forget(received: Received): void {
    if (this.#received === received) this.#received = undefined;
  }

  async #stream(to: NodeId): Promise<SnapshotMeta> {
    const { clock, limits, machine, transport } = this.#deps;
    const source = await machine.snapshot();
    const sending = this.#sending.get(to);
    if (sending !== undefined) sending.pinIndex = source.meta.index;
    let cancel: Cancel | undefined;
    try {
      await Promise.race([
        transport.sendSnapshot(to, source),
        new Promise<never>((_resolve, reject) => {
          cancel = clock.after(limits.snapshotSendMsMax, () => {
            reject(new RaftNodeError('timeout', 'the snapshot took too long to send'));
          });
        }),
      ]);
      return source.meta;
    } finally {
      cancel?.();
      await closeQuietly(source, this.#deps.logger);
    }
  }

  #sent(to: NodeId, meta: SnapshotMeta | undefined, error: Error | undefined): void {
    this.#sending.delete(to);
    if (this.#stopped) return;
    if (error === undefined) this.#deps.logger.info({ to, index: meta?.index }, 'snapshot sent');
    else this.#deps.logger.warn({ to, error: error.message }, 'snapshot not sent');
    this.#deps.dispatch({ kind: 'snapshotSent', to, meta, ok: meta !== undefined });
  }
}

function samePosition(a: SnapshotMeta, b: SnapshotMeta): boolean {
  return a.index === b.index && a.term === b.term;
}

async function closeQuietly(source: SnapshotSource, logger: NodeLog): Promise<void> {
  try {
    await source.close();
  } catch (cause) {
    logger.warn({ error: String(cause) }, 'could not close a snapshot');
  }
}
