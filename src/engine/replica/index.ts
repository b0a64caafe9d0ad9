// The door of a composed replica.
export {
  LocalReplica,
  type ReplicaBugs,
  type ReplicaConfig,
  type ReplicaPorts,
  type ReplicaSelf,
} from './replica.ts';
