// Commands as they stand in the log.
//
// A kind or version that this node does not know stops it: a command that one replica skips and
// another runs would end the equality of their states (P3).

import { absent, codeOf, FormatError, packVersioned, unpackVersioned, wordOf } from './format.ts';
import { packDefaults, packInput, unpackDefaults, unpackInput } from './input-codec.ts';
import type { BranchResult, Command, Decision, OperationRequest, Registration } from './types.ts';
import { OUTCOMES, TRANSACTION_STATUSES } from './words.ts';

const COMMAND_VERSION = 1;

const COMMAND_KINDS = [
  'openSession',
  'operation',
  'advance',
  'purge',
  'digest',
] as const satisfies readonly Command['kind'][];

const REQUEST_KINDS = [
  'prepare',
  'submit',
  'abort',
  'forceStop',
  'resetNextCronTime',
  'registerBranch',
  'prepareWorkflow',
  'subscribe',
  'unsubscribe',
  'deleteTopic',
] as const satisfies readonly OperationRequest['kind'][];

const REGISTRATIONS = ['tcc', 'xa', 'workflow'] as const satisfies readonly Registration['kind'][];

const DECISIONS = [
  'aborting',
  'submitted',
  'succeed',
  'failed',
] as const satisfies readonly Decision['to'][];

export function encodeCommand(command: Command): Uint8Array {
  return packVersioned(COMMAND_VERSION, [
    codeOf(COMMAND_KINDS, command.kind),
    ...commandFields(command),
  ]);
}

function commandFields(command: Command): readonly unknown[] {
  switch (command.kind) {
    case 'openSession':
      return [command.nodeId, command.incarnation];
    case 'operation': {
      const { nodeId, incarnation, seq } = command.opId;
      return [nodeId, incarnation, seq, command.lowestOpenSeq, packRequest(command.request)];
    }
    case 'advance':
      return [
        command.gid,
        codeOf(TRANSACTION_STATUSES, command.expectStatus),
        command.results.map(packResult),
        command.decision === undefined ? null : packDecision(command.decision),
        command.retries,
      ];
    case 'purge':
      return [command.gids];
    case 'digest':
      // Two halves: integers of 64 bits have no one reading in msgpack's JavaScript.
      return [
        command.index,
        Number(BigInt.asUintN(32, command.digest >> 32n)),
        Number(BigInt.asUintN(32, command.digest)),
      ];
  }
}

/** @throws {FormatError} The node must stop. */
export function decodeCommand(bytes: Uint8Array): Command {
  const fields = unpackVersioned('command', COMMAND_VERSION, bytes);
  const kind = wordOf(COMMAND_KINDS, fields[0]);
  try {
    return readCommand(kind, fields);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError('DAMAGED_VALUE', `command ${kind} cannot be read`, error);
  }
}

type OperationFields = readonly [number, number, number, number, number, readonly unknown[]];
type AdvanceFields = readonly [
  number,
  string,
  number,
  readonly (readonly unknown[])[],
  readonly unknown[] | null,
  number,
];

function readCommand(kind: Command['kind'], fields: readonly unknown[]): Command {
  switch (kind) {
    case 'openSession': {
      const [, nodeId, incarnation] = fields as readonly [number, number, number];
      return { kind, nodeId, incarnation };
    }
    case 'operation': {
      const [, nodeId, incarnation, seq, lowestOpenSeq, request] = fields as OperationFields;
      const opId = { nodeId, incarnation, seq };
      return { kind, opId, lowestOpenSeq, request: unpackRequest(request) };
    }
    case 'advance': {
      const [, gid, status, results, decision, retries] = fields as AdvanceFields;
      return {
        kind,
        gid,
        expectStatus: wordOf(TRANSACTION_STATUSES, status),
        results: results.map(unpackResult),
        decision: decision === null ? undefined : unpackDecision(decision),
        retries,
      };
    }
    case 'purge':
      return { kind, gids: fields[1] as readonly string[] };
    case 'digest': {
      const [, index, high, low] = fields as readonly [number, number, number, number];
      return { kind, index, digest: (BigInt(high) << 32n) | BigInt(low) };
    }
  }
}

function packRequest(request: OperationRequest): readonly unknown[] {
  const kind = codeOf(REQUEST_KINDS, request.kind);
  switch (request.kind) {
    case 'prepare':
    case 'submit':
    case 'prepareWorkflow':
      return [kind, packInput(request.transaction), packDefaults(request.defaults)];
    case 'abort':
      return [kind, request.gid, request.type, request.rollbackReason, request.strict];
    case 'forceStop':
      return [kind, request.gid, request.by, request.reason, request.strict];
    case 'registerBranch': {
      const { gid, branchId, registration, payload } = request;
      return [kind, gid, branchId, packRegistration(registration), payload];
    }
    case 'subscribe':
      return [kind, request.topic, request.url, request.remark];
    case 'unsubscribe':
      return [kind, request.topic, request.url];
    case 'deleteTopic':
      return [kind, request.topic];
    case 'resetNextCronTime':
      return [kind, request.gids, request.mustExist];
  }
}

type RegisterFields = readonly [number, string, string, readonly unknown[], Uint8Array];
type TextFields = readonly [number, string, string, string, boolean | null];

function unpackRequest(fields: readonly unknown[]): OperationRequest {
  const kind = wordOf(REQUEST_KINDS, fields[0]);
  switch (kind) {
    case 'prepare':
    case 'submit':
    case 'prepareWorkflow': {
      const [, input, defaults] = fields as readonly [number, unknown[], unknown[]];
      return { kind, transaction: unpackInput(input), defaults: unpackDefaults(defaults) };
    }
    case 'abort': {
      const [, gid, type, rollbackReason, strict] = fields as TextFields;
      return { kind, gid, type, rollbackReason, ...(strict === null ? {} : { strict }) };
    }
    case 'forceStop': {
      const [, gid, by, reason, strict] = fields as TextFields;
      return { kind, gid, by, reason, ...(strict === null ? {} : { strict }) };
    }
    case 'registerBranch': {
      const [, gid, branchId, registration, payload] = fields as RegisterFields;
      return { kind, gid, branchId, registration: unpackRegistration(registration), payload };
    }
    case 'subscribe': {
      const [, topic, url, remark] = fields as readonly [number, string, string, string];
      return { kind, topic, url, remark };
    }
    case 'unsubscribe': {
      const [, topic, url] = fields as readonly [number, string, string];
      return { kind, topic, url };
    }
    case 'deleteTopic':
      return { kind, topic: fields[1] as string };
    case 'resetNextCronTime': {
      const [, gids, mustExist] = fields as readonly [number, readonly string[], boolean];
      return { kind, gids, mustExist };
    }
  }
}

function packRegistration(registration: Registration): readonly unknown[] {
  const kind = codeOf(REGISTRATIONS, registration.kind);
  switch (registration.kind) {
    case 'tcc':
      return [kind, registration.confirm, registration.cancel];
    case 'xa':
      return [kind, registration.url];
    case 'workflow':
      return [kind, registration.op, registration.status];
  }
}

function unpackRegistration(fields: readonly unknown[]): Registration {
  const kind = wordOf(REGISTRATIONS, fields[0]);
  const [, first, second] = fields as readonly [number, string, string];
  switch (kind) {
    case 'tcc':
      return { kind, confirm: first, cancel: second };
    case 'xa':
      return { kind, url: first };
    case 'workflow':
      return { kind, op: first, status: second };
  }
}

function packResult(result: BranchResult): readonly unknown[] {
  return [
    result.row,
    result.attempt,
    result.term,
    result.atMs,
    result.durationMs,
    codeOf(OUTCOMES, result.outcome),
    result.detail,
    result.retryAtMs,
    result.intervalMs,
    // Absent where false, as version 0.1.0 writes it.
    ...(result.alerted === true ? [true] : []),
  ];
}

type ResultFields = readonly [
  number,
  number,
  number,
  number,
  number,
  number,
  string,
  number | null,
  number,
  true?,
];

function unpackResult(fields: readonly unknown[]): BranchResult {
  const [row, attempt, term, atMs, durationMs, outcome, detail, retryAtMs, intervalMs, alerted] =
    fields as ResultFields;
  return {
    row,
    attempt,
    term,
    atMs,
    durationMs,
    outcome: wordOf(OUTCOMES, outcome),
    detail,
    retryAtMs: absent(retryAtMs),
    intervalMs,
    ...(alerted === true ? { alerted } : {}),
  };
}

function packDecision(decision: Decision): readonly unknown[] {
  const to = codeOf(DECISIONS, decision.to);
  switch (decision.to) {
    case 'aborting':
      return [to, decision.reason, decision.compensate];
    case 'failed':
      return [to, decision.reason];
    case 'submitted':
    case 'succeed':
      return [to];
  }
}

function unpackDecision(fields: readonly unknown[]): Decision {
  const to = wordOf(DECISIONS, fields[0]);
  switch (to) {
    case 'aborting':
      return { to, reason: fields[1] as string, compensate: fields[2] as readonly number[] };
    case 'failed':
      return { to, reason: fields[1] as string };
    case 'submitted':
    case 'succeed':
      return { to };
  }
}
