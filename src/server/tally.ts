// Counters of the hot path: counted in a map, handed to the registry at scrape time.
//
// prom-client checks and hashes its labels at every increment, which costs more than a saga can
// spare; a tally costs one look into a map. Labels come from closed or bounded sets (metrics.ts).

import { Counter, type Registry } from 'prom-client';

interface Count<L extends string> {
  readonly labels: Readonly<Record<L, string>>;
  value: number;
}

export class Tally<L extends string> {
  readonly #labelNames: readonly L[];
  readonly #counts = new Map<string, Count<L>>();

  constructor(
    registry: Registry,
    metric: { readonly name: string; readonly help: string; readonly labelNames: readonly L[] },
  ) {
    this.#labelNames = metric.labelNames;
    const counts = this.#counts;
    new Counter<L>({
      ...metric,
      labelNames: [...metric.labelNames],
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of counts.values()) this.inc(labels, value);
      },
    });
  }

  /** Values in the order of the label names. */
  add(values: readonly string[], by = 1): void {
    const key = values.length === 1 ? (values[0] ?? '') : values.join('\n');
    const count = this.#counts.get(key);
    if (count === undefined) this.#counts.set(key, { labels: this.#labelsOf(values), value: by });
    else count.value += by;
  }

  #labelsOf(values: readonly string[]): Readonly<Record<L, string>> {
    const labels = {} as Record<L, string>;
    for (const [at, name] of this.#labelNames.entries()) labels[name] = values[at] ?? '';
    return labels;
  }
}
