// Remembers the parsed form of texts that repeat, up to a bound; first in, first out is near enough to
// least recently used here, and a hit costs no write.

export class ParseCache<T> {
  readonly #sizeMax: number;
  readonly #parse: (text: string) => T;
  readonly #parsed = new Map<string, T>();

  constructor(sizeMax: number, parse: (text: string) => T) {
    this.#sizeMax = sizeMax;
    this.#parse = parse;
  }

  get(text: string): T {
    const known = this.#parsed.get(text);
    if (known !== undefined) {
      return known;
    }
    const parsed = this.#parse(text);
    if (this.#parsed.size >= this.#sizeMax) {
      this.#forgetOldest();
    }
    this.#parsed.set(text, parsed);
    return parsed;
  }

  get size(): number {
    return this.#parsed.size;
  }

  #forgetOldest(): void {
    for (const key of this.#parsed.keys()) {
      this.#parsed.delete(key);
      return;
    }
  }
}
