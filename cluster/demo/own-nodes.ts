// The nodes that the demonstration may speak to: those that the cluster scripts started. Another
// cluster may listen on the port of a node that is down.
//
// Invariant: after a doubt, nothing is sent before the process of the node's pid file is seen to be
// the one that listens on its port.

import { readFileSync } from 'node:fs';
// biome-ignore lint/correctness/useImportExtensions: listener.d.mts is only for the type checker
import { listensOn } from '../listener.mjs';

export class DemoNode {
  readonly id: number;
  readonly url: string;
  readonly #port: number;
  readonly #pidFile: string;
  #believed = false;

  constructor(dataDirectory: string, id: number, port: number) {
    this.id = id;
    this.url = `http://127.0.0.1:${port}`;
    this.#port = port;
    this.#pidFile = `${dataDirectory}/node-${id}/node.pid`;
  }

  isOurs(): boolean {
    if (this.#believed) return true;
    const pid = this.#pid();
    this.#believed = pid !== undefined && listensOn(pid, this.#port);
    return this.#believed;
  }

  /** It did not answer, or is known to have ended. */
  doubt(): void {
    this.#believed = false;
  }

  #pid(): number | undefined {
    try {
      return Number(readFileSync(this.#pidFile, 'utf8'));
    } catch {
      return undefined; // it does not run
    }
  }
}

/** `list`: ID:PORT,… */
export function nodesOf(dataDirectory: string, list: string): readonly DemoNode[] {
  return list.split(',').map((entry) => {
    const [id, port] = entry.split(':').map(Number);
    return new DemoNode(dataDirectory, id ?? 0, port ?? 0);
  });
}
