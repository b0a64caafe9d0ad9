// A look at JSON text before it is parsed: how deep, and how many values. One pass, no allocation.
//
// Owns: the bounds that JSON.parse does not have. Does not own: syntax; what passes here may still be
// refused by the parser.

export interface JsonLimits {
  readonly depthMax: number;
  readonly valuesMax: number;
}

/** A shorter text cannot hold enough of anything to do harm, and most bodies are shorter. */
const HARMLESS_LENGTH = 1_024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/** The index behind the string that starts at `start` (a quote). */
export function skipString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) return at + 1;
    at += unit === BACKSLASH ? 2 : 1;
  }
  return text.length;
}

/** What bound the text breaks, or undefined. */
export function scanJson(text: string, limits: JsonLimits): string | undefined {
  if (text.length <= HARMLESS_LENGTH) return undefined;
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = skipString(text, at) - 1;
    } else if (unit === COMMA) {
      values += 1;
    } else if (unit === 0x7b || unit === 0x5b) {
      depth += 1;
      values += 1;
      if (depth > limits.depthMax) return `more than ${limits.depthMax} levels`;
    } else if (unit === 0x7d || unit === 0x5d) {
      depth -= 1;
    }
    if (values > limits.valuesMax) return `more than ${limits.valuesMax} values`;
  }
  return undefined;
}

/** A member of an object, as the text has it. */
export interface JsonMember {
  readonly key: string;
  /** JSON text of the value, with the space around it. */
  readonly value: string;
}

/** The members of the outermost object of valid JSON, in the order of the text, repeats included. */
export function topLevelMembers(text: string): readonly JsonMember[] {
  const members: JsonMember[] = [];
  let key = '';
  let depth = 0;
  // Behind the colon of a member of the outermost object; 0 while its key is awaited.
  let valueStart = 0;
  const endMember = (end: number): void => {
    if (valueStart > 0) members.push({ key, value: text.slice(valueStart, end) });
    valueStart = 0;
  };
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      const end = skipString(text, at);
      if (depth === 1 && valueStart === 0) key = JSON.parse(text.slice(at, end)) as string;
      at = end - 1;
    } else if (unit === 0x7b || unit === 0x5b) depth += 1;
    else if (unit === 0x7d || unit === 0x5d) {
      depth -= 1;
      if (depth === 0) endMember(at);
    } else if (depth === 1 && unit === COMMA) endMember(at);
    else if (depth === 1 && unit === COLON && valueStart === 0) valueStart = at + 1;
  }
  return members;
}
