// The limits of calling participants. Every queue, body and cache of this module is bounded by one.

export interface ParticipantsConfig {
  /** Requests in flight to one target, and so HTTP connections; gRPC shares one for up to 100. */
  readonly connectionsPerTargetMax: number;
  /** Calls waiting for a free connection to one target. */
  readonly queuePerTargetMax: number;
  /** Calls waiting for a free connection to any target, HTTP and gRPC each. */
  readonly queueTotalMax: number;
  /** Targets remembered, HTTP and gRPC each; beyond it the least recently used idle one is forgotten. */
  readonly targetsMax: number;
  /** Distinct branch URLs whose parsed form is remembered. */
  readonly parsedUrlsMax: number;
  /** A longer answer is an unknown outcome. */
  readonly answerBytesMax: number;
  /** What an outcome keeps of an answer. */
  readonly detailBytesMax: number;
  readonly redirectsMax: number;
  readonly connectTimeoutMs: number;
  /** Idle connections are closed after this long, unless the service announces a shorter time. */
  readonly keepAliveMs: number;
  /** Consecutive failures to connect that open a target's circuit. */
  readonly circuitFailuresMax: number;
  readonly circuitDelayMsMin: number;
  readonly circuitDelayMsMax: number;
  readonly userAgent: string;
  /** A gRPC channel that was not used for this long is closed, at the latest after twice as long. */
  readonly grpcIdleMs: number;
  /** PEM texts; undefined: plain text, as dtm calls. Without authorities: those of Node. */
  readonly grpcTls:
    | {
        readonly authorities: Uint8Array | undefined;
        readonly certificates: Uint8Array | undefined;
        readonly privateKey: Uint8Array | undefined;
      }
    | undefined;
  /** JSON text of the gRPC client's service config (dtm's `GrpcServiceConfig`). */
  readonly grpcServiceConfig: string;
  /** dtm's `IS_DOCKER`: loopback names in URLs mean the host of the container. */
  readonly dockerHost: boolean;
}

export const DEFAULT_PARTICIPANTS_CONFIG: ParticipantsConfig = {
  connectionsPerTargetMax: 128,
  queuePerTargetMax: 4096,
  queueTotalMax: 65_536,
  targetsMax: 1024,
  parsedUrlsMax: 8192,
  answerBytesMax: 1024 * 1024,
  detailBytesMax: 64 * 1024,
  redirectsMax: 10,
  connectTimeoutMs: 3000,
  keepAliveMs: 4000,
  circuitFailuresMax: 5,
  circuitDelayMsMin: 250,
  circuitDelayMsMax: 10_000,
  userAgent: 'assent',
  grpcIdleMs: 300_000,
  grpcTls: undefined,
  grpcServiceConfig: '{"loadBalancingConfig":[{"round_robin":{}}]}',
  dockerHost: false,
};
