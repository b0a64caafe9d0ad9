// One process per data directory. LevelDB locks the state, but the log is opened before it, and
// opening repairs and writes: a second process must stop before that.
//
// The claim is a name in Linux's abstract socket namespace, made of the directory's device and inode:
// it leaves no file, needs no disk space, and ends with the process however that dies. Elsewhere, and
// between containers that share a volume but no network, only LevelDB's lock holds.

import { type FileHandle, open } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';

class DataInUseError extends Error {
  override readonly name = 'DataInUseError';
  readonly code = 'DATA_IN_USE';
}

export class DataDirectoryClaim {
  readonly #server: Server;
  /** While it is open, no other directory gets the inode, even when this one is deleted. */
  readonly #handle: FileHandle;

  private constructor(server: Server, handle: FileHandle) {
    this.#server = server;
    this.#handle = handle;
  }

  /**
   * Undefined: this system has no such names.
   *
   * @throws DataInUseError
   */
  static async take(directory: string): Promise<DataDirectoryClaim | undefined> {
    if (process.platform !== 'linux') return undefined;
    const handle = await open(directory, 'r');
    try {
      const { dev, ino } = await handle.stat({ bigint: true });
      return new DataDirectoryClaim(await listen(`\0assent-data-${dev}-${ino}`, directory), handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async release(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    await this.#handle.close();
  }
}

async function listen(name: string, directory: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = `node.dataDir ${directory} is in use by another process`;
      reject(error.code === 'EADDRINUSE' ? new DataInUseError(inUse) : error);
    });
    server.listen(name, resolve);
  });
  server.unref();
  return server;
}
