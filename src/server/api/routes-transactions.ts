// The routes that change a transaction: prepare, submit, abort, forceStop, resetNextCronTime; and
// those that need no engine: newGid, version.
//
// Source: the dtm protocol reference, §1.4, §5.4.

import type { TransactionDefaults } from '../../engine/index.ts';
import { type Answer, operationAnswer, valueAnswer, waitAnswer } from './answer.ts';
import { newGid } from './gid.ts';
import { type ApiRequest, type Route, route, standaloneRoute } from './route.ts';
import type { TransactionBodyReader } from './transaction-body.ts';

export interface TransactionRoutesOptions {
  readonly reader: TransactionBodyReader;
  readonly defaults: TransactionDefaults;
  readonly operationTimeoutMs: number;
  readonly version: string;
}

export function transactionRoutes(options: TransactionRoutesOptions): readonly Route[] {
  const { reader, defaults, operationTimeoutMs, version } = options;

  async function prepare({ coordinator, body }: ApiRequest): Promise<Answer> {
    const transaction = reader.readTransaction(body);
    const request = { kind: 'prepare', transaction, defaults } as const;
    return operationAnswer(await coordinator.execute(request, operationTimeoutMs), transaction.gid);
  }

  async function submit({ coordinator, body }: ApiRequest): Promise<Answer> {
    const transaction = reader.readTransaction(body);
    const { gid } = transaction;
    const request = { kind: 'submit', transaction, defaults } as const;
    const outcome = await coordinator.execute(request, operationTimeoutMs);
    const succeeded = outcome.kind === 'applied' && outcome.result.kind === 'success';
    // The request's own wait_result counts, not the stored one; workflows never wait (§5.4, §11.7).
    const waits = transaction.options.waitResult === true && transaction.type !== 'workflow';
    if (!succeeded || !waits) return operationAnswer(outcome, gid);
    return waitAnswer(await coordinator.waitResult(gid), gid, 'submit');
  }

  async function abort({ coordinator, body }: ApiRequest): Promise<Answer> {
    const { gid, type, rollbackReason } = reader.readNamed(body);
    const request = { kind: 'abort', gid, type, rollbackReason } as const;
    const outcome = await coordinator.execute(request, operationTimeoutMs);
    // An abort waits by the stored options (§11.7).
    const waits =
      outcome.kind === 'applied' && outcome.result.kind === 'success' && outcome.result.waitResult;
    if (!waits) return operationAnswer(outcome, gid);
    return waitAnswer(await coordinator.waitResult(gid), gid, 'abort');
  }

  async function forceStop({ coordinator, body, remoteAddress }: ApiRequest): Promise<Answer> {
    const { gid, rollbackReason } = reader.readNamed(body);
    const by = `http ${remoteAddress}`;
    const request = { kind: 'forceStop', gid, by, reason: rollbackReason } as const;
    return operationAnswer(await coordinator.execute(request, operationTimeoutMs), gid);
  }

  async function resetNextCronTime({ coordinator, body }: ApiRequest): Promise<Answer> {
    const { gid } = reader.readNamed(body);
    const request = { kind: 'resetNextCronTime', gids: [gid], mustExist: true } as const;
    return operationAnswer(await coordinator.execute(request, operationTimeoutMs), gid);
  }

  return [
    standaloneRoute('newGid', () => valueAnswer({ dtm_result: 'SUCCESS', gid: newGid() })),
    standaloneRoute('version', () => valueAnswer({ version })),
    route('POST', 'prepare', 'admission', prepare),
    route('POST', 'submit', 'admission', submit),
    route('POST', 'abort', 'progress', abort),
    route('POST', 'forceStop', 'progress', forceStop),
    route('POST', 'resetNextCronTime', 'progress', resetNextCronTime),
  ];
}
