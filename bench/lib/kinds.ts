// The kinds of load: which transaction, how it is submitted, how its branches are called.
//
// A kind whose name ends in -wait is answered when the transaction is done; its time is that of the
// whole transaction.

import type { Body, Protocol, Step } from './wire.ts';

export interface Kind {
  readonly submittedOver: Protocol;
  /** Undefined: no branch is ever called. */
  readonly branchesOver: Protocol | undefined;
  /** Clients at once, unless the command line says otherwise. */
  readonly concurrency: readonly number[];
  readonly steps: readonly Step[];
}

/** Where the participants are. */
export interface Participants {
  /** For example http://127.0.0.1:8081. */
  readonly http: string;
  /** For example 127.0.0.1:58081. */
  readonly grpc: string;
}

type UrlOf = (name: string) => string;

const SWEEP = [1, 16, 64, 256];
const ENDS = [1, 64];
const BRANCHES = ['01', '02'];
const PAYLOAD = '{"amount":30,"account":"a1"}';

function saga(url: UrlOf, more: Readonly<Record<string, unknown>>): readonly Step[] {
  const steps = [
    { action: url('out'), compensate: url('outUndo') },
    { action: url('in'), compensate: url('inUndo') },
  ];
  const payloads = [PAYLOAD, '{"amount":30,"account":"b1"}'];
  return [submit({ trans_type: 'saga', steps, payloads, ...more })];
}

/** The client registers each branch and then tries it, as dtm's clients do. */
function tcc(url: UrlOf): readonly Step[] {
  const type = 'tcc';
  return [
    { to: 'server', route: 'prepare', body: { trans_type: type } },
    ...BRANCHES.flatMap((branchId): Step[] => [
      register(type, branchId, { data: PAYLOAD, confirm: url('confirm'), cancel: url('cancel') }),
      { to: 'branch', url: url('try'), type, branchId, op: 'try' },
    ]),
    submit({ trans_type: type, wait_result: true }),
  ];
}

/** The client registers in the branch's stead: the requests are the same. */
function xa(url: UrlOf): readonly Step[] {
  const type = 'xa';
  return [
    { to: 'server', route: 'prepare', body: { trans_type: type } },
    ...BRANCHES.flatMap((branchId): Step[] => [
      { to: 'branch', url: url('local'), type, branchId, op: 'action' },
      register(type, branchId, { url: url('local') }),
    ]),
    submit({ trans_type: type, wait_result: true }),
  ];
}

function msg(url: UrlOf, prepared: boolean): readonly Step[] {
  const body: Body = {
    trans_type: 'msg',
    steps: [{ action: url('in') }],
    payloads: [PAYLOAD],
    query_prepared: url('query'),
  };
  const prepare: Step = { to: 'server', route: 'prepare', body };
  return [...(prepared ? [prepare] : []), submit({ ...body, wait_result: true })];
}

/** Two steps, each called by the client and then recorded; the branches are not called again. */
function workflow(url: UrlOf): readonly Step[] {
  const type = 'workflow';
  const started: Body = {
    trans_type: type,
    query_prepared: url('resume'),
    custom_data: '{"name":"transfer","data":null}',
  };
  return [
    { to: 'server', route: 'prepareWorkflow', body: started },
    ...BRANCHES.flatMap((branchId): Step[] => [
      { to: 'branch', url: url('step'), type, branchId, op: 'action' },
      register(type, branchId, { op: 'action', status: 'succeed', data: '{"ok":true}' }),
    ]),
    submit({
      trans_type: type,
      req_extra: { status: 'succeed', result: '', rollback_reason: '' },
    }),
  ];
}

function submit(body: Body): Step {
  return { to: 'server', route: 'submit', body };
}

function register(type: string, branchId: string, more: Readonly<Record<string, string>>): Step {
  const body = { trans_type: type, branch_id: branchId, ...more };
  return { to: 'server', route: 'registerBranch', body };
}

const WAIT = { wait_result: true };

/** In the order of the table. */
export function loadKinds({ http, grpc }: Participants): ReadonlyMap<string, Kind> {
  const h: UrlOf = (name) => `${http}/${name}`;
  const g: UrlOf = (name) => `${grpc}/busi.Busi/${name}`;
  const none: UrlOf = () => '';
  const overHttp = (steps: readonly Step[], concurrency = ENDS): Kind => ({
    submittedOver: 'http',
    branchesOver: 'http',
    concurrency,
    steps,
  });
  const overGrpc = (steps: readonly Step[]): Kind => ({
    submittedOver: 'grpc',
    branchesOver: 'grpc',
    concurrency: ENDS,
    steps,
  });
  const viaGrpc = saga(g, { ...WAIT, protocol: 'grpc' });
  return new Map<string, Kind>([
    ['two-branches-wait', overHttp(saga(h, WAIT), SWEEP)],
    ['two-branches', overHttp(saga(h, {}), SWEEP)],
    ['empty-urls-wait', { ...overHttp(saga(none, WAIT), SWEEP), branchesOver: undefined }],
    ['grpc-branches-wait', { ...overHttp(viaGrpc), branchesOver: 'grpc' }],
    ['grpc-saga-wait', overGrpc(saga(g, WAIT))],
    ['tcc-wait', overHttp(tcc(h))],
    ['grpc-tcc-wait', overGrpc(tcc(g))],
    ['msg-wait', overHttp(msg(h, true))],
    ['msg-submit-wait', overHttp(msg(h, false))],
    ['xa-wait', overHttp(xa(h))],
    ['workflow', overHttp(workflow(h))],
  ]);
}
