// The judgement of opening: is what was read all that was ever acknowledged?
//
// Owns: putting together what the chain of files says (survey.ts), where reading stopped (replay.ts)
// and what stands there (tail.ts). Does not own: what is done about it (healing.ts).

import type { RecoveringInfo } from '../../raft/index.ts';
import { segmentName } from './layout.ts';
import type { Replay } from './replay.ts';
import type { Survey } from './survey.ts';
import { inspectTail } from './tail.ts';

export interface Damage {
  readonly reason: RecoveringInfo['reason'];
  readonly file: string;
  readonly offset: number;
}

export type Verdict =
  | { readonly kind: 'whole' }
  /** `[from, to)` of the last segment never reached the disk whole, and was never acknowledged. */
  | { readonly kind: 'torn'; readonly from: number; readonly to: number }
  | { readonly kind: 'damage'; readonly damage: Damage };

/** `replay` is undefined when the first segment cannot be read. @throws {UNKNOWN_FORMAT} */
export async function judge(
  found: Survey,
  replay: Replay | undefined,
  seed: number,
): Promise<Verdict> {
  const missing = found.brokenAt;
  const atBreak = (): Verdict => {
    const file = segmentName(missing ?? 0);
    return { kind: 'damage', damage: { reason: 'damaged', file, offset: 0 } };
  };
  if (replay === undefined) return atBreak();
  const { segment, offset, reader, header, chainBroken } = replay.stop;
  const here = (reason: Damage['reason']): Verdict => {
    return { kind: 'damage', damage: { reason, file: segmentName(segment.sequence), offset } };
  };
  if (replay.beforeEnd || chainBroken) return here('damaged');
  const finding = await inspectTail({ reader, sequence: segment.sequence, seed }, offset, header);
  if (missing !== undefined) return finding.kind === 'clean' ? atBreak() : here('damaged');
  switch (finding.kind) {
    case 'clean':
      return { kind: 'whole' };
    case 'torn':
      return finding;
    case 'damaged':
    case 'ambiguous':
      return here(finding.kind);
  }
}
