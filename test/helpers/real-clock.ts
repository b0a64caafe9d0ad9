// The machine's own clock, for tests on real sockets.

import type { Clock } from '../../src/raft/index.ts';

export const REAL_CLOCK: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  defer: (run) => {
    setImmediate(run);
  },
};

/** Waits until `condition` holds; the time only bounds a failure. */
export async function eventually(condition: () => boolean, limitMs = 5_000): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > untilMs)
      throw new Error(`not within ${limitMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
