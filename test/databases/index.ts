// Real database servers for the tests of barriers, of XA and of other people's clients. Each starter
// answers either a running server or { kind: 'skipped', reason }: a missing program is said, not hidden.

export { startMariaDb } from './mariadb.ts';
export { startMongoDb } from './mongodb.ts';
export { startPostgreSql } from './postgresql.ts';
export { startRedis } from './redis.ts';
export type { Skipped } from './server-process.ts';
export type { MongoServer, RedisServer, SqlServer } from './types.ts';
