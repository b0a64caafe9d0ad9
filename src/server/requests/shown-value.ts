// Values of clients as messages show them: short, on one line, harmless.

/** A short, one-line form of a value. */
export function shownValue(value: unknown): string {
  // JSON text may hold 1e400, which is read as infinite and would be shown as null.
  if (typeof value === 'number' && !Number.isFinite(value)) return 'a number out of range';
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) return typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** JSON text in ASCII, so that nothing in a message can act on a terminal. */
export function printable(text: string): string {
  return shownValue(text).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
