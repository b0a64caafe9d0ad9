// What a started database tells the tests that use it.

import type { ServerProcess } from './server-process.ts';

export interface SqlServer {
  readonly kind: 'mariadb' | 'postgresql';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** As the drivers of most languages take it. */
  readonly url: string;
  readonly process: ServerProcess;
  stop(): Promise<void>;
}

export interface RedisServer {
  readonly kind: 'redis';
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly process: ServerProcess;
  stop(): Promise<void>;
}

/** A replica set of one: transactions need one. */
export interface MongoServer {
  readonly kind: 'mongodb';
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly process: ServerProcess;
  stop(): Promise<void>;
}
