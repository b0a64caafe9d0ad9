// The `Files` port on a real file system.
//
// Owns: positional reads and writes through libuv's pool, asynchronous fdatasync, directory syncs.
// Wrapped callbacks rather than node:fs/promises: a FileHandle costs an extra turn for every call, and
// the write path of the log is two calls long.

import * as fs from 'node:fs';
import { LogError } from './errors.ts';
import type { FileHandle, Files } from './ports.ts';

const OPEN_FLAGS = { create: 'wx+', write: 'r+', read: 'r' } as const;

/**
 * A write this small only copies into the page cache, in less time than it takes to hand it to the
 * pool and to hear of its end; what waits for the disk is the flush, which is never synchronous.
 */
const SYNC_WRITE_BYTES_MAX = 64 * 1024;

/** An operation that reports by callback, as a promise. */
function call<Result>(
  start: (done: (error: Error | null, result?: Result) => void) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error === null) resolve(result as Result);
      else reject(error);
    });
  });
}

class NodeFileHandle implements FileHandle {
  readonly path: string;
  readonly #descriptor: number;

  constructor(path: string, descriptor: number) {
    this.path = path;
    this.#descriptor = descriptor;
  }

  async writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    let written = 0;
    if (bytes.length <= SYNC_WRITE_BYTES_MAX) {
      written = fs.writeSync(this.#descriptor, bytes, 0, bytes.length, offset);
    }
    while (written < bytes.length) {
      const from = written;
      // A write may end short, at a signal or a full disk; the next one then says why.
      const count = await call<number>((done) =>
        fs.write(this.#descriptor, bytes, from, bytes.length - from, offset + from, done),
      );
      if (count === 0) throw new LogError('LOG_INVARIANT', `wrote nothing to ${this.path}`);
      written += count;
    }
  }

  async readAt(offset: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length);
    let read = 0;
    while (read < length) {
      const from = read;
      const count = await call<number>((done) =>
        fs.read(this.#descriptor, bytes, from, length - from, offset + from, done),
      );
      if (count === 0) break;
      read += count;
    }
    return bytes.subarray(0, read);
  }

  datasync(): Promise<void> {
    return call<undefined>((done) => fs.fdatasync(this.#descriptor, done));
  }

  async size(): Promise<number> {
    const stats = await call<fs.Stats>((done) => fs.fstat(this.#descriptor, done));
    return stats.size;
  }

  close(): Promise<void> {
    return call<undefined>((done) => fs.close(this.#descriptor, done));
  }
}

export class NodeFiles implements Files {
  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<FileHandle> {
    const descriptor = await call<number>((done) => fs.open(path, OPEN_FLAGS[mode], 0o600, done));
    return new NodeFileHandle(path, descriptor);
  }

  rename(from: string, to: string): Promise<void> {
    return fs.promises.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return fs.promises.unlink(path);
  }

  removeDirectory(path: string): Promise<void> {
    return fs.promises.rm(path, { recursive: true, force: true });
  }

  async makeDirectory(path: string): Promise<void> {
    await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
  }

  async list(path: string): Promise<readonly string[]> {
    try {
      return (await fs.promises.readdir(path)).sort();
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    }
  }

  async syncDirectory(path: string): Promise<void> {
    const descriptor = await call<number>((done) => fs.open(path, 'r', done));
    try {
      await call<undefined>((done) => fs.fsync(descriptor, done));
    } finally {
      await call<undefined>((done) => fs.close(descriptor, done));
    }
  }

  async freeBytes(path: string): Promise<number> {
    const stats = await fs.promises.statfs(path);
    return stats.bavail * stats.bsize;
  }
}
