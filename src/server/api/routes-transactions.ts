// The routes that change a transaction: prepare, submit, abort, registerBranch and its aliases,
// prepareWorkflow, forceStop, resetNextCronTime; and those that need no engine: newGid, version.
//
// Source: the dtm protocol reference, §1.4.

import { newGid, type TransactionRequests } from '../requests/index.ts';
import { type Answer, replyAnswer, unreadableAnswer, valueAnswer } from './answer.ts';
import { type ApiRequest, type Route, route, standaloneRoute } from './route.ts';
import type { TimeFormat } from './time-text.ts';
import { type TransactionBodyReader, UnreadableBodyError } from './transaction-body.ts';
import { workflowView } from './transaction-view.ts';

export interface TransactionRoutesOptions {
  readonly reader: TransactionBodyReader;
  readonly requests: TransactionRequests;
  readonly time: TimeFormat;
  readonly version: string;
}

export function transactionRoutes(options: TransactionRoutesOptions): readonly Route[] {
  const { reader, requests, time, version } = options;

  async function prepare({ coordinator, text }: ApiRequest): Promise<Answer> {
    return replyAnswer(await requests.prepare(coordinator, reader.readTransaction(text())));
  }

  async function submit({ coordinator, text }: ApiRequest): Promise<Answer> {
    return replyAnswer(await requests.submit(coordinator, reader.readTransaction(text())));
  }

  async function abort({ coordinator, text }: ApiRequest): Promise<Answer> {
    return replyAnswer(await requests.abort(coordinator, reader.readNamed(text())));
  }

  async function registerBranch({ coordinator, text }: ApiRequest): Promise<Answer> {
    try {
      const branch = reader.readRegistration(text());
      return replyAnswer(await requests.registerBranch(coordinator, branch));
    } catch (error) {
      if (error instanceof UnreadableBodyError) return unreadableAnswer(error.message);
      throw error;
    }
  }

  async function prepareWorkflow({ coordinator, text }: ApiRequest): Promise<Answer> {
    const transaction = reader.readTransaction(text());
    const reply = await requests.prepareWorkflow(coordinator, transaction);
    return replyAnswer(reply, (found) => valueAnswer(workflowView(found, time)));
  }

  async function forceStop(request: ApiRequest): Promise<Answer> {
    const { coordinator, text, remoteAddress } = request;
    const by = `http ${remoteAddress}`;
    return replyAnswer(await requests.forceStop(coordinator, reader.readNamed(text()), by));
  }

  async function resetNextCronTime({ coordinator, text }: ApiRequest): Promise<Answer> {
    const { gid } = reader.readNamed(text());
    return replyAnswer(await requests.resetNextCronTime(coordinator, gid));
  }

  return [
    standaloneRoute('newGid', () => valueAnswer({ dtm_result: 'SUCCESS', gid: newGid() })),
    standaloneRoute('version', () => valueAnswer({ version })),
    route('POST', 'prepare', 'admission', prepare),
    route('POST', 'submit', 'admission', submit),
    route('POST', 'abort', 'progress', abort),
    // Old Node and PHP clients use the aliases. A refused branch makes its client abort.
    ...['registerBranch', 'registerXaBranch', 'registerTccBranch'].map((name) =>
      route('POST', name, 'progress', registerBranch),
    ),
    route('POST', 'prepareWorkflow', 'admission', prepareWorkflow),
    route('POST', 'forceStop', 'progress', forceStop),
    route('POST', 'resetNextCronTime', 'progress', resetNextCronTime),
  ];
}
