// What a running node says of itself.

import type { LogIndex, NodeId, RaftStatus, Role, Term } from '../core/index.ts';
import type { RecoveringInfo } from './ports.ts';

export interface RoleChange {
  readonly role: Role;
  readonly term: Term;
  readonly leaderId: NodeId | undefined;
}

export interface Leadership {
  readonly term: Term;
  readonly leaderId: NodeId | undefined;
  readonly isLeader: boolean;
  /** This node may have lost acknowledged entries and neither votes nor campaigns until healed. */
  readonly recovering: boolean;
}

export interface RaftNodeStatus extends RaftStatus {
  readonly appliedIndex: LogIndex;
  readonly queues: {
    readonly admission: { readonly commands: number; readonly bytes: number };
    readonly progress: { readonly commands: number; readonly bytes: number };
    readonly persistBytes: number;
    readonly reads: number;
    readonly waits: number;
  };
  readonly snapshot: { readonly sendingTo: readonly NodeId[]; readonly receiving: boolean };
  /** What opening the log found, until it is healed. */
  readonly damage: RecoveringInfo | undefined;
}
