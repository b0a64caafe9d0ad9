// Every setting of a node: name, default, bounds, meaning. The one table from which parsing, the
// types, `--print-config` and docs/configuration.md come.
//
// Owns: our own keys. dtm's keys are in config-dtm-keys.ts, rules between keys in config-checks.ts.
// Invariant: a setting's name ends in its unit (…Ms, …Bytes) wherever it has one.

export interface PeerAddress {
  readonly id: number;
  readonly host: string;
  readonly port: number;
}

interface SettingBase {
  readonly description: string;
}
export interface IntegerSetting extends SettingBase {
  readonly kind: 'integer';
  /** `ms` and `bytes` also take texts such as "1.5s" and "64MiB". */
  readonly unit: 'ms' | 'bytes' | 'count';
  readonly default: number;
  readonly min: number;
  readonly max: number;
}
export interface BooleanSetting extends SettingBase {
  readonly kind: 'boolean';
  readonly default: boolean;
}
export interface TextSetting extends SettingBase {
  readonly kind: 'text';
  readonly default: string;
}
export interface ChoiceSetting<C extends string = string> extends SettingBase {
  readonly kind: 'choice';
  readonly default: C;
  readonly allowed: readonly C[];
}
export interface PeersSetting extends SettingBase {
  readonly kind: 'peers';
  readonly default: readonly PeerAddress[];
}
export type Setting = IntegerSetting | BooleanSetting | TextSetting | ChoiceSetting | PeersSetting;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;

function ms(value: number, min: number, max: number, description: string): IntegerSetting {
  return { kind: 'integer', unit: 'ms', default: value, min, max, description };
}
function bytes(value: number, min: number, max: number, description: string): IntegerSetting {
  return { kind: 'integer', unit: 'bytes', default: value, min, max, description };
}
function count(value: number, min: number, max: number, description: string): IntegerSetting {
  return { kind: 'integer', unit: 'count', default: value, min, max, description };
}
function port(value: number, description: string): IntegerSetting {
  return count(value, 0, 65_535, description);
}
function flag(value: boolean, description: string): BooleanSetting {
  return { kind: 'boolean', default: value, description };
}
function text(value: string, description: string): TextSetting {
  return { kind: 'text', default: value, description };
}
function choice<const C extends string>(
  allowed: readonly C[],
  value: NoInfer<C>,
  description: string,
): ChoiceSetting<C> {
  return { kind: 'choice', default: value, allowed, description };
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export const SCHEMA = {
  node: {
    id: count(1, 1, 1_000_000, 'Identity of this node; unique, never reused within a cluster.'),
    dataDir: text('data', 'Directory of the log and the state; formatted once with `--format`.'),
  },
  cluster: {
    peers: {
      kind: 'peers',
      default: [],
      description:
        'Every voter, this node included: a list of `{id, host, port}`, or `1=host:port,2=host:port`. Empty: a cluster of this node alone.',
    },
  },
  listen: {
    host: text('0.0.0.0', 'Address that the HTTP and gRPC APIs bind.'),
    httpPort: port(36_789, "Port of dtm's HTTP API, health and metrics."),
    grpcPort: port(36_790, "Port of dtm's gRPC API and its health service."),
    peerHost: text('127.0.0.1', 'Address that the peer port binds; see security.insecurePeers.'),
    peerPort: port(36_791, 'Port for the other nodes.'),
  },
  raft: {
    electionTimeoutMs: ms(
      1_000,
      50,
      60_000,
      'Shortest time without a leader before an election; the longest is 1.25 times it.',
    ),
    heartbeatIntervalMs: ms(100, 5, 15_000, 'Pause between heartbeats of the leader.'),
    appendBytesMax: bytes(
      1 * MIB,
      16 * KIB,
      64 * MIB,
      'Payload of one append to a peer; one entry is always allowed.',
    ),
    inflightBytesMax: bytes(16 * MIB, 64 * KIB, 1 * GIB, 'Unacknowledged bytes to one peer.'),
    uncommittedBytesMax: bytes(
      64 * MIB,
      1 * MIB,
      4 * GIB,
      'Uncommitted entries on the leader; beyond it new work is refused as overload.',
    ),
    windowBytesMax: bytes(
      8 * MIB,
      1 * MIB,
      4 * GIB,
      'Recent entries kept in memory for followers that lag a little.',
    ),
    pendingReadsMax: count(10_000, 16, 1_000_000, 'Reads that wait for confirmation.'),
    trailingEntries: count(
      50_000,
      0,
      100_000_000,
      'Entries kept behind a compaction for followers that lag.',
    ),
  },
  log: {
    segmentBytes: bytes(64 * MIB, 1 * MIB, 1 * GIB, 'Size of a segment file, zero-filled ahead.'),
    freeSpaceFloorBytes: bytes(
      512 * MIB,
      0,
      1_024 * GIB,
      'Below this much free space no new work is admitted; running work goes on.',
    ),
    ballastBytes: bytes(
      64 * MIB,
      0,
      64 * GIB,
      'File given up when the disk is full, so that the node can still open and compact.',
    ),
    markIdleMs: ms(50, 1, 60_000, 'Idle time after which a synced mark closes the tail.'),
    injectedFlushDelayMs: ms(0, 0, 1_000, 'Added to every flush, to measure a slower disk.'),
  },
  store: {
    overlayBytesMax: bytes(
      64 * MIB,
      1 * MIB,
      16 * GIB,
      'Applied changes held in memory before they are flushed.',
    ),
    flushIntervalMs: ms(1_000, 10, 600_000, 'Longest pause between two flushes of changed state.'),
    scrubBytesPerSecond: bytes(
      1 * MIB,
      0,
      1 * GIB,
      'Pace of the background check of every value; 0 turns it off.',
    ),
  },
  transactions: {
    timeoutToFailMs: ms(
      35_000,
      10_000,
      YEAR_MS,
      'Age at which an unfinished transaction is aborted, for all types but saga.',
    ),
    retryIntervalMs: ms(10_000, 10_000, YEAR_MS, 'Base of the doubling pause between attempts.'),
    retryIntervalMsMax: ms(HOUR_MS, 10_000, YEAR_MS, 'Longest pause between two attempts.'),
    requestTimeoutMs: ms(3_000, 100, HOUR_MS, 'Limit of one call of a participant.'),
    commitEachResult: flag(
      false,
      'Commit each result before the next step starts, for services without barriers.',
    ),
  },
  scheduler: {
    runningMax: count(10_000, 1, 1_000_000, 'Transactions driven at once.'),
    dueEntriesMax: count(50_000, 100, 10_000_000, 'Due times held in memory.'),
    dueHorizonMs: ms(60_000, 1_000, HOUR_MS, 'How far ahead due times are held in memory.'),
    rampUpMs: ms(5_000, 0, HOUR_MS, 'Time over which a new leader reaches full speed.'),
  },
  participants: {
    connectionsPerTargetMax: count(
      128,
      1,
      10_000,
      'Calls in flight to one target; gRPC at most 100.',
    ),
    queuePerTargetMax: count(4_096, 1, 1_000_000, 'Calls that wait for one target.'),
    queueTotalMax: count(
      65_536,
      1,
      10_000_000,
      'Calls that wait for any target, HTTP and gRPC each.',
    ),
    answerBytesMax: bytes(1 * MIB, 1 * KIB, 64 * MIB, 'A longer answer is an unknown outcome.'),
    circuitFailuresMax: count(
      5,
      1,
      1_000_000,
      'Consecutive failures to connect that open the circuit of a target.',
    ),
    circuitDelayMsMin: ms(250, 10, HOUR_MS, 'First pause of an open circuit; it doubles.'),
    circuitDelayMsMax: ms(10_000, 10, HOUR_MS, 'Longest pause of an open circuit.'),
    grpcIdleMs: ms(
      300_000,
      1_000,
      DAY_MS,
      'A gRPC connection to a participant is closed when it was unused for this long.',
    ),
    grpcTls: flag(false, 'Call gRPC participants over TLS; off: in plain text, as dtm does.'),
    grpcTlsAuthoritiesFile: text(
      '',
      "PEM file of the authorities that sign their certificates; empty: Node's own.",
    ),
    grpcTlsCertificatesFile: text(
      '',
      'PEM file of our certificate, for services that ask for one.',
    ),
    grpcTlsPrivateKeyFile: text('', 'PEM file of its private key.'),
    grpcServiceConfig: text(
      '',
      'JSON service config of the gRPC client; empty: round robin over the addresses of a name.',
    ),
  },
  alerts: {
    webHook: text('', 'URL that is told of calls that keep failing; empty: nobody is.'),
    retryLimit: count(
      3,
      0,
      1_000,
      'An alert is due from this many consecutive errors of a call on.',
    ),
    timeoutMs: ms(3_000, 100, HOUR_MS, 'Limit of one attempt to deliver an alert.'),
    attemptsMax: count(
      3,
      1,
      100,
      'Attempts to deliver one alert; then the next error of its call raises it again.',
    ),
    retryDelayMs: ms(1_000, 10, HOUR_MS, 'Pause after the first failed attempt; it doubles.'),
    queueMax: count(
      1_000,
      1,
      1_000_000,
      'Alerts that wait; beyond it new ones are dropped until the next error of their call.',
    ),
    inflightMax: count(2, 1, 100, 'Alerts delivered at once.'),
  },
  api: {
    bodyBytesMax: bytes(8 * MIB, 1 * KIB, 256 * MIB, 'Longest body of a request.'),
    transactionBytesMax: bytes(
      4 * MIB,
      1 * KIB,
      256 * MIB,
      'All payloads, URLs and texts of one transaction together.',
    ),
    headerBytesMax: bytes(16 * KIB, 4 * KIB, 1 * MIB, 'All headers of a request together.'),
    stepsMax: count(1_000, 1, 100_000, 'Steps of one transaction.'),
    jsonDepthMax: count(64, 4, 1_000, 'Nesting of a JSON body longer than 1 KiB.'),
    jsonValuesMax: count(
      20_000,
      100,
      10_000_000,
      'Values in a JSON body longer than 1 KiB, fields in a gRPC message.',
    ),
    listLimitMax: count(1_000, 1, 10_000, 'Transactions in one page of `all`.'),
    inflightRequestsMax: count(
      2_000,
      1,
      1_000_000,
      'Requests at once; above it new ones are refused, above 110 % also abort and forceStop.',
    ),
    inflightBytesMax: bytes(256 * MIB, 1 * MIB, 64 * GIB, 'Bodies held at once.'),
    connectionsMax: count(10_000, 1, 1_000_000, 'Connections at once.'),
    operationTimeoutMs: ms(
      5_000,
      100,
      600_000,
      'How long a request waits for a leader and a commit before it is refused or unknown.',
    ),
    receiveTimeoutMs: ms(30_000, 100, HOUR_MS, 'Limit for receiving a whole request.'),
    headersTimeoutMs: ms(10_000, 100, HOUR_MS, 'Limit for receiving its headers.'),
    keepAliveTimeoutMs: ms(
      72_000,
      1_000,
      HOUR_MS,
      "Life of an idle connection; keep it longer than the load balancer's.",
    ),
    grpcConnectionAgeMs: ms(
      300_000,
      0,
      DAY_MS,
      'Age at which a gRPC connection is asked to reconnect, so that load spreads again; 0: never.',
    ),
    grpcTlsCertificatesFile: text(
      '',
      'PEM file of the certificate that the gRPC API shows; empty: plain text, as with dtm.',
    ),
    grpcTlsPrivateKeyFile: text('', 'PEM file of its private key.'),
    grpcTlsClientAuthoritiesFile: text(
      '',
      'PEM file of the authorities of which every gRPC client must have a certificate; empty: none.',
    ),
    grpcReflection: flag(true, 'Offer gRPC server reflection, as dtm does.'),
    timeZoneOffset: text(
      '',
      "Offset of the times in replies, such as +8 or -3.5 hours; empty: the server's own.",
    ),
  },
  retention: {
    finishedMs: ms(
      DAY_MS,
      DAY_MS,
      10 * YEAR_MS,
      'Finished transactions are forgotten this long after their end.',
    ),
    preparedExpiryMs: ms(
      7 * DAY_MS,
      HOUR_MS,
      10 * YEAR_MS,
      'A prepared saga that is never submitted fails at this age.',
    ),
    purgeIntervalMs: ms(10_000, 100, DAY_MS, 'Pause between two sweeps.'),
    purgeBatchMax: count(500, 1, 10_000, 'Transactions forgotten by one command.'),
  },
  compat: {
    strictResubmit: flag(
      false,
      "Keep dtm's 409 for a repeated submit of a finished transaction, where we answer 200.",
    ),
  },
  security: {
    insecurePeers: flag(
      false,
      'Let the peer port bind an address that is not loopback, in plain text.',
    ),
  },
  logging: {
    level: choice(LOG_LEVELS, 'info', 'Least severe record written.'),
    outputs: text('stderr', 'Where records go: stderr, stdout, or files, separated by commas.'),
  },
  shutdown: {
    drainDelayMs: ms(
      0,
      0,
      600_000,
      'How long a stopping node still serves while /readyz says 503, for load balancers.',
    ),
    handOverTimeoutMs: ms(2_000, 0, 600_000, 'Limit for handing leadership over.'),
    drainTimeoutMs: ms(10_000, 0, 600_000, 'Limit for ending requests and calls in flight.'),
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Setting>>>>;

type ValueOf<S> = S extends { kind: 'integer' }
  ? number
  : S extends { kind: 'boolean' }
    ? boolean
    : S extends ChoiceSetting<infer C>
      ? C
      : S extends { kind: 'peers' }
        ? readonly PeerAddress[]
        : string;

/** The validated settings: deeply readonly, nothing optional. */
export type Config = {
  readonly [S in keyof typeof SCHEMA]: {
    readonly [K in keyof (typeof SCHEMA)[S]]: ValueOf<(typeof SCHEMA)[S][K]>;
  };
};

export type SettingValue = number | boolean | string | readonly PeerAddress[];

/** All settings by their path, in the order of the table. */
export const SETTINGS: ReadonlyMap<string, Setting> = new Map(
  Object.entries(SCHEMA).flatMap(([section, settings]) =>
    (Object.entries(settings) as [string, Setting][]).map(([key, setting]): [string, Setting] => [
      `${section}.${key}`,
      setting,
    ]),
  ),
);

/** `raft.electionTimeoutMs` → `ASSENT_RAFT__ELECTION_TIMEOUT_MS`. */
export function environmentName(path: string): string {
  const snake = path.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  return `ASSENT_${snake.replace('.', '__')}`;
}
