// How the process ends: the codes, and which one an error means. Scripts and service units read them.

export const EXIT = {
  ok: 0,
  /** The data directory is wiped, foreign or damaged beyond what this node may decide alone. */
  dataRefused: 65,
  /** Another process has the data directory or a port; a person must say which one is to run. */
  inUse: 69,
  brokenInvariant: 70,
  /** Try again later: out of space, or a replica that must be rebuilt. Launchers restart on it. */
  temporary: 75,
  config: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const NO_SPACE: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** Parts of the engine name the end they want by a code on their error. */
const BY_CODE: ReadonlyMap<unknown, ExitCode> = new Map<unknown, ExitCode>([
  ['DATA_REFUSED', EXIT.dataRefused],
  ['NOT_FORMATTED', EXIT.dataRefused],
  ['ALREADY_FORMATTED', EXIT.dataRefused],
  ['IDENTITY_LOST', EXIT.dataRefused],
  ['IDENTITY_MISMATCH', EXIT.dataRefused],
  ['UNKNOWN_FORMAT', EXIT.dataRefused],
  ['STATE_FORMAT_UNKNOWN', EXIT.dataRefused],
  ['DATA_IN_USE', EXIT.inUse],
  ['STATE_LOCKED', EXIT.inUse],
  ['ADDRESS_IN_USE', EXIT.inUse],
  ['ADDRESS_REFUSED', EXIT.config],
  ['STATE_NO_SPACE', EXIT.temporary],
  ['REBUILD', EXIT.temporary],
]);

export function exitCodeOf(error: unknown): ExitCode {
  for (let cause = error, depth = 0; depth < 8; depth += 1) {
    if (typeof cause !== 'object' || cause === null) break;
    const { code } = cause as { readonly code?: unknown };
    if (NO_SPACE.has(code)) return EXIT.temporary;
    const known = BY_CODE.get(code);
    if (known !== undefined) return known;
    cause = (cause as { readonly cause?: unknown }).cause;
  }
  return EXIT.brokenInvariant;
}
