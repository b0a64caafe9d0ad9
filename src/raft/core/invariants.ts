// What must hold in one core after every step.
//
// Owns: assertions. `checkAlways` costs a handful of comparisons and stays on in production;
// `checkAll` walks the structures and is for tests. What must hold between nodes (one leader per
// term, matching logs) is checked by the simulator.

import { assertThat } from './assert.ts';
import { entryBytes } from './log/entry-size.ts';
import { isVoter, memberIds } from './membership.ts';
import type { CoreState } from './state.ts';
import type { LogIndex, Term } from './types.ts';

/** What may never go back, as it was after the step before. */
export interface Marks {
  term: Term;
  commitIndex: LogIndex;
}

export function checkAlways(state: CoreState, marks: Marks): void {
  const { trail, writes, commitIndex } = state;
  assertThat(state.term >= marks.term, 'term never decreases');
  assertThat(commitIndex >= marks.commitIndex, 'commitIndex never decreases');
  assertThat(commitIndex <= trail.lastIndex, 'commitIndex ≤ lastIndex');
  assertThat(trail.baseIndex <= commitIndex, 'the base is committed');
  assertThat(writes.durableIndex <= trail.lastIndex, 'durableIndex ≤ lastIndex');
  assertThat(state.appliedIndex <= commitIndex, 'appliedIndex ≤ commitIndex');
  assertThat(trail.lastTerm <= state.term, 'no entry is of a later term than this node');
  assertThat((state.role === 'leader') === (state.leader !== undefined), 'leaders lead');
  if (state.role === 'leader') {
    assertThat(state.leaderId === state.nodeId, 'a leader points at itself');
    assertThat(state.vote === state.nodeId, 'a leader voted for itself');
    assertThat(state.installing === undefined, 'a leader never installs a snapshot');
  }
  marks.term = state.term;
  marks.commitIndex = commitIndex;
}

export function checkAll(state: CoreState): void {
  checkTrail(state);
  checkWindow(state);
  checkProgress(state);
  const { configuration } = state;
  const members = memberIds(configuration);
  assertThat(
    configuration.learners.every((id) => !isVoter(configuration, id)),
    'learners have no vote',
  );
  assertThat(members.length > 0 || state.commitIndex === 0, 'somebody belongs to the cluster');
  assertThat(state.forwarded.count <= state.config.pendingReadsMax, 'forwarded reads are bounded');
}

function checkTrail(state: CoreState): void {
  let term = state.trail.baseTerm;
  let first = state.trail.baseIndex;
  for (const run of state.trail.runs) {
    assertThat(run.first > first, 'term runs ascend');
    assertThat(run.term >= term, 'terms never decrease');
    assertThat(run.first <= state.trail.lastIndex, 'term runs lie within the log');
    first = run.first;
    term = run.term;
  }
}

function checkWindow(state: CoreState): void {
  const { window, trail } = state;
  assertThat(window.nextIndex === trail.lastIndex + 1, 'the window ends where the log ends');
  const entries = window.slice(window.firstIndex, window.nextIndex) ?? [];
  let bytes = 0;
  for (const [position, entry] of entries.entries()) {
    assertThat(entry.index === window.firstIndex + position, 'cached entries are contiguous');
    assertThat(trail.termAt(entry.index) === entry.term, 'cached entries have the log’s terms');
    bytes += entryBytes(entry);
  }
  assertThat(bytes === window.bytes, 'the window counts its bytes');
  assertThat(
    window.firstIndex <= state.writes.durableIndex + 1,
    'what is not durable is in the window',
  );
}

function checkProgress(state: CoreState): void {
  const { leader, config } = state;
  if (leader === undefined) return;
  for (const peer of leader.peers) {
    assertThat(peer.matchIndex < peer.nextIndex, 'matchIndex < nextIndex');
    assertThat(peer.nextIndex <= state.lastIndex + 1, 'nextIndex ≤ lastIndex + 1');
    assertThat(peer.inflights.count <= config.inflightAppendsMax, 'appends in flight are bounded');
    assertThat(
      peer.inflights.count <= 1 || peer.inflights.bytes <= config.inflightBytesMax,
      'bytes in flight are bounded',
    );
    assertThat(peer.state === 'replicate' || peer.inflights.count === 0, 'only pipelines are full');
    assertThat(peer.state !== 'snapshot' || peer.streaming, 'a snapshot is on its way');
  }
  assertThat(leader.reads.count <= config.pendingReadsMax, 'pending reads are bounded');
  if (state.commitIndex === state.lastIndex) {
    assertThat(leader.uncommitted.bytes === 0, 'nothing uncommitted counts nothing');
  }
}
