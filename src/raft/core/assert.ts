// Assertions of the core. They stay on in production: a broken invariant must stop the node before
// it says anything more (style: crash rather than guess).

/** A broken invariant: a bug here, or a peer that breaks the protocol. Never an operating error. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
}

export function assertThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new InvariantViolation(what);
}

/** For values that a preceding check guarantees; says so when it did not. */
export function defined<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new InvariantViolation(`${what} is missing`);
  return value;
}
