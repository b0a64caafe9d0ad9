// What a run is asked, and what it answers: the contract between the simulations and their callers.

/** Cores of consensus alone, or whole replicas. */
export type Level = 'raft' | 'replica';

export interface RunRequest {
  readonly seed: string;
  /** Overrides the number of nodes that the seed would draw. */
  readonly nodes: number | undefined;
  /** Deliberate bugs to switch on, by name. */
  readonly bugs: ReadonlySet<string>;
  /** Receives every line of the trace. */
  readonly print: ((line: string) => void) | undefined;
}

export interface RunFailure {
  readonly invariant: string;
  readonly message: string;
  /** One line per node. */
  readonly table: readonly string[];
  readonly lastEvents: readonly string[];
}

export interface RunResult {
  readonly seed: string;
  readonly options: readonly string[];
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly stats: Readonly<Record<string, number>>;
  readonly failure: RunFailure | undefined;
}
