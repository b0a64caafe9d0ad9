// Bounded text: what participants and clients say is remembered only up to a number of bytes (P8).
//
// Lengths are counted in UTF-8, where texts are stored; a cut never splits a character.

/** What an attempt remembers of an answer. */
export const DETAIL_BYTES_MAX = 1024;
/** What a transaction remembers as its rollback reason (defect 12.23: dtm overflows a column). */
export const REASON_BYTES_MAX = 4096;

const encoder = new TextEncoder();

/** `text`, or the longest prefix of it that fits into `bytesMax` bytes of UTF-8. */
export function truncateText(text: string, bytesMax: number): string {
  // A UTF-16 unit takes at most three bytes: most texts need no counting.
  if (text.length * 3 <= bytesMax) return text;
  const { read } = encoder.encodeInto(text, new Uint8Array(bytesMax));
  return read === text.length ? text : text.slice(0, read);
}
