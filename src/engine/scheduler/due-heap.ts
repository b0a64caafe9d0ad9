// A binary heap of (time, gid), one entry per gid, that can be moved and removed by gid.

export interface HeapEntry {
  readonly gid: string;
  /** When to look. */
  readonly atMs: number;
  /** The committed due time, under which the index has it; undefined: it has none. */
  readonly dueMs: number | undefined;
}

export class DueHeap {
  #entries: HeapEntry[] = [];
  readonly #positions = new Map<string, number>();

  get size(): number {
    return this.#entries.length;
  }

  first(): HeapEntry | undefined {
    return this.#entries[0];
  }

  get(gid: string): HeapEntry | undefined {
    const position = this.#positions.get(gid);
    return position === undefined ? undefined : this.#entries[position];
  }

  set(entry: HeapEntry): void {
    const position = this.#positions.get(entry.gid);
    if (position === undefined) {
      this.#entries.push(entry);
      this.#rise(this.#entries.length - 1, entry);
      return;
    }
    const before = this.#entries[position];
    if (before !== undefined && entry.atMs > before.atMs) {
      this.#sink(position, entry);
    } else {
      this.#rise(position, entry);
    }
  }

  delete(gid: string): boolean {
    const position = this.#positions.get(gid);
    if (position === undefined) {
      return false;
    }
    this.#positions.delete(gid);
    const removed = this.#entries[position];
    const last = this.#entries.pop();
    if (last !== undefined && removed !== undefined && position < this.#entries.length) {
      if (last.atMs > removed.atMs) {
        this.#sink(position, last);
      } else {
        this.#rise(position, last);
      }
    }
    return true;
  }

  /** Keeps the earliest `count` entries and returns the others, in order. */
  keepEarliest(count: number): readonly HeapEntry[] {
    const sorted = this.#entries.sort((a, b) => a.atMs - b.atMs);
    const dropped = sorted.slice(count);
    // A sorted array is a heap.
    this.#entries = sorted.slice(0, count);
    this.#positions.clear();
    for (const [position, entry] of this.#entries.entries()) {
      this.#positions.set(entry.gid, position);
    }
    return dropped;
  }

  clear(): void {
    this.#entries = [];
    this.#positions.clear();
  }

  #rise(from: number, entry: HeapEntry): void {
    let position = from;
    while (position > 0) {
      const parentPosition = (position - 1) >> 1;
      const parent = this.#entries[parentPosition];
      if (parent === undefined || parent.atMs <= entry.atMs) {
        break;
      }
      this.#place(position, parent);
      position = parentPosition;
    }
    this.#place(position, entry);
  }

  #sink(from: number, entry: HeapEntry): void {
    let position = from;
    for (;;) {
      let childPosition = 2 * position + 1;
      let child = this.#entries[childPosition];
      const right = this.#entries[childPosition + 1];
      if (child !== undefined && right !== undefined && right.atMs < child.atMs) {
        child = right;
        childPosition += 1;
      }
      if (child === undefined || child.atMs >= entry.atMs) {
        break;
      }
      this.#place(position, child);
      position = childPosition;
    }
    this.#place(position, entry);
  }

  #place(position: number, entry: HeapEntry): void {
    this.#entries[position] = entry;
    this.#positions.set(entry.gid, position);
  }
}
