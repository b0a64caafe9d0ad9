// The file system, as low as the log needs it: so that segments, the audit and healing run
// unchanged on the simulator's adversarial disk.
//
// Durability: a write is durable after `datasync` of its file resolves; a name (create, rename,
// remove) after `syncDirectory`. Errors carry `code` (`ENOSPC`, `EIO`, …).

export interface FileHandle {
  readonly path: string;
  /** Writes all of `bytes` at `offset`. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
  /** Up to `length` bytes from `offset`; shorter at the end of the file. */
  readAt(offset: number, length: number): Promise<Uint8Array>;
  /** Resolves when everything written before the call is on stable storage. */
  datasync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface Files {
  /** `create`: fails if it exists. `write`: existing, read and write. `read`: existing. */
  open(path: string, mode: 'create' | 'write' | 'read'): Promise<FileHandle>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Recursively; absent is no error. */
  removeDirectory(path: string): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory, sorted; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>;
  syncDirectory(path: string): Promise<void>;
  freeBytes(path: string): Promise<number>;
}
