// Histograms of the hot path: durations are sorted into buckets here and read at scrape time.
//
// prom-client checks and hashes its labels at every observation (tally.ts); here that happens at the
// scrape. Buckets are counted apart and summed up, as the text format wants them, only when read.

import {
  Histogram,
  type HistogramConfiguration,
  type MetricObjectWithValues,
  type MetricValueWithName,
} from 'prom-client';

interface Series<L extends string> {
  readonly labels: Readonly<Partial<Record<L, string>>>;
  /** Per bucket, and one more for what lies above all. */
  readonly counts: number[];
  sum: number;
  count: number;
}

export class Timing<L extends string = never> extends Histogram<L> {
  readonly #name: string;
  /** Says what a histogram is, without values: the inherited `get` asks `getForPromString`. */
  readonly #blank: Histogram<L>;
  readonly #labelNames: readonly L[];
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Series<L>>();

  constructor(
    metric: HistogramConfiguration<L> & {
      readonly labelNames: L[];
      readonly buckets: number[];
    },
  ) {
    super(metric);
    this.#name = metric.name;
    this.#blank = new Histogram({ ...metric, registers: [] });
    this.#labelNames = metric.labelNames;
    this.#bounds = metric.buckets;
    // As prom-client does: what has no labels is exported before it is first observed.
    if (metric.labelNames.length === 0) this.#seriesOf([]);
  }

  /** `values`: those of the labels, in the order of their names. */
  record(durationMs: number, ...values: readonly string[]): void {
    const seconds = durationMs / 1_000;
    const series = this.#seriesOf(values);
    let at = 0;
    while (at < this.#bounds.length && seconds > (this.#bounds[at] ?? 0)) at += 1;
    series.counts[at] = (series.counts[at] ?? 0) + 1;
    series.sum += seconds;
    series.count += 1;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<L>>> {
    const values: MetricValueWithName<L>[] = [];
    for (const series of this.#series.values()) this.#export(series, values);
    return { ...(await this.#blank.get()), values };
  }

  /** What the registry asks first; absent from prom-client's types. */
  getForPromString(): ReturnType<Timing<L>['get']> {
    return this.get();
  }

  #seriesOf(values: readonly string[]): Series<L> {
    const key = values.length === 1 ? (values[0] ?? '') : values.join('\n');
    let series = this.#series.get(key);
    if (series === undefined) {
      const labels: Partial<Record<L, string>> = {};
      for (const [at, name] of this.#labelNames.entries()) labels[name] = values[at] ?? '';
      series = {
        labels,
        counts: new Array<number>(this.#bounds.length + 1).fill(0),
        sum: 0,
        count: 0,
      };
      this.#series.set(key, series);
    }
    return series;
  }

  #export(series: Series<L>, values: MetricValueWithName<L>[]): void {
    const { labels, counts, sum, count } = series;
    let below = 0;
    for (const [at, bound] of [...this.#bounds, '+Inf'].entries()) {
      below += counts[at] ?? 0;
      const bucket = { ...labels, le: bound } as MetricValueWithName<L>['labels'];
      values.push({ metricName: `${this.#name}_bucket`, labels: bucket, value: below });
    }
    values.push({ metricName: `${this.#name}_sum`, labels, value: sum });
    values.push({ metricName: `${this.#name}_count`, labels, value: count });
  }
}
