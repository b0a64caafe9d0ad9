// Positions of a scan as clients get them: opaque, safe inside a URL, and of a known version.

const VERSION = '1';

/** `bytes` as a latin1 string. */
export function toOpaque(bytes: string): string {
  return VERSION + btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Undefined: not one that `toOpaque` has given out. */
export function fromOpaque(position: string): string | undefined {
  if (!/^1[A-Za-z0-9_-]+$/.test(position)) return undefined;
  try {
    return atob(position.slice(1).replaceAll('-', '+').replaceAll('_', '/'));
  } catch {
    return undefined;
  }
}
