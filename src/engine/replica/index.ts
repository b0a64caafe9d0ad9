// The door of a composed replica.
export { RebuildError } from './open-storage.ts';
export {
  LocalReplica,
  type ReplicaBugs,
  type ReplicaConfig,
  type ReplicaPorts,
  type ReplicaSelf,
} from './replica.ts';
