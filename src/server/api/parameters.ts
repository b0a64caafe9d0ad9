// Query parameters, read as dtm reads them: of several the first counts, empty means absent.

import { InvalidRequestError } from '../requests/index.ts';

export class Parameters {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(query: unknown) {
    this.#values = typeof query === 'object' && query !== null ? { ...query } : {};
  }

  text(name: string): string {
    const value: unknown = Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
    const first: unknown = Array.isArray(value) ? value[0] : value;
    return typeof first === 'string' ? first : '';
  }

  /** @throws InvalidRequestError in dtm's words (reference §1.4). */
  integer(name: string): number | undefined {
    const text = this.text(name);
    if (text === '') return undefined;
    if (!/^[+-]?\d{1,15}$/.test(text)) {
      throw new InvalidRequestError(`convert to int error: ${text.slice(0, 60)}`);
    }
    return Number(text);
  }
}
