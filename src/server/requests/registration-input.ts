// A registerBranch as a client gave it: a flat map of texts in every protocol, checked here.
//
// Source: the dtm protocol reference, §1.4, §3.2, §5.10.

import type { Registration } from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import { shownValue } from './shown-value.ts';
import {
  checkBranchId,
  checkBranchUrl,
  checkGid,
  checkPrintable,
  isHttpUrl,
} from './validation.ts';

export interface GivenRegistration {
  readonly gid: string;
  /** Decides the form; the engine compares it with the stored type (defect 12.12). */
  readonly type: string;
  readonly branchId: string;
  /** confirm, cancel (tcc); url (xa); op, status (workflow). Absent ones are empty. */
  readonly texts: ReadonlyMap<string, string>;
  readonly payload: Uint8Array;
}

export interface RegistrationInput {
  readonly gid: string;
  readonly branchId: string;
  readonly registration: Registration;
  readonly payload: Uint8Array;
}

const WORKFLOW_OPS: ReadonlySet<string> = new Set(['action', 'commit', 'rollback', 'business']);

/** @throws InvalidRequestError */
export function registrationInput(
  given: GivenRegistration,
  limits: { readonly transactionBytesMax: number },
): RegistrationInput {
  const gid = checkGid(given.gid);
  const registration = registrationOf(given.type, given.texts);
  const branchId = checkBranchId(given.branchId);
  const { transactionBytesMax } = limits;
  if (given.payload.length > transactionBytesMax) {
    throw new InvalidRequestError(
      `data must be at most ${transactionBytesMax} bytes, got ${given.payload.length}`,
    );
  }
  for (const url of urlsOf(registration)) {
    if (url !== '' && !isHttpUrl(url)) checkPrintable(branchId, 'branch_id');
  }
  return { gid, branchId, registration, payload: given.payload };
}

function urlsOf(registration: Registration): readonly string[] {
  switch (registration.kind) {
    case 'tcc':
      return [registration.confirm, registration.cancel];
    case 'xa':
      return [registration.url];
    case 'workflow':
      return [];
  }
}

function registrationOf(type: string, texts: ReadonlyMap<string, string>): Registration {
  const text = (name: string): string => texts.get(name) ?? '';
  const url = (name: string): string => {
    checkBranchUrl(text(name), undefined, name);
    return text(name);
  };
  switch (type) {
    case 'tcc':
      return { kind: 'tcc', confirm: url('confirm'), cancel: url('cancel') };
    case 'xa':
      return { kind: 'xa', url: url('url') };
    case 'workflow':
      return { kind: 'workflow', op: opOf(text('op')), status: statusOf(text('status')) };
    default:
      // dtm's own spelling.
      throw new InvalidRequestError(`unknow trans type: ${type.slice(0, 60)}`);
  }
}

function opOf(op: string): string {
  if (WORKFLOW_OPS.has(op)) return op;
  throw new InvalidRequestError(
    `op must be one of ${[...WORKFLOW_OPS].join(', ')}, got ${shownValue(op)}`,
  );
}

function statusOf(status: string): string {
  if (status === 'succeed' || status === 'failed') return status;
  throw new InvalidRequestError(`status must be succeed or failed, got ${shownValue(status)}`);
}
