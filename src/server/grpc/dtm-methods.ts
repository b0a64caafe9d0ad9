// The nine methods of dtmgimp.Dtm: from a message to a request and from its reply to a message.
//
// Source: the dtm protocol reference, §3.1–§3.3. What the caller waits for ends in its own time here: no
// deadline or disconnection of a caller cancels a call of a branch (defect 12.22).

import { status as Status } from '@grpc/grpc-js';
import type { Coordinator } from '../../engine/index.ts';
import type { Lane } from '../api/index.ts';
import {
  type JsonLimits,
  newGid,
  type Reply,
  registrationInput,
  successReply,
  type TopicRequests,
  type TransactionInputs,
  type TransactionRequests,
} from '../requests/index.ts';
import {
  type DtmBranchRequest,
  type DtmRequest,
  type DtmTopicRequest,
  givenRegistration,
  givenTransaction,
  namedTransaction,
  progressesReply,
} from './messages.ts';
import type { InvalidStatus } from './status.ts';

export interface MethodsOptions {
  readonly inputs: TransactionInputs;
  readonly requests: TransactionRequests;
  readonly topics: TopicRequests;
  readonly jsonLimits: JsonLimits;
  readonly transactionBytesMax: number;
}

/** What a method's deserializer made; each method takes the message that is its own. */
export type DtmMessage = DtmRequest & DtmBranchRequest & DtmTopicRequest;

export interface Method {
  readonly name: string;
  readonly lane: Lane;
  readonly invalid: (message: DtmMessage) => InvalidStatus;
  /** Resolves to the message of the answer. */
  readonly handle: (coordinator: Coordinator, message: DtmMessage) => Promise<Reply<object>>;
}

/** Answered without the engine: also while it starts. */
export interface StandaloneMethod {
  readonly name: string;
  handle(): object;
}

const EMPTY = {};

export const newGidMethod: StandaloneMethod = { name: 'NewGid', handle: () => ({ Gid: newGid() }) };

const asInternal = (): InvalidStatus => Status.INTERNAL;
const asUnknown = (): InvalidStatus => Status.UNKNOWN;
/** Another result of a step that is on record: never a business failure (dtm reference §12.11). */
const asRegistration = ({ TransType }: DtmBranchRequest): InvalidStatus =>
  TransType === 'workflow' ? Status.INTERNAL : Status.UNKNOWN;

export function dtmMethods(options: MethodsOptions): readonly Method[] {
  return [...transactionMethods(options), ...topicMethods(options)];
}

function transactionMethods(options: MethodsOptions): readonly Method[] {
  const { inputs, requests, jsonLimits, transactionBytesMax } = options;
  const transactionOf = (message: DtmRequest) =>
    inputs.transaction(givenTransaction(message, jsonLimits));
  return [
    method('Submit', 'admission', asInternal, async (coordinator, message: DtmRequest) =>
      empty(await requests.submit(coordinator, transactionOf(message))),
    ),
    method('Prepare', 'admission', asInternal, async (coordinator, message: DtmRequest) =>
      empty(await requests.prepare(coordinator, transactionOf(message))),
    ),
    method('Abort', 'progress', asInternal, async (coordinator, message: DtmRequest) =>
      empty(await requests.abort(coordinator, inputs.named(namedTransaction(message)))),
    ),
    method(
      'RegisterBranch',
      'progress',
      asRegistration,
      async (coordinator, message: DtmBranchRequest) => {
        const branch = registrationInput(givenRegistration(message), { transactionBytesMax });
        return empty(await requests.registerBranch(coordinator, branch));
      },
    ),
    method('PrepareWorkflow', 'admission', asInternal, async (coordinator, message: DtmRequest) => {
      const reply = await requests.prepareWorkflow(coordinator, transactionOf(message));
      return reply.kind === 'success' ? successReply(progressesReply(reply.value)) : reply;
    }),
  ];
}

function topicMethods({ topics }: MethodsOptions): readonly Method[] {
  return [
    method('Subscribe', 'admission', asUnknown, async (coordinator, message) =>
      empty(
        await topics.subscribe(coordinator, {
          topic: message.Topic,
          url: message.URL,
          remark: message.Remark,
        }),
      ),
    ),
    method('Unsubscribe', 'admission', asUnknown, async (coordinator, message) =>
      empty(await topics.unsubscribe(coordinator, { topic: message.Topic, url: message.URL })),
    ),
    method('DeleteTopic', 'admission', asUnknown, async (coordinator, message) =>
      empty(await topics.deleteTopic(coordinator, message.Topic)),
    ),
  ];
}

function method(
  name: string,
  lane: Lane,
  invalid: Method['invalid'],
  handle: Method['handle'],
): Method {
  return { name, lane, invalid, handle };
}

function empty(reply: Reply): Reply<object> {
  return reply.kind === 'success' ? successReply(EMPTY) : reply;
}
