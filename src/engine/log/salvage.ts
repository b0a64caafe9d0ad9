// What can still be known behind damage.
//
// Owns: reading whole batches behind the place where the chain broke, for facts that are true whatever
// was lost: HardState (which must never go backwards), flush marks (the state really is that far),
// installed generations, and how low an index the lost part reached. Entries are not taken from there:
// what stands between is unknown.

import type { HardState } from '../../raft/index.ts';
import { parseBatchHeader } from './batch.ts';
import type { FlushMark, Installed, LogRecord } from './records.ts';
import { SectorReader } from './segment.ts';
import type { SegmentHeader } from './segment-header.ts';
import { newerHardState } from './slots.ts';
import type { SurveyedFile } from './survey.ts';
import { forEachWrittenSector, readBatch } from './tail.ts';

export class Salvage {
  hardState: HardState = { term: 0, vote: undefined };
  flushMark: FlushMark | undefined;
  installed: Installed | undefined;
  /** Lowest index that a lost batch wrote or voided; undefined when none is known. */
  touchesFrom: number | undefined;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Collects from `file`, from `offset` on. */
  async collect(file: SurveyedFile, offset: number): Promise<void> {
    if (offset === 0 && file.parsed !== undefined) this.#header(file.parsed.header);
    const reader = await SectorReader.open(file.handle);
    const context = { reader, sequence: file.sequence, seed: this.#seed };
    const starts: number[] = [];
    await forEachWrittenSector(reader, offset, (sector, at) => {
      const header = parseBatchHeader(sector, { segment: file.sequence, offset: at }, this.#seed);
      if (header === undefined) return;
      starts.push(at);
      this.touches(header.touchesFrom);
    });
    for (const start of starts) {
      const reading = await readBatch(context, start);
      if (reading.kind === 'none') continue;
      for (const { record } of reading.records) this.#record(record);
    }
  }

  touches(index: number): void {
    if (index !== 0) this.touchesFrom = Math.min(index, this.touchesFrom ?? index);
  }

  #header(header: SegmentHeader): void {
    this.hardState = newerHardState(this.hardState, header.hardState);
    if (header.flushMark !== undefined) this.#mark(header.flushMark);
    if (header.installed !== undefined) this.#installed(header.installed);
  }

  #record(record: LogRecord): void {
    if (record.kind === 'hardState') {
      this.hardState = newerHardState(this.hardState, record.hardState);
    } else if (record.kind === 'flushMark') {
      this.#mark(record.mark);
    } else if (record.kind === 'installed') {
      this.#installed({ meta: record.meta, generation: record.generation });
    }
  }

  #mark(mark: FlushMark): void {
    if (mark.appliedIndex >= (this.flushMark?.appliedIndex ?? 0)) this.flushMark = mark;
  }

  #installed(installed: Installed): void {
    if (installed.generation > (this.installed?.generation ?? 0)) this.installed = installed;
  }
}
