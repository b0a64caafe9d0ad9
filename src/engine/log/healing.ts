// Going on after damage.
//
// Owns: saying what was lost, and continuing the log in a new segment whose header names the exact
// place where the readable part ends, which makes everything behind it void. Does not own: finding the
// damage (verdict.ts), and the decision to vote again, which is consensus's.
//
// Nothing damaged is overwritten: a file that is partly readable stays as it is, others behind it are
// kept aside (aside.ts).

import type { RecoveringInfo } from '../../raft/index.ts';
import { putAside } from './aside.ts';
import { errorCode, LogError } from './errors.ts';
import { initialConfiguration } from './identity.ts';
import { segmentName } from './layout.ts';
import { LogState } from './log-state.ts';
import { LogWriter, type WriterContext } from './log-writer.ts';
import type { FileHandle } from './ports.ts';
import type { Replay } from './replay.ts';
import { Salvage } from './salvage.ts';
import { type BlankSegment, createZeroed, type SupplyOptions } from './segment-supply.ts';
import type { SpaceWatch } from './space.ts';
import type { Survey, SurveyedFile } from './survey.ts';
import type { Damage } from './verdict.ts';

export interface HealingContext {
  readonly writer: WriterContext;
  readonly supply: SupplyOptions;
  readonly space: SpaceWatch;
  readonly seed: number;
  /** The deliberate bug `treatDamageAsTorn`. */
  readonly forgetDamage: boolean;
}

/** Files behind the one in which reading stopped. */
function behind(found: Survey, replay: Replay | undefined): readonly SurveyedFile[] {
  const stopped = replay?.stop.segment.sequence ?? 0;
  const last = found.path.at(-1)?.sequence ?? 0;
  const cutOff = found.path
    .filter((segment) => segment.sequence > stopped)
    .map(({ sequence, handle, header, headerBytes, headerChain }) => ({
      sequence,
      handle,
      parsed: { header, extentBytes: headerBytes, chain: headerChain },
    }));
  return [...cutOff, ...found.unlinked.filter((file) => file.sequence > last)];
}

/** Takes over into `state` what can still be known behind the damage, and says what may be lost. */
async function assess(
  damage: Damage,
  state: LogState,
  found: Survey,
  replay: Replay | undefined,
  seed: number,
): Promise<RecoveringInfo> {
  const salvage = new Salvage(seed);
  if (replay !== undefined) {
    const { segment, offset, header } = replay.stop;
    salvage.touches(header?.touchesFrom ?? 0);
    const file = { sequence: segment.sequence, handle: segment.handle, parsed: undefined };
    await salvage.collect(file, offset);
  }
  for (const file of behind(found, replay)) await salvage.collect(file, 0);
  let lostFromIndex = Math.min(state.lastIndex + 1, salvage.touchesFrom ?? state.lastIndex + 1);
  state.adoptHardState(salvage.hardState);
  const { installed, flushMark } = salvage;
  if (installed !== undefined && installed.generation > state.generation) {
    // The state is that snapshot, whatever the log has lost: the log starts behind it.
    state.install(installed);
    lostFromIndex = Math.max(lostFromIndex, installed.meta.index + 1);
  }
  if (flushMark !== undefined && flushMark.appliedIndex >= (state.flushMark?.appliedIndex ?? 0)) {
    state.flushMark = flushMark;
  }
  const earlier = state.recovering?.lostFromIndex ?? lostFromIndex;
  return { ...damage, lostFromIndex: Math.min(lostFromIndex, earlier) };
}

/** The log of a directory whose first segment cannot be read: nothing, as the voters were formatted. */
function emptyState({ identity, slots }: WriterContext): LogState {
  const { hardState, generation } = slots.fields;
  const configuration = initialConfiguration(identity);
  return new LogState({
    hardState,
    base: { index: 0, term: 0, timeMs: 0, configuration },
    generation,
    flushMark: undefined,
    installed: undefined,
    recovering: undefined,
  });
}

async function createBlank(context: HealingContext, sequence: number): Promise<BlankSegment> {
  const { directory, segmentBytes } = context.supply;
  const path = `${directory}/${segmentName(sequence)}`;
  const create = (): Promise<FileHandle> => createZeroed(context.supply, path, segmentBytes);
  try {
    return { sequence, handle: await create() };
  } catch (error) {
    if (errorCode(error) !== 'ENOSPC') throw error;
    await context.space.releaseBallast();
    return { sequence, handle: await create() };
  }
}

/**
 * Continues the log behind `damage` in a segment of its own, recovering.
 * @throws {IDENTITY_LOST} when a slot is damaged too: the newest vote may be in what was lost.
 */
export async function heal(
  context: HealingContext,
  damage: Damage,
  found: Survey,
  replay: Replay | undefined,
): Promise<LogWriter> {
  const { slots, logger } = context.writer;
  if (slots.damaged) {
    const place = `${damage.file} at offset ${damage.offset}`;
    throw new LogError('IDENTITY_LOST', `${place} and a slot are damaged: votes unknown`);
  }
  const state = replay?.state ?? emptyState(context.writer);
  const info = await assess(damage, state, found, replay, context.seed);
  logger.error({ ...info }, 'the log is damaged: no vote from this node until it is healed');
  return goOn(context, state, info, found, replay);
}

/**
 * Begins the log anew at index 0, recovering, when the state that it continues is lost: what is missing
 * comes from a leader. HardState, identity and generation stay.
 */
export async function startOver(
  context: HealingContext,
  found: Survey,
  replay: Replay | undefined,
): Promise<LogWriter> {
  const state = emptyState(context.writer);
  const { logger } = context.writer;
  const salvage = new Salvage(context.seed);
  for (const file of behind(found, undefined)) await salvage.collect(file, 0);
  state.adoptHardState(salvage.hardState);
  state.generation = Math.max(state.generation, replay?.state.generation ?? 0);
  const info = { reason: 'damaged', file: 'state', offset: 0, lostFromIndex: 1 } as const;
  logger.error({ ...info }, 'the log starts over: no vote from this node until it is healed');
  return goOn(context, state, info, found, undefined);
}

/** Opens the segment that continues the readable part, or that begins the log when there is none. */
async function goOn(
  context: HealingContext,
  state: LogState,
  info: RecoveringInfo,
  found: Survey,
  replay: Replay | undefined,
): Promise<LogWriter> {
  if (!context.forgetDamage) state.recovering = info;
  state.adoptHardState(context.writer.slots.fields.hardState);
  const segments = replay?.segments ?? [];
  const chain = replay?.chain ?? context.seed;
  const last = segments.at(-1);
  // Before the slots name another first segment: what stands before that one is deleted at open.
  if (last === undefined) await putAside(context.writer, [...found.path, ...found.unlinked]);
  const writer = new LogWriter(context.writer, state, segments, chain);
  const blank = await createBlank(context, found.highestSequence + 1);
  if (last === undefined) {
    await writer.startSegment(blank, undefined, { firstSegment: blank.sequence });
  } else {
    const { sequence, endOffset } = last;
    await writer.startSegment(blank, { sequence, endOffset, chain });
  }
  if (!context.forgetDamage) await writer.write([{ kind: 'recovering', info }]);
  return writer;
}
