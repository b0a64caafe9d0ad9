// What is wrong with a text that clients give and the state keeps: names, ids, URLs, remarks.

const encoder = new TextEncoder();

/** Undefined: nothing. Half a surrogate pair has no bytes of its own; lengths count in UTF-8. */
export function textProblem(what: string, text: string, bytesMax: number): string | undefined {
  if (/[\ud800-\udfff]/u.test(text)) return `${what} is not well-formed text`;
  // A UTF-16 unit takes at most three bytes: most texts need no counting.
  if (text.length * 3 <= bytesMax || encoder.encode(text).length <= bytesMax) return undefined;
  return `${what} is longer than ${bytesMax} bytes`;
}
