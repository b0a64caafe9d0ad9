// Calls branches over gRPC: the stored bytes go out as they are, and only the status comes back.
//
// Owns: what every gRPC call shares (URLs, metadata, channel options), and closing idle channels. Does
// not own: limits and queues (target-table.ts), the moment of writing (grpc-call.ts).
// Invariant: `done` runs once per call and never inside `call`.
//
// Sources: the dtm protocol reference, §3.4, §3.5, §4.4; defects 12.31, 12.33.

import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js';
import type { Cancel, Clock, Random } from '../../raft/index.ts';
import { Answering, type Done } from './answering.ts';
import type { ParticipantsConfig } from './config.ts';
import type { EgressPolicy } from './egress.ts';
import { GrpcCall, type GrpcCallOwner, type GrpcRequest } from './grpc-call.ts';
import { GrpcChannel } from './grpc-channel.ts';
import { CallMetadata } from './grpc-metadata.ts';
import { type GrpcUrl, GrpcUrlCache } from './grpc-url.ts';
import { QUEUE_FULL, TargetTable } from './target-table.ts';
import type { BranchCall, ParticipantCaller, TargetStatus } from './types.ts';
import { encodeWorkflowData } from './workflow-data.ts';

export interface GrpcCallerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: EgressPolicy;
}

/**
 * Streams of one connection at once. A server may allow as few as 100 (RFC 9113 §6.5.2), and what goes
 * beyond its limit would wait inside the HTTP/2 session, behind the moment at which the lease is asked.
 */
const STREAMS_PER_TARGET_MAX = 100;

export class GrpcCaller implements ParticipantCaller {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #egress: EgressPolicy;
  readonly #answering: Answering;
  readonly #urls: GrpcUrlCache;
  readonly #metadata = new CallMetadata();
  readonly #targets: TargetTable<GrpcChannel, GrpcCall>;
  readonly #owner: GrpcCallOwner;
  readonly #inflight = new Set<GrpcCall>();
  #closed = false;
  #cancelIdleCheck: Cancel | undefined;

  constructor(ports: GrpcCallerPorts, config: ParticipantsConfig) {
    const { clock } = ports;
    this.#clock = clock;
    this.#idleMs = config.grpcIdleMs;
    this.#egress = ports.egress;
    this.#answering = new Answering(clock);
    this.#urls = new GrpcUrlCache(config.parsedUrlsMax, config.dockerHost);
    const channelCredentials = credentialsOf(config);
    const options = channelOptions(config);
    this.#targets = new TargetTable({
      clock,
      random: ports.random,
      config,
      inflightPerTargetMax: Math.min(config.connectionsPerTargetMax, STREAMS_PER_TARGET_MAX),
      connect: (target) => new GrpcChannel(target, channelCredentials, options),
    });
    this.#owner = {
      detailBytesMax: config.detailBytesMax,
      nowMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      dispatched: (call) => this.#inflight.add(call),
      slotFreed: (call, reach) => {
        this.#inflight.delete(call);
        call.target.connections.usedAtMs = clock.monotonicMs();
        this.#checkIdleLater();
        this.#targets.slotFreed(call.target, call, reach);
      },
      settled: (call, outcome) => this.#answering.answer(call.done, outcome),
    };
  }

  call(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    this.#answering.duringCall(() => this.#start(call, mayWrite, done));
  }

  targets(): readonly TargetStatus[] {
    return this.#targets.statuses();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelIdleCheck?.();
    await this.#targets.close();
    for (const call of [...this.#inflight]) {
      call.cancel();
    }
  }

  /** One timer for all channels; a channel may so stay open for up to twice the time. */
  #checkIdleLater(): void {
    if (this.#closed) return;
    this.#cancelIdleCheck ??= this.#clock.after(this.#idleMs, () => {
      this.#cancelIdleCheck = undefined;
      this.#closeIdle();
    });
  }

  #closeIdle(): void {
    const usedBeforeMs = this.#clock.monotonicMs() - this.#idleMs;
    let open = false;
    for (const channel of this.#targets.idleConnections()) {
      // Nothing is in flight there, so nobody waits for it. A busy one is looked at when its call ends.
      if (channel.usedAtMs <= usedBeforeMs) void channel.close();
      else if (channel.isOpen) open = true;
    }
    if (open) this.#checkIdleLater();
  }

  #start(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    if (this.#closed) {
      this.#answering.answer(done, { kind: 'notSent', reason: 'stopped' });
      return;
    }
    const url = this.#urls.get(call.url);
    const request = typeof url === 'string' ? url : this.#requestOf(call, url);
    if (typeof url === 'string' || typeof request === 'string') {
      const detail = typeof request === 'string' ? request : '';
      this.#answering.answer(done, { kind: 'unknown', detail, durationMs: 0 });
      return;
    }
    const target = this.#targets.find(url.target);
    const refusal = target === undefined ? QUEUE_FULL : this.#targets.refusal(target);
    if (target === undefined || refusal !== undefined) {
      this.#answering.answer(done, refusal ?? QUEUE_FULL);
      return;
    }
    const made = new GrpcCall({ mayWrite, done }, this.#owner, target, request);
    this.#targets.enqueue(target, made);
  }

  /** A string says why nothing can be sent. */
  #requestOf(call: BranchCall, { url, method }: GrpcUrl): GrpcRequest | string {
    const refused = this.#egress.allow(url);
    if (refused !== undefined) {
      return `refused by the egress policy: ${refused}`;
    }
    const metadata = this.#metadata.of(call);
    if (typeof metadata === 'string') {
      return metadata;
    }
    const { buffer, byteOffset, length } =
      call.type === 'workflow' ? encodeWorkflowData(call.payload) : call.payload;
    const message = Buffer.from(buffer, byteOffset, length);
    return { method, message, metadata, timeoutMs: call.timeoutMs };
  }
}

function credentialsOf({ grpcTls }: ParticipantsConfig): ChannelCredentials {
  if (grpcTls === undefined) {
    return credentials.createInsecure();
  }
  const bytes = (pem: Uint8Array | undefined): Buffer | null =>
    pem === undefined ? null : Buffer.from(pem);
  return credentials.createSsl(
    bytes(grpcTls.authorities),
    bytes(grpcTls.privateKey),
    bytes(grpcTls.certificates),
  );
}

function channelOptions(config: ParticipantsConfig): ChannelOptions {
  return {
    'grpc.primary_user_agent': config.userAgent,
    'grpc.service_config': config.grpcServiceConfig,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': config.answerBytesMax,
    'grpc.max_send_message_length': -1,
    // Retries are decided, recorded and counted by the scheduler alone.
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
    // Shared connections would share their back-off too.
    'grpc.use_local_subchannel_pool': 1,
  };
}
