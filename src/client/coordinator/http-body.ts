// The JSON bodies of dtm's HTTP routes. Pure.
//
// Source: dtm reference §1.3, §1.4.

import {
  type BranchRegistration,
  payloadText,
  type TransactionOptions,
  type TransactionRequest,
} from '../transaction.ts';

type JsonObject = Record<string, unknown>;

/** Leaves out what is undefined: some readers take null for a value. */
function present(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function optionFields(options: TransactionOptions): JsonObject {
  return {
    wait_result: options.waitResult === true ? true : undefined,
    timeout_to_fail: options.timeoutToFailSeconds,
    request_timeout: options.requestTimeoutSeconds,
    retry_interval: options.retryIntervalSeconds,
    branch_headers: options.branchHeaders,
    retry_limit: options.retryLimit,
  };
}

export function transactionBody(request: TransactionRequest): JsonObject {
  const { options, payloads } = request;
  return present({
    gid: request.gid,
    trans_type: request.transactionType,
    steps: request.steps,
    payloads: payloads?.map((payload, step) => payloadText(payload, `the payload of step ${step}`)),
    custom_data: request.customData,
    query_prepared: request.queryPrepared,
    rollback_reason: request.rollbackReason,
    req_extra: request.requestExtra,
    protocol: options.branchProtocol ?? 'http',
    concurrent: request.concurrent ?? false,
    ...optionFields(options),
  });
}

/** Every value is text: the server refuses anything else here. */
export function registrationBody(registration: BranchRegistration): Record<string, string> {
  const { gid, transactionType, branchId, payload, fields } = registration;
  return {
    gid,
    trans_type: transactionType,
    branch_id: branchId,
    ...fields,
    ...(payload === undefined
      ? {}
      : { data: payloadText(payload, `the data of branch ${branchId}`) }),
  };
}
