// A run found something that must never be: the end of the run, and what the report is about.

export class InvariantViolated extends Error {
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(message);
    this.name = 'InvariantViolated';
    this.invariant = invariant;
  }
}
