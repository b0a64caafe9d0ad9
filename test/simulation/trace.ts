// What happened, line by line, and a hash of it all: two runs of one seed must have the same hash.
//
// Owns: the FNV-1a hash over every line, the last lines (for a failure's report), and optionally
// printing. Lines are built only when they are wanted; the hash always covers compact fields.

const KEPT_LINES = 50;

export class Trace {
  #high = 0xcbf29ce4;
  #low = 0x84222325;
  #lines: string[] = [];
  #next = 0;
  readonly #print: ((line: string) => void) | undefined;

  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  /** `node` 0 is the world itself. */
  add(atMs: number, node: number, event: string, detail: string): void {
    const line = `${atMs.toFixed(3).padStart(12)}  ${node === 0 ? '-' : `n${node}`}  ${event.padEnd(14)} ${detail}`;
    this.#hash(line);
    this.#lines[this.#next % KEPT_LINES] = line;
    this.#next++;
    this.#print?.(line);
  }

  get count(): number {
    return this.#next;
  }

  last(): string[] {
    const from = Math.max(0, this.#next - KEPT_LINES);
    const lines: string[] = [];
    for (let i = from; i < this.#next; i++) {
      lines.push(this.#lines[i % KEPT_LINES] ?? '');
    }
    return lines;
  }

  hash(): string {
    const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  /** Two interleaved 32-bit FNV-1a lanes: enough to tell two runs apart, and fast. */
  #hash(line: string): void {
    let high = this.#high;
    let low = this.#low;
    for (let i = 0; i < line.length; i++) {
      const code = line.charCodeAt(i);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code ^ (low & 0xff), 0x01000193);
    }
    this.#high = high;
    this.#low = low;
  }
}
