// A JSON body as dtm reads it: the rules of Go's decoder, on top of JSON.parse.
//
// Unknown keys are ignored; the keys we know match in any case; of several the last wins; null leaves
// a field at its zero value; a value of a wrong type is an error that names field, value and type.
// Ours beyond that: the text must be valid UTF-8, and depth and count of values are bounded.
//
// Source: the dtm protocol reference, §1.1.

import { isUtf8 } from 'node:buffer';
import { InvalidRequestError } from './errors.ts';
import { type JsonLimits, scanJson, topLevelMembers } from './json-scan.ts';
import { shownValue } from './shown-value.ts';

/** The values of the known keys of a body; absent and null ones are missing. */
export type Fields<Name extends string> = ReadonlyMap<Name, unknown>;

export function wrongType(field: string, wanted: string, value: unknown): InvalidRequestError {
  return new InvalidRequestError(`${field} must be ${wanted}, got ${shownValue(value)}`);
}

/** The text of a body; an absent one is empty. */
export function bodyText(body: Uint8Array | undefined): string {
  if (body === undefined) return '';
  if (!isUtf8(body)) throw new InvalidRequestError('the body is not valid UTF-8');
  return Buffer.from(body.buffer, body.byteOffset, body.length).toString();
}

export function parseJson(text: string, limits: JsonLimits): unknown {
  if (text === '') throw new InvalidRequestError('unexpected end of JSON input');
  const broken = scanJson(text, limits);
  if (broken !== undefined) throw new InvalidRequestError(`the JSON body has ${broken}`);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidRequestError(`the body is not valid JSON: ${why}`);
  }
}

/** Names must be lower case. */
export class BodyReader<Name extends string> {
  readonly #names: ReadonlyMap<string, Name>;
  readonly #limits: JsonLimits;

  constructor(names: readonly Name[], limits: JsonLimits) {
    this.#names = new Map(names.map((name) => [name, name]));
    this.#limits = limits;
  }

  read(text: string): Fields<Name> {
    const parsed = parseJson(text, this.#limits);
    const fields = new Map<Name, unknown>();
    if (parsed === null) return fields;
    if (typeof parsed !== 'object' || Array.isArray(parsed)) {
      throw wrongType('the body', 'a JSON object', parsed);
    }
    const object = parsed as Readonly<Record<string, unknown>>;
    for (const key of Object.keys(object)) {
      const name = this.#names.get(key) ?? this.#names.get(key.toLowerCase());
      if (name === undefined) continue;
      // Two spellings of one name: JSON.parse keeps both, in an order that hides which came last.
      if (fields.has(name)) return this.#readInOrder(object, text);
      fields.set(name, object[key]);
    }
    for (const [name, value] of fields) if (value === null) fields.delete(name);
    return fields;
  }

  #readInOrder(object: Readonly<Record<string, unknown>>, text: string): Fields<Name> {
    const fields = new Map<Name, unknown>();
    for (const { key } of topLevelMembers(text)) {
      const name = this.#names.get(key.toLowerCase());
      if (name === undefined) continue;
      fields.set(name, object[key]);
    }
    for (const [name, value] of fields) if (value === null) fields.delete(name);
    return fields;
  }
}

// A surrogate without its partner has no UTF-8 form: nodes could store it differently.
const LONE_SURROGATE = /\p{Cs}/gu;

export function wellFormed(text: string): string {
  return text.replace(LONE_SURROGATE, '\ufffd');
}

export function readText<Name extends string>(fields: Fields<Name>, name: Name): string {
  const value = fields.get(name);
  if (value === undefined) return '';
  if (typeof value !== 'string') throw wrongType(name, 'a string', value);
  return wellFormed(value);
}

export function readBoolean<Name extends string>(
  fields: Fields<Name>,
  name: Name,
): boolean | undefined {
  const value = fields.get(name);
  if (value === undefined) return undefined;
  if (typeof value !== 'boolean') throw wrongType(name, 'true or false', value);
  return value;
}

/** An object of strings. PHP sends an empty array for an empty object (defect 12.35). */
export function readTexts<Name extends string>(
  fields: Fields<Name>,
  name: Name,
): ReadonlyMap<string, string> {
  const value = fields.get(name);
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return new Map();
  return textsOf(value, name);
}

export function textsOf(value: unknown, name: string): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType(name, 'an object of strings', value);
  }
  const texts = new Map<string, string>();
  for (const [key, text] of Object.entries(value) as [string, unknown][]) {
    if (text === null) texts.set(key, '');
    else if (typeof text === 'string') texts.set(key, wellFormed(text));
    else throw wrongType(`${name}.${key}`, 'a string', text);
  }
  return texts;
}

export function readList<Name extends string>(
  fields: Fields<Name>,
  name: Name,
): readonly unknown[] {
  const value = fields.get(name);
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrongType(name, 'an array', value);
  return value as readonly unknown[];
}
