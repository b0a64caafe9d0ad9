// Which rows hold a transaction up: called without success so far, and still needed where it stands.

import { isOwnCall } from '../patterns/index.ts';
import type { BranchDefinition, BranchProgress, TransactionStatus } from './types.ts';

export function holdsUp(
  status: TransactionStatus,
  branch: BranchDefinition | undefined,
  progress: BranchProgress,
): boolean {
  if (progress.status !== 'prepared' || progress.attemptCount === 0) return false;
  // Going back, only compensations are needed; whom to ask is settled once it is submitted.
  if (status === 'aborting' && !progress.wanted) return false;
  if (status !== 'prepared' && isOwnCall(branch)) return false;
  return (progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1))?.outcome !== 'success';
}
