// Opening the log of a data directory.
//
// Owns: the order of opening: identity, slots, the chain of segments, the judgement of its end, what is
// done about it, a new boot id. Does not own: each of these steps (identity.ts, slots.ts, survey.ts,
// replay.ts, verdict.ts, healing.ts).
//
// Invariants
//   O1. What was acknowledged is in the opened log, or the node is `recovering` and says from where.
//   O2. What is reported is on stable storage first: the last extent is written again and synced,
//       because after a killed process, or a flush that failed, it may stand in the page cache only.
//   O3. The boot id is durable before anyone hears it.
//   O4. Damage together with a damaged slot leaves the vote unknown: refused.

import type { Clock, Fatal, NodeLog, OpenedLog } from '../../raft/index.ts';
import { dropLaterAside, dropOldAside, putAside } from './aside.ts';
import { DEFAULT_LOG_CONFIG, type LogConfig } from './config.ts';
import { LogError } from './errors.ts';
import { type HealingContext, heal, startOver } from './healing.ts';
import { type Identity, identitySeed, readIdentity, writeIdentity } from './identity.ts';
import { BALLAST_NAME, FORMATTING_NAME, IDENTITY_NAME, SLOTS_NAME, segmentName } from './layout.ts';
import { LogWriter } from './log-writer.ts';
import type { Files } from './ports.ts';
import { type Replay, Replayer, TailWindow } from './replay.ts';
import { type BlankSegment, fillWithZeroes, SegmentSupply } from './segment-supply.ts';
import { type LogMarks, SegmentedLog } from './segmented-log.ts';
import { newerHardState, SlotFile } from './slots.ts';
import { SpaceWatch } from './space.ts';
import { type Survey, survey } from './survey.ts';
import { judge, type Verdict } from './verdict.ts';

export interface OpenLogOptions {
  readonly files: Files;
  readonly directory: string;
  readonly config?: Partial<LogConfig>;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly logger: NodeLog;
  readonly bugs?: ReadonlySet<string>;
  /** The state is lost: begin at index 0, `recovering`, keeping identity and HardState. */
  readonly startOver?: boolean;
}

export interface OpenedSegmentedLog {
  readonly log: SegmentedLog;
  readonly opened: OpenedLog;
  readonly identity: Identity;
  readonly marks: LogMarks;
}

/**
 * Reads names only: nothing is opened, repaired or counted.
 *
 * @throws {NOT_FORMATTED} or {IDENTITY_LOST}
 */
export async function requireFormatted(
  files: Files,
  directory: string,
): Promise<readonly string[]> {
  const names = await files.list(directory);
  const missing = [IDENTITY_NAME, SLOTS_NAME].filter((name) => !names.includes(name));
  const interrupted = missing.includes(IDENTITY_NAME) && names.includes(FORMATTING_NAME);
  if (missing.length === 2 || interrupted)
    throw new LogError(
      'NOT_FORMATTED',
      `${directory} is not formatted. A new cluster is formatted once, with --format --cluster-id ID --voters 1=BIRTH,… and the same settings; a node that lost its data must not return empty under its old identity, because it would forget what it voted and acknowledged`,
    );
  if (missing.length === 1) {
    throw new LogError('IDENTITY_LOST', `${directory} has lost its ${missing.join()}`);
  }
  return names;
}

async function openIdentity({ files, directory, logger }: OpenLogOptions): Promise<Identity> {
  const names = await requireFormatted(files, directory);
  // Left by a formatting that ended just before its last step. Were it to stay, a directory that
  // loses its identity later would pass for one that may be formatted again.
  if (names.includes(FORMATTING_NAME)) await files.remove(`${directory}/${FORMATTING_NAME}`);
  const handle = await files.open(`${directory}/${IDENTITY_NAME}`, 'write');
  try {
    const { identity, damaged } = await readIdentity(handle);
    if (damaged) {
      logger.warn({ file: IDENTITY_NAME }, 'repaired a damaged copy of the identity');
      await writeIdentity(handle, identity);
    }
    return identity;
  } finally {
    await handle.close();
  }
}

/** Everything that steps of opening share. */
interface Opening extends HealingContext {
  readonly options: OpenLogOptions;
  readonly config: LogConfig;
  /** Set once the log exists: lets a space check repeat what failed for want of space. */
  afterSpaceCheck: () => void;
}

async function begin(options: OpenLogOptions): Promise<Opening> {
  const { files, directory, clock, logger } = options;
  const config = { ...DEFAULT_LOG_CONFIG, ...options.config };
  const identity = await openIdentity(options);
  const seed = identitySeed(identity);
  const slots = await SlotFile.open(await files.open(`${directory}/${SLOTS_NAME}`, 'write'), seed);
  if (slots.damaged) logger.warn({ file: SLOTS_NAME }, 'one of the two slots is damaged');
  const { segmentBytes, zeroFillSliceBytes: sliceBytes } = config;
  const supply = { files, directory, segmentBytes, sliceBytes, clock, logger };
  const hasBallast = (await files.list(directory)).includes(BALLAST_NAME);
  const opening: Opening = {
    options,
    config,
    writer: { files, directory, identity, config, slots, logger },
    supply,
    seed,
    space: new SpaceWatch(supply, config, hasBallast, () => opening.afterSpaceCheck()),
    forgetDamage: options.bugs?.has('treatDamageAsTorn') === true,
    afterSpaceCheck: () => undefined,
  };
  await opening.space.start();
  // On a full disk the state needs room to open and to compact.
  if (opening.space.belowFloor) await opening.space.releaseBallast();
  return opening;
}

async function continueLog(
  opening: Opening,
  verdict: Verdict,
  found: Survey,
  replay: Replay | undefined,
): Promise<LogWriter> {
  if (opening.options.startOver === true) return startOver(opening, found, replay);
  if (verdict.kind === 'damage' || replay === undefined) {
    if (verdict.kind !== 'damage') throw new LogError('LOG_INVARIANT', 'no segment and no damage');
    return heal(opening, verdict.damage, found, replay);
  }
  const { handle, sequence } = replay.stop.segment;
  if (verdict.kind === 'torn') {
    const { from, to } = verdict;
    opening.options.logger.info({ file: segmentName(sequence), from, to }, 'erased a torn batch');
    await fillWithZeroes(handle, from, to, opening.config.zeroFillSliceBytes);
  }
  const { offset, bytes } = replay.lastExtent;
  await handle.writeAt(offset, await handle.readAt(offset, bytes));
  await handle.datasync();
  return new LogWriter(opening.writer, replay.state, replay.segments, replay.chain);
}

/** Segments ahead that are whole and lie behind the active one; the others are removed. */
async function usableBlanks(
  opening: Opening,
  found: Survey,
  active: number,
): Promise<readonly BlankSegment[]> {
  const { files } = opening.options;
  const usable: BlankSegment[] = [];
  for (const blank of found.blanks) {
    const whole = (await blank.handle.size()) >= opening.config.segmentBytes;
    if (whole && blank.sequence > active) {
      usable.push(blank);
      continue;
    }
    await blank.handle.close();
    await files.remove(blank.handle.path);
  }
  return usable;
}

/**
 * Opens a formatted directory. Resolves with everything that it reports on stable storage.
 * @throws {NOT_FORMATTED}, {IDENTITY_LOST}, {IDENTITY_MISMATCH}, {UNKNOWN_FORMAT}, {LOG_INVARIANT};
 * errors of the file system. Nothing is lost by trying again.
 */
export async function openLog(options: OpenLogOptions): Promise<OpenedSegmentedLog> {
  const { files, directory, clock, fatal, logger } = options;
  const opening = await begin(options);
  const { config, seed, space, writer: writerContext } = opening;
  const { slots, identity } = writerContext;
  const found = await survey({ files, directory, identity, facts: slots.fields, logger });
  const tail = new TailWindow(config.tailBytesMax);
  const first = found.path[0];
  const replay =
    first === undefined ? undefined : await new Replayer(first, seed, tail).run(found.path);
  const verdict = await judge(found, replay, seed);
  const wasRecovering =
    replay?.state.recovering !== undefined ||
    found.unlinked.some(({ parsed }) => parsed?.header.recovering !== undefined);
  const writer = await continueLog(opening, verdict, found, replay);
  const { state } = writer;
  state.adoptHardState(slots.fields.hardState);
  state.generation = Math.max(state.generation, slots.fields.generation);
  await slots.writeBoth({
    bootId: slots.fields.bootId + 1,
    hardState: newerHardState(state.hardState, slots.fields.hardState),
    generation: state.generation,
  });
  const kept = new Set(writer.segments.map((segment) => segment.sequence));
  const cutOff = found.path.filter((segment) => !kept.has(segment.sequence));
  const voided = [...cutOff, ...found.unlinked];
  await putAside(writerContext, voided);
  if (state.recovering === undefined) await dropOldAside(writerContext);
  else if (wasRecovering) await dropLaterAside(writerContext, voided);
  const active = writer.segments.at(-1)?.sequence ?? 0;
  const blanks = await usableBlanks(opening, found, active);
  await files.syncDirectory(directory);
  const next = Math.max(active, found.highestSequence) + 1;
  const supply = new SegmentSupply(opening.supply, blanks, next);
  writer.useSupply(supply);
  opening.afterSpaceCheck = () => void supply.refill();
  void supply.refill();
  const log = new SegmentedLog({
    writer,
    slots,
    supply,
    space,
    config,
    clock,
    fatal,
    logger,
    bugs: options.bugs ?? new Set(),
    nodeId: identity.nodeId,
    tail: tail.take(state.base.index),
  });
  return { log, opened: log.opened(), identity, marks: log.marks() };
}
