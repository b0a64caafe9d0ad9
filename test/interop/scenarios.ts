// What is asked of each client: the scenarios, and what each must leave behind. A scenario that a
// client has not is a reason in the table, not a gap.

import {
  brokenInJava,
  type Column,
  inAll,
  notInJava,
  onlyGo,
  onlyHttpAndGrpc,
  onlyOver,
} from './columns.ts';

export interface Scenario {
  readonly title: string;
  /** Its name in the drivers. */
  readonly scenario: string;
  readonly status: 'succeed' | 'failed';
  /** Each op@side that must have taken effect once, and no other. */
  readonly effects: readonly string[];
  /** What the client's own call must end in; undefined where the client dies or loses its node. */
  readonly clientSees: 'success' | 'failure' | undefined;
  /** The same across the kill, where nobody waits for the result, if it differs. */
  readonly clientSeesAcrossKill?: 'success';
  /** Where it stands when the leader is killed; undefined: it is not part of that round. */
  readonly killAt: string | undefined;
  /** Only in the round with the leader kill. */
  readonly onlyKill?: true;
  /** The client's own node is the leader that is killed. */
  readonly throughLeader?: true;
  /** And then it repeats its call at another node. */
  readonly goesOnElsewhere?: true;
  /** The client asks for no wait_result: the answer would tell of the first attempt only. */
  readonly isNotAwaited?: true;
  /** The transaction's own timeout. */
  readonly timeoutSeconds?: number;
  readonly loseAnswerOf?: string;
  /** The first answer of this op@side comes after that of a later call. */
  readonly holdAt?: string;
  /** The client is a process of its own that dies here. */
  readonly diesAt?:
    | 'before-commit'
    | 'after-commit'
    | 'after-try'
    | 'after-branch'
    | 'mid-workflow';
  /** Calls of participants that must have been counted: at least, and at most. */
  readonly calls?: Readonly<Record<string, readonly [number, number]>>;
  /** Balances are in Redis, where there is no ledger. */
  readonly inRedis?: true;
  /** Why a column has not this scenario; undefined where it has. */
  readonly absentFrom: (column: Column) => string | undefined;
}

const MOVED = ['action@out', 'action@in'] as const;
const UNDONE = ['action@out', 'compensate@out'] as const;
const MANY = Number.MAX_SAFE_INTEGER;

export const SCENARIOS: readonly Scenario[] = [
  {
    title: 'saga success',
    scenario: 'saga-success',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    absentFrom: inAll,
  },
  {
    title: 'saga rollback',
    scenario: 'saga-rollback',
    status: 'failed',
    effects: UNDONE,
    clientSees: 'failure',
    clientSeesAcrossKill: 'success',
    killAt: 'compensate@out',
    absentFrom: inAll,
  },
  {
    title: 'concurrent saga',
    scenario: 'saga-concurrent',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@out',
    absentFrom: inAll,
  },
  {
    title: 'concurrent saga with orders',
    scenario: 'saga-orders',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@out',
    calls: { 'action@in': [1, MANY] },
    absentFrom: inAll,
  },
  {
    title: 'saga, submitted three times: run once',
    scenario: 'saga-repeated',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    calls: { 'action@out': [1, 1], 'action@in': [1, 1] },
    absentFrom: inAll,
  },
  {
    title: 'saga, its node is the one killed: repeated at another node',
    scenario: 'saga-success',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    onlyKill: true,
    throughLeader: true,
    goesOnElsewhere: true,
    absentFrom: inAll,
  },
  {
    title: 'saga, a step is ongoing at first',
    scenario: 'saga-ongoing',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    isNotAwaited: true,
    calls: { 'action@in': [2, MANY] },
    absentFrom: inAll,
  },
  {
    title: 'saga, rolled back at its timeout',
    scenario: 'saga-timeout',
    status: 'failed',
    effects: UNDONE,
    clientSees: 'success',
    killAt: undefined,
    isNotAwaited: true,
    timeoutSeconds: 2,
    calls: { 'action@in': [1, MANY] },
    absentFrom: brokenInJava('setTimeoutToFail'),
  },
  {
    title: 'saga, rolled back at its retry limit',
    scenario: 'saga-retry-limit',
    status: 'failed',
    effects: UNDONE,
    clientSees: 'success',
    killAt: undefined,
    isNotAwaited: true,
    calls: { 'action@in': [2, 2] },
    absentFrom: onlyGo('retry limit'),
  },
  {
    title: 'saga with headers for its branches',
    scenario: 'saga-headers',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    calls: { 'action@in': [1, 1] },
    absentFrom: brokenInJava('setBranchHeaders'),
  },
  {
    title: 'saga, its second branch over plain HTTP',
    scenario: 'saga-mixed',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    absentFrom: onlyOver(['grpc', 'json-rpc'], 'every branch is HTTP', 'other protocol'),
  },
  {
    title: 'tcc confirm',
    scenario: 'tcc-confirm',
    status: 'succeed',
    effects: ['try@out', 'try@in', 'confirm@out', 'confirm@in'],
    clientSees: 'success',
    killAt: 'confirm@in',
    absentFrom: inAll,
  },
  {
    title: 'tcc cancel',
    scenario: 'tcc-cancel',
    status: 'failed',
    effects: ['try@out', 'cancel@out'],
    clientSees: 'failure',
    killAt: 'cancel@out',
    absentFrom: inAll,
  },
  {
    title: 'nested tcc',
    scenario: 'tcc-nested',
    status: 'succeed',
    effects: ['try@out', 'try@in', 'confirm@out', 'confirm@in'],
    clientSees: 'success',
    killAt: 'confirm@in',
    absentFrom: (column) =>
      column.protocol === 'json-rpc'
        ? 'the client nests over HTTP only'
        : notInJava('nesting')(column),
  },
  {
    title: 'tcc, client dies after its tries: cancelled at the timeout',
    scenario: 'tcc-confirm',
    status: 'failed',
    effects: ['try@out', 'try@in', 'cancel@out', 'cancel@in'],
    clientSees: undefined,
    killAt: undefined,
    timeoutSeconds: 3,
    diesAt: 'after-try',
    absentFrom: onlyGo('timeout of its own for a tcc'),
  },
  {
    title: 'msg, DoAndSubmit',
    scenario: 'msg',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    absentFrom: notInJava('msg'),
  },
  {
    title: 'msg, local transaction refuses',
    scenario: 'msg-local-failure',
    status: 'failed',
    effects: [],
    clientSees: 'failure',
    killAt: undefined,
    absentFrom: notInJava('msg'),
  },
  {
    title: 'msg, client dies after its local commit: delivered',
    scenario: 'msg',
    status: 'succeed',
    effects: MOVED,
    clientSees: undefined,
    killAt: undefined,
    diesAt: 'after-commit',
    calls: { checkback: [1, MANY] },
    absentFrom: notInJava('msg'),
  },
  {
    title: 'msg, client dies before its local commit: not delivered',
    scenario: 'msg',
    status: 'failed',
    effects: [],
    clientSees: undefined,
    killAt: undefined,
    diesAt: 'before-commit',
    calls: { checkback: [1, MANY], 'action@in': [0, 0] },
    absentFrom: notInJava('msg'),
  },
  {
    title: 'msg from Redis, client dies after its local step: delivered',
    scenario: 'msg-redis',
    status: 'succeed',
    effects: [],
    clientSees: undefined,
    killAt: undefined,
    diesAt: 'after-commit',
    calls: { checkback: [1, MANY] },
    inRedis: true,
    absentFrom: onlyGo('barrier for Redis'),
  },
  {
    title: 'msg with a delay',
    scenario: 'msg-delay',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    calls: { 'action@out': [1, 1] },
    absentFrom: onlyGo('delay'),
  },
  {
    title: 'msg with concurrent branches',
    scenario: 'msg-concurrent',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    calls: { 'action@out': [1, 1] },
    absentFrom: onlyOver(['http', 'json-rpc'], 'cannot be said over gRPC', 'concurrent msg'),
  },
  {
    title: 'topic with two subscribers',
    scenario: 'topic',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    absentFrom: notInJava('msg'),
  },
  {
    title: 'xa commit, MariaDB and PostgreSQL',
    scenario: 'xa-commit',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'commit@out',
    absentFrom: onlyHttpAndGrpc('xa'),
  },
  {
    title: 'xa rollback, MariaDB and PostgreSQL',
    scenario: 'xa-rollback',
    status: 'failed',
    effects: [],
    clientSees: 'failure',
    killAt: 'rollback@out',
    absentFrom: onlyHttpAndGrpc('xa'),
  },
  {
    title: 'xa, client dies between its branches: rolled back at the timeout',
    scenario: 'xa-commit',
    status: 'failed',
    effects: [],
    clientSees: undefined,
    killAt: undefined,
    timeoutSeconds: 3,
    diesAt: 'after-branch',
    absentFrom: onlyHttpAndGrpc('xa'),
  },
  {
    title: 'xa, all prepared, submit after the kill',
    scenario: 'xa-commit',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'client',
    onlyKill: true,
    absentFrom: onlyHttpAndGrpc('xa'),
  },
  {
    title: "xa, all prepared, the client's only node is the one killed",
    scenario: 'xa-commit',
    status: 'failed',
    effects: [],
    clientSees: undefined,
    killAt: 'client',
    onlyKill: true,
    throughLeader: true,
    timeoutSeconds: 6,
    absentFrom: onlyHttpAndGrpc('xa'),
  },
  {
    title: 'barrier, MariaDB: a repeated call takes effect once',
    scenario: 'saga-success',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    loseAnswerOf: 'action@out',
    calls: { 'action@out': [2, MANY] },
    absentFrom: inAll,
  },
  {
    title: 'barrier, PostgreSQL: a repeated call takes effect once',
    scenario: 'saga-success',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    loseAnswerOf: 'action@in',
    calls: { 'action@in': [2, MANY] },
    absentFrom: onlyGo('barrier for PostgreSQL'),
  },
  {
    title: 'barrier, Redis: a repeated call takes effect once',
    scenario: 'saga-redis',
    status: 'succeed',
    effects: [],
    clientSees: 'success',
    killAt: undefined,
    loseAnswerOf: 'action@redis-out',
    calls: { 'action@redis-out': [2, MANY] },
    inRedis: true,
    absentFrom: onlyGo('barrier for Redis'),
  },
  {
    title: 'barrier, MongoDB: a repeated call takes effect once',
    scenario: 'none',
    status: 'succeed',
    effects: [],
    clientSees: 'success',
    killAt: undefined,
    absentFrom: (column) =>
      column.language === 'go'
        ? 'not run: Debian has no package of mongod'
        : 'the client has no barrier for MongoDB',
  },
  {
    title: 'workflow, and its stored result',
    scenario: 'workflow',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: 'action@in',
    calls: { 'action@out': [1, 1] },
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow rollback',
    scenario: 'workflow-rollback',
    status: 'failed',
    effects: UNDONE,
    clientSees: 'failure',
    killAt: 'compensate@out',
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow, overtaken by its resumed run',
    scenario: 'workflow',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    holdAt: 'action@in',
    calls: { 'action@out': [1, 1], 'action@in': [2, MANY] },
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow rollback, overtaken by its resumed run',
    scenario: 'workflow-rollback',
    status: 'failed',
    effects: UNDONE,
    clientSees: 'failure',
    killAt: undefined,
    holdAt: 'compensate@out',
    calls: { 'action@out': [1, 1], 'compensate@out': [2, MANY] },
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow over tcc',
    scenario: 'workflow-tcc',
    status: 'succeed',
    effects: ['try@out', 'try@in', 'confirm@out', 'confirm@in'],
    clientSees: 'success',
    killAt: 'confirm@in',
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow over xa, MariaDB and PostgreSQL',
    scenario: 'workflow-xa',
    status: 'succeed',
    effects: MOVED,
    clientSees: 'success',
    killAt: undefined,
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
  {
    title: 'workflow, client dies after a step: resumed, the step not repeated',
    scenario: 'workflow',
    status: 'succeed',
    effects: MOVED,
    clientSees: undefined,
    killAt: undefined,
    diesAt: 'mid-workflow',
    calls: { 'action@out': [1, 1] },
    absentFrom: onlyHttpAndGrpc('workflow'),
  },
];
