// The deliberate bugs, and a seed of each that is known to find it: a checker that never saw a
// violation proves nothing.
//
// Owns: the list. `npm run sim:search` prints what belongs here; docs/testing.md shows it.

import type { Level } from './run-result.ts';

export interface DeliberateBug {
  readonly name: string;
  readonly level: Level;
  /** The first seed that finds it. */
  readonly knownSeed: number;
}

export const DELIBERATE_BUGS: readonly DeliberateBug[] = [
  { level: 'raft', name: 'forgetVote', knownSeed: 1 },
  { level: 'raft', name: 'voteWhileRecovering', knownSeed: 1 },
  { level: 'raft', name: 'commitOldTermByCounting', knownSeed: 1 },
  { level: 'raft', name: 'dropOwnTermNoop', knownSeed: 6 },
  { level: 'raft', name: 'ackBeforeFsync', knownSeed: 1 },
  { level: 'raft', name: 'countSelfBeforeFsync', knownSeed: 1 },
  { level: 'raft', name: 'truncateAlways', knownSeed: 1 },
  { level: 'raft', name: 'staleAckAccepted', knownSeed: 40 },
  { level: 'raft', name: 'readWithoutQuorum', knownSeed: 4 },
  { level: 'raft', name: 'noStickiness', knownSeed: 165 },
  { level: 'replica', name: 'compensateOnlyRecorded', knownSeed: 13 },
  { level: 'replica', name: 'callBeforeCommit', knownSeed: 1 },
  { level: 'replica', name: 'compensateBeforeDecision', knownSeed: 3 },
  { level: 'replica', name: 'decideSucceedEarly', knownSeed: 3 },
  { level: 'replica', name: 'dropHeldOnTimer', knownSeed: 1 },
  { level: 'replica', name: 'resubmitReruns', knownSeed: 1 },
  { level: 'replica', name: 'forgetOperationResult', knownSeed: 2 },
  { level: 'replica', name: 'ignoreLease', knownSeed: 107 },
  { level: 'replica', name: 'doneBeforeSync', knownSeed: 2 },
  { level: 'replica', name: 'releaseBeforePersist', knownSeed: 1 },
  { level: 'replica', name: 'treatDamageAsTorn', knownSeed: 15 },
  { level: 'replica', name: 'appliedIndexNotInBatch', knownSeed: 26 },
  { level: 'replica', name: 'flushPastDurableLog', knownSeed: 2 },
  { level: 'replica', name: 'skipValueChecksum', knownSeed: 96 },
  { level: 'replica', name: 'compactWithoutMark', knownSeed: 12 },
  { level: 'replica', name: 'noLedgerCheck', knownSeed: 15 },
  { level: 'replica', name: 'skipSlots', knownSeed: 2 },
  { level: 'replica', name: 'timeoutAfterSubmit', knownSeed: 3 },
  { level: 'replica', name: 'registerAfterDecision', knownSeed: 3 },
  { level: 'replica', name: 'cancelAfterTakeover', knownSeed: 5 },
  { level: 'replica', name: 'commitBeforeSubmit', knownSeed: 3 },
  { level: 'replica', name: 'confirmAllButOne', knownSeed: 3 },
  { level: 'replica', name: 'deliverWithoutCheckBack', knownSeed: 1 },
  { level: 'replica', name: 'ignoreCheckBackFailure', knownSeed: 1 },
  { level: 'replica', name: 'ignoreDelay', knownSeed: 6 },
  { level: 'replica', name: 'staleTopic', knownSeed: 1 },
  { level: 'replica', name: 'callbackTwice', knownSeed: 2 },
  { level: 'replica', name: 'callbackWithoutLease', knownSeed: 2 },
  { level: 'replica', name: 'workflowRecordOverwritten', knownSeed: 13 },
];
