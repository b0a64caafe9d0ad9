// One process per data directory. LevelDB locks the state, but the log is opened before it, and
// opening repairs and writes: a second process must stop before that.
//
// The claim is a name in Linux's abstract socket namespace, made of the directory's device and inode:
// it leaves no file, needs no disk space, and ends with the process however that dies. Elsewhere, and
// between containers that share a volume but no network, only LevelDB's lock holds.

import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';

class DataInUseError extends Error {
  override readonly name = 'DataInUseError';
  readonly code = 'DATA_IN_USE';
}

export class DataDirectoryClaim {
  readonly #server: Server | undefined;

  private constructor(server: Server | undefined) {
    this.#server = server;
  }

  /** @throws DataInUseError */
  static async take(directory: string): Promise<DataDirectoryClaim> {
    if (process.platform !== 'linux') return new DataDirectoryClaim(undefined);
    const { dev, ino } = await stat(directory, { bigint: true });
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const isTaken = error.code === 'EADDRINUSE';
        reject(
          isTaken
            ? new DataInUseError(`node.dataDir ${directory} is in use by another process`)
            : error,
        );
      });
      server.listen(`\0assent-data-${dev}-${ino}`, resolve);
    });
    server.unref();
    return new DataDirectoryClaim(server);
  }

  async release(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  }
}
