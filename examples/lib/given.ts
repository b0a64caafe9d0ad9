// What is given to an example on its command line and cannot be: one line, and code 2.

export function given<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}
