// What opening a generation finds: is the state whole, and is it the one that the log knows?
//
// LevelDB may have lost acknowledged synced writes and says nothing (the LevelDB findings L2, L4,
// L5). A hole in the middle shows in the ledger; a lost end shows against the last flush mark of
// the log; a state older than the log's first entry cannot be replayed. In each case the state is
// `stale`: it must be rebuilt, never used.

import type { StoreConfig } from './config.ts';
import { StoreError } from './errors.ts';
import {
  CONFIGURATION_KEY,
  decodeLedger,
  decodeMeta,
  KEYS_FROM,
  KEYS_TO,
  LEDGER_FROM,
  LEDGER_TO,
  type LedgerEntry,
  META_KEY,
  SCRUB_KEY,
  type StateMeta,
  toBytes,
} from './layout.ts';
import type { FlushMark, OrderedKv } from './ports.ts';
import { unseal } from './sealed-value.ts';

export type StaleReason =
  /** Flushes are missing at the end: LevelDB lost acknowledged synced writes. */
  | 'lostTail'
  /** Flushes are missing in the middle. */
  | 'ledgerHole'
  /** A value of the store's own is damaged, or LevelDB refuses to open its files. */
  | 'damaged'
  /** The state's history is not the one whose mark the log holds. */
  | 'digestMismatch'
  /** The log no longer holds the entries that the state needs next. */
  | 'behindLog';

export interface Stale {
  readonly kind: 'stale';
  readonly reason: StaleReason;
  /** What was found, for operators. */
  readonly detail: string;
  /** What the state claims to contain; 0 = nothing. */
  readonly appliedIndex: number;
}

export interface Sound {
  readonly kind: 'sound';
  /** Undefined: a new generation, nothing was ever flushed. */
  readonly meta: StateMeta | undefined;
  /** JSON, as it was written; undefined with `meta`. */
  readonly configuration: Uint8Array | undefined;
  /** Where the scrub stood; undefined: at the start. */
  readonly scrubPosition: Uint8Array | undefined;
}

export interface AuditExpectation {
  readonly lastMark: FlushMark | undefined;
  /** The log holds entries above this index only. */
  readonly logBaseIndex: number;
  /** The bug switch `noLedgerCheck`. */
  readonly unchecked?: boolean;
}

/** @throws {STATE_FORMAT_UNKNOWN} */
export async function auditState(
  kv: OrderedKv,
  expected: AuditExpectation,
  config: Pick<StoreConfig, 'pageKeysMax'>,
): Promise<Sound | Stale> {
  const sealedMeta = await kv.get(META_KEY);
  if (sealedMeta === undefined) return auditEmpty(kv, expected);
  const decoded = decodeMeta(sealedMeta);
  if (decoded.kind === 'unknownFormat') {
    throw new StoreError('STATE_FORMAT_UNKNOWN', `state format ${decoded.format} is not known`);
  }
  if (decoded.kind === 'damaged') return stale('damaged', 'the meta value is damaged', 0);
  const { meta } = decoded;
  const problem =
    expected.unchecked === true
      ? undefined
      : ((await auditLedger(kv, meta, expected.lastMark, config.pageKeysMax)) ??
        compareWithLog(meta, expected));
  if (problem !== undefined) return problem;
  const sealedConfiguration = await kv.get(CONFIGURATION_KEY);
  const configuration =
    sealedConfiguration === undefined ? undefined : unseal(CONFIGURATION_KEY, sealedConfiguration);
  if (configuration === undefined) {
    return stale('damaged', 'the configuration is damaged or missing', meta.index);
  }
  const sealedPosition = await kv.get(SCRUB_KEY);
  // With a damaged position the scrub simply starts over.
  const scrubPosition = sealedPosition && unseal(SCRUB_KEY, sealedPosition);
  return { kind: 'sound', meta, configuration, scrubPosition };
}

/** No meta: either nothing was ever flushed, or the batches that wrote it are gone. */
async function auditEmpty(kv: OrderedKv, expected: AuditExpectation): Promise<Sound | Stale> {
  const ledger = await kv.range({ gte: LEDGER_FROM, lt: LEDGER_TO, limit: 1 });
  const keys = await kv.range({ gte: toBytes(KEYS_FROM), lt: toBytes(KEYS_TO), limit: 1 });
  if (ledger.length > 0 || keys.length > 0) {
    return stale('ledgerHole', 'there are keys, but no flush is recorded', 0);
  }
  return (
    compareWithLog(undefined, expected) ?? {
      kind: 'sound',
      meta: undefined,
      configuration: undefined,
      scrubPosition: undefined,
    }
  );
}

async function auditLedger(
  kv: OrderedKv,
  meta: StateMeta,
  mark: FlushMark | undefined,
  pageKeysMax: number,
): Promise<Stale | undefined> {
  let next = meta.ledgerFirst;
  let previous: LedgerEntry | undefined;
  let from = LEDGER_FROM;
  for (;;) {
    const page = await kv.range({ gte: from, lt: LEDGER_TO, limit: pageKeysMax });
    for (const [key, sealed] of page) {
      const entry = decodeLedger(key, sealed);
      if (entry === undefined)
        return stale('damaged', `ledger entry ${next} is damaged`, meta.index);
      if (entry.ledger !== next || entry.appliedIndex < (previous?.appliedIndex ?? 0)) {
        return stale(
          'ledgerHole',
          `flush ${next} is missing, ${entry.ledger} is there`,
          meta.index,
        );
      }
      if (contradicts(entry, mark)) {
        return stale('digestMismatch', `flush ${entry.ledger} is not the marked one`, meta.index);
      }
      previous = entry;
      next += 1;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < pageKeysMax) break;
    from = Buffer.concat([last[0], Uint8Array.of(0)]);
  }
  if (next - 1 !== meta.ledger || (previous?.appliedIndex ?? meta.index) !== meta.index) {
    return stale('ledgerHole', `the ledger ends at ${next - 1} of ${meta.ledger}`, meta.index);
  }
  return undefined;
}

/** The flush that a mark names, by number and index, must have left the digest that it names. */
function contradicts(entry: LedgerEntry, mark: FlushMark | undefined): boolean {
  return (
    mark !== undefined &&
    entry.ledger === mark.ledger &&
    entry.appliedIndex === mark.appliedIndex &&
    entry.digest !== mark.digest
  );
}

function compareWithLog(
  meta: StateMeta | undefined,
  { lastMark, logBaseIndex }: AuditExpectation,
): Stale | undefined {
  const index = meta?.index ?? 0;
  // The ledger's numbers start anew with every generation, the applied index does not: it decides.
  if (lastMark !== undefined && index < lastMark.appliedIndex) {
    return stale(
      'lostTail',
      `LevelDB lost acknowledged synced writes: index ${lastMark.appliedIndex} was flushed`,
      index,
    );
  }
  if (
    lastMark !== undefined &&
    index === lastMark.appliedIndex &&
    meta?.digest !== lastMark.digest
  ) {
    return stale('digestMismatch', `the digest at ${index} is not the marked one`, index);
  }
  if (index < logBaseIndex) {
    return stale('behindLog', `the log starts after ${logBaseIndex}`, index);
  }
  return undefined;
}

function stale(reason: StaleReason, detail: string, appliedIndex: number): Stale {
  return { kind: 'stale', reason, detail, appliedIndex };
}
