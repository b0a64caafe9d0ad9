// The door of the state store.
export type { ApplyTarget } from './apply-state.ts';
export { DIGEST_INTERVAL } from './apply-state.ts';
export type { Stale, StaleReason } from './audit.ts';
export { DEFAULT_STORE_CONFIG, type StoreBug, type StoreConfig } from './config.ts';
export { StoreError, type StoreErrorCode, StoreInvariantError } from './errors.ts';
export { LevelKvOpener } from './level-kv.ts';
export type {
  Directories,
  FlushMark,
  KvErrorCode,
  KvFileCheck,
  KvOpener,
  KvOperation,
  KvPair,
  KvRange,
  KvSnapshot,
  OrderedKv,
} from './ports.ts';
export {
  generationPath,
  type OpenExpectation,
  type OpenStoreResult,
  openStore,
  type Store,
  type StoreLocation,
  type StoreMetrics,
  type StorePorts,
} from './store.ts';
