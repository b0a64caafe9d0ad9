// JSON as Go writes it: what a dtm client's substring search sees.
//
// Source: the dtm protocol reference, §1.1: `<`, `>` and `&` are escaped.

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};
const ESCAPED = /[<>&\u2028\u2029]/;
const ALL_ESCAPED = /[<>&\u2028\u2029]/g;

export function jsonText(value: unknown): string {
  const text = JSON.stringify(value);
  // One look is cheaper than a replacement, and most replies need none.
  return ESCAPED.test(text) ? text.replace(ALL_ESCAPED, (unit) => ESCAPES[unit] ?? unit) : text;
}

// Clients search the raw text of a reply for these two words (P7). Where they come from a client's
// own values, in a reply that is no answer about a transaction, one letter is written as an escape:
// the same JSON, another text.
const RESERVED = /FAILURE|ONGOING/g;

export function jsonTextWithoutReservedWords(value: unknown): string {
  return jsonText(value).replace(RESERVED, (word) =>
    word === 'FAILURE' ? '\\u0046AILURE' : '\\u004fNGOING',
  );
}
