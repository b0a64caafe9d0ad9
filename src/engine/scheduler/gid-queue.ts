// A queue of distinct gids from which any may be removed. (Taking the first of a Set again and again
// walks over everything that was deleted before it.)

const COMPACT_AT = 1024;

export class GidQueue {
  #order: string[] = [];
  #head = 0;
  readonly #members = new Set<string>();

  get size(): number {
    return this.#members.size;
  }

  has(gid: string): boolean {
    return this.#members.has(gid);
  }

  /** Keeps its place when it is there already. */
  add(gid: string): void {
    if (!this.#members.has(gid)) {
      this.#members.add(gid);
      this.#order.push(gid);
    }
  }

  delete(gid: string): void {
    if (this.#members.delete(gid)) {
      this.#compact();
    }
  }

  take(): string | undefined {
    for (;;) {
      const gid = this.#order[this.#head];
      if (gid === undefined) {
        return undefined;
      }
      this.#head += 1;
      // Others were deleted since, or were deleted and came again.
      if (this.#members.delete(gid)) {
        this.#compact();
        return gid;
      }
    }
  }

  clear(): void {
    this.#order = [];
    this.#head = 0;
    this.#members.clear();
  }

  #compact(): void {
    const stale = this.#order.length - this.#members.size;
    if (stale > COMPACT_AT && stale > this.#members.size) {
      const seen = new Set<string>();
      this.#order = this.#order.slice(this.#head).filter((gid) => {
        const first = this.#members.has(gid) && !seen.has(gid);
        seen.add(gid);
        return first;
      });
      this.#head = 0;
    }
  }
}
