// Builds the replica of this process out of the engine's parts.

import type { ReplicaFactory } from './replica.ts';

function notBuilt(): never {
  throw new Error('this build has no engine');
}

export const localReplicas: ReplicaFactory = { create: notBuilt, format: notBuilt };
