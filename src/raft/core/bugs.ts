// Deliberate bugs, for the tests of the tests only.
//
// A checker that never saw a violation proves nothing. The simulator starts cores with one of these
// switched on and must find it within a bounded number of seeds. Production passes none; the empty
// set is the default and each name is read in exactly one place.

export type CoreBug =
  /** The vote is left out of the persisted HardState (paper §5.2: one vote per term, for ever). */
  | 'forgetVote'
  /** A node whose log is known to be damaged votes and campaigns. */
  | 'voteWhileRecovering'
  /** A leader commits entries of earlier terms by counting (paper §5.4.2, Figure 8). */
  | 'commitOldTermByCounting'
  /** A new leader appends no entry of its own term, and its reads do not wait for one. */
  | 'dropOwnTermNoop'
  /** A follower acknowledges appends before they are durable. */
  | 'ackBeforeFsync'
  /** A leader counts itself for entries that it has not yet made durable. */
  | 'countSelfBeforeFsync'
  /** A follower truncates behind prevLogIndex although the entries there match. */
  | 'truncateAlways'
  /** Acknowledgements of earlier boots and terms raise matchIndex. */
  | 'staleAckAccepted'
  /** Reads are answered without asking a quorum. */
  | 'readWithoutQuorum'
  /** Votes are granted although a leader was heard within the election timeout. */
  | 'noStickiness';

export type CoreBugs = ReadonlySet<CoreBug>;

export const NO_BUGS: CoreBugs = new Set<CoreBug>();
