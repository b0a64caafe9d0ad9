// Virtual time: everything that will happen in a simulation, ordered by (time, sequence).
//
// Owns: the heap and the current moment. Knows nothing of nodes, clocks or networks. Two events of
// the same moment run in the order in which they were scheduled, so a run is a function of its seed.

export type CancelEvent = () => void;

interface Scheduled {
  readonly atMs: number;
  readonly seq: number;
  run: (() => void) | undefined;
}

export class VirtualTime {
  #nowMs = 0;
  #seq = 0;
  #executed = 0;
  readonly #heap: Scheduled[] = [];

  /** Milliseconds since the simulation began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events run so far. */
  get executed(): number {
    return this.#executed;
  }

  get pending(): number {
    return this.#heap.length;
  }

  after(delayMs: number, run: () => void): CancelEvent {
    const event: Scheduled = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      seq: this.#seq++,
      run,
    };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs the next event; false when nothing is left or the next one lies beyond `untilMs`. */
  step(untilMs: number): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return false;
      }
      this.#pop();
      if (next.run !== undefined) {
        this.#nowMs = next.atMs;
        this.#executed++;
        next.run();
        return true;
      }
    }
  }

  /** For worlds without promises: runs everything up to a moment in one go. */
  runUntil(untilMs: number): void {
    while (this.step(untilMs)) {
      // Every step is one event.
    }
  }

  /**
   * For worlds with promises: between two events every promise that can settle does. One turn of
   * the event loop per event drains the microtasks completely; no real I/O exists to interfere.
   */
  runUntilAsync(untilMs: number, stop: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          if (stop() || !this.step(untilMs)) {
            resolve();
            return;
          }
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        setImmediate(turn);
      };
      setImmediate(turn);
    });
  }

  #before(a: Scheduled, b: Scheduled): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.seq < b.seq);
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (!this.#before(event, above)) {
        break;
      }
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Scheduled;
    if (heap.length === 0) {
      return;
    }
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) {
        break;
      }
      const right = child + 1;
      if (right < heap.length && this.#before(heap[right] as Scheduled, heap[child] as Scheduled)) {
        child = right;
      }
      const below = heap[child] as Scheduled;
      if (!this.#before(below, last)) {
        break;
      }
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}
