// A gRPC service under the test's control: it answers each branch of each transaction as the test says,
// told apart by the metadata alone, and remembers every call.

import {
  Metadata,
  type ServerCredentials,
  status as Status,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { until } from '../../../bench/lib/local-cluster.ts';
import {
  type GrpcTestService,
  type SeenCall,
  startGrpcService,
} from '../../helpers/grpc-service.ts';

export interface GrpcAnswer {
  readonly code?: Status;
  readonly message?: string;
  /** The answer is sent only once this resolves. */
  readonly after?: Promise<unknown>;
  readonly hang?: boolean;
}

export interface BranchSeen extends SeenCall {
  readonly gid: string;
  readonly type: string;
  /** Branch id and op. */
  readonly name: string;
}

export const FAILED: GrpcAnswer = { code: Status.ABORTED, message: 'no stock' };
export const NOT_YET: GrpcAnswer = { code: Status.FAILED_PRECONDITION, message: 'not yet' };
export const BROKEN: GrpcAnswer = { code: Status.INTERNAL, message: 'out of order' };

const METHODS = ['TransOut', 'TransOutRevert', 'TransIn', 'TransInRevert', 'QueryPrepared'];
const EXECUTE = '/workflow.Workflow/Execute';

export class GrpcParticipant {
  readonly calls: BranchSeen[] = [];
  readonly #answers = new Map<string, readonly GrpcAnswer[]>();
  #service: GrpcTestService | undefined;

  static async start(credentials?: ServerCredentials): Promise<GrpcParticipant> {
    const participant = new GrpcParticipant();
    participant.#service = await startGrpcService(
      (seen, answer) => void participant.#serve(seen, answer),
      {
        paths: [...METHODS.map((method) => `/busi.Busi/${method}`), EXECUTE],
        ...(credentials === undefined ? {} : { credentials }),
      },
    );
    return participant;
  }

  url(method: string): string {
    return `${this.#address}/busi.Busi/${method}`;
  }

  get workflowUrl(): string {
    return this.#address + EXECUTE;
  }

  /** `name`: branch id and op. The n-th call gets the n-th answer, the last one is for all further. */
  on(gid: string, name: string, ...answers: readonly GrpcAnswer[]): void {
    this.#answers.set(`${gid} ${name}`, answers);
  }

  callsOf(gid: string, name?: string): readonly BranchSeen[] {
    return this.calls.filter(
      (call) => call.gid === gid && (name === undefined || call.name === name),
    );
  }

  order(gid: string): readonly string[] {
    return this.callsOf(gid).map(({ name }) => name);
  }

  called(gid: string, name: string, count = 1): Promise<readonly BranchSeen[]> {
    return until(`${count} calls of ${gid} ${name}`, 20_000, async () => {
      const calls = this.callsOf(gid, name);
      return Promise.resolve(calls.length >= count ? calls : undefined);
    });
  }

  stop(): void {
    this.#service?.close();
  }

  get #address(): string {
    if (this.#service === undefined) throw new Error('not started');
    return this.#service.address;
  }

  async #serve(seen: SeenCall, answer: sendUnaryData<Buffer>): Promise<void> {
    const text = (key: string): string => String(seen.metadata.get(key)[0]);
    const [gid, name] = [text('dtm-gid'), `${text('dtm-branch_id')} ${text('dtm-op')}`];
    this.calls.push({ ...seen, gid, type: text('dtm-trans_type'), name });
    const answers = this.#answers.get(`${gid} ${name}`) ?? [];
    const turn = Math.min(this.callsOf(gid, name).length, answers.length);
    const { code = Status.OK, message = '', after, hang } = answers[turn - 1] ?? {};
    if (hang === true) return;
    await after;
    if (code === Status.OK) answer(null, Buffer.alloc(0));
    else answer({ code, details: message, metadata: new Metadata() });
  }
}
