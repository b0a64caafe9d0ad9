// What is asked of each client: the scenarios, what each must leave behind, and which client can
// express which of them. A scenario that a client has not is a reason in the table, not a gap.

import type { Protocol } from './driver.ts';
import type { Language } from './toolchains.ts';

/** One column of the table: a client over one protocol. */
export interface Column {
  readonly name: string;
  readonly language: Language;
  readonly protocol: Protocol;
}

export const COLUMNS: readonly Column[] = [
  { name: 'Go, HTTP', language: 'go', protocol: 'http' },
  { name: 'Go, gRPC', language: 'go', protocol: 'grpc' },
  { name: 'Go, JSON-RPC', language: 'go', protocol: 'json-rpc' },
  { name: 'Python, HTTP', language: 'python', protocol: 'http' },
  { name: 'Java, HTTP', language: 'java', protocol: 'http' },
];

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
  /** The transaction's own timeout. */
  readonly timeoutSeconds?: number;
  readonly loseAnswerOf?: string;
  /** The client is a process of its own that dies here. */
  readonly diesAt?: 'before-commit' | 'after-commit' | 'mid-workflow';
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

const inAll = (): undefined => undefined;
const notInJava =
  (what: string) =>
  (column: Column): string | undefined =>
    column.language === 'java' ? `the client has no ${what}` : undefined;

/** The Go client registers these branches over plain HTTP or gRPC, whatever it was given. */
const onlyHttpAndGrpc =
  (what: string) =>
  (column: Column): string | undefined =>
    column.protocol === 'json-rpc'
      ? `the client has no ${what} over JSON-RPC`
      : column.language === 'go'
        ? undefined
        : `the client has no ${what}`;

const onlyGo =
  (what: string) =>
  (column: Column): string | undefined =>
    column.language === 'go' ? undefined : `the client has no ${what}`;

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
