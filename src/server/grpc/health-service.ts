// grpc.health.v1: the server and `dtmgimp.Dtm` mirror /readyz, `liveness` mirrors /livez.
//
// Watchers are told of changes by looking at the same answers now and then; their number is bounded.

import {
  type ServerUnaryCall,
  type ServerWritableStream,
  status as Status,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Health } from '../health.ts';
import { loadService } from './load-proto.ts';

interface HealthCheckRequest {
  readonly service: string;
}
interface HealthCheckResponse {
  readonly status: ServingStatus;
}
type ServingStatus = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';
type Watch = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

const LOOK_MS = 500;
const WATCHERS_MAX = 1_000;

export const healthProto = loadService('health.proto', 'grpc.health.v1.Health');

export class HealthService {
  readonly #health: Health;
  readonly #dtmService: string;
  readonly #watchers = new Map<Watch, ServingStatus>();
  #timer: NodeJS.Timeout | undefined;

  constructor(health: Health, dtmService: string) {
    this.#health = health;
    this.#dtmService = dtmService;
  }

  get implementation(): UntypedServiceImplementation {
    return {
      Check: (
        call: ServerUnaryCall<HealthCheckRequest, HealthCheckResponse>,
        answer: sendUnaryData<HealthCheckResponse>,
      ) => {
        const status = this.#statusOf(call.request.service);
        if (status === 'SERVICE_UNKNOWN') {
          answer({ code: Status.NOT_FOUND, details: 'unknown service' });
        } else {
          answer(null, { status });
        }
      },
      Watch: (call: Watch) => this.#watch(call),
    };
  }

  /** Ends the streams of those who watch. */
  close(): void {
    for (const call of this.#watchers.keys()) call.end();
    this.#watchers.clear();
    this.#stopLooking();
  }

  #statusOf(service: string): ServingStatus {
    if (service === 'liveness') return 'SERVING';
    if (service !== '' && service !== this.#dtmService) return 'SERVICE_UNKNOWN';
    return this.#health.readiness().every(({ ok }) => ok) ? 'SERVING' : 'NOT_SERVING';
  }

  #watch(call: Watch): void {
    if (this.#watchers.size >= WATCHERS_MAX) {
      call.emit('error', { code: Status.RESOURCE_EXHAUSTED, details: 'too many watchers' });
      return;
    }
    const status = this.#statusOf(call.request.service);
    this.#watchers.set(call, status);
    call.write({ status });
    call.on('cancelled', () => {
      this.#watchers.delete(call);
      call.end();
      if (this.#watchers.size === 0) this.#stopLooking();
    });
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
  }

  #look(): void {
    for (const [call, before] of this.#watchers) {
      const status = this.#statusOf(call.request.service);
      if (status === before) continue;
      this.#watchers.set(call, status);
      call.write({ status });
    }
  }

  #stopLooking(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
