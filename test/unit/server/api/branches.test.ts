// registerBranch and its aliases, and what workflows have of their own; numbers are those of the dtm
// protocol reference.

import { describe, expect, it } from 'vitest';
import type { OperationRequest, Transaction } from '../../../../src/engine/machine/index.ts';
import { applied, testApi, transaction } from '../fakes.ts';

const OK = '{"dtm_result":"SUCCESS"}';
const TCC = {
  gid: 'order-1',
  trans_type: 'tcc',
  branch_id: '01',
  data: '{"amount":30}',
  confirm: 'http://a/ok',
  cancel: 'http://a/undo',
};
type Registered = Extract<OperationRequest, { kind: 'registerBranch' }>;

async function registered(body: unknown, name = 'registerBranch'): Promise<Registered> {
  const { coordinator, post } = testApi();
  expect(await post(name, body)).toMatchObject({ status: 200, text: OK });
  const [request] = coordinator.requests as [Registered];
  return request;
}

async function refused(body: unknown): Promise<{ status: number; message: string; type: string }> {
  const { coordinator, post } = testApi();
  const { status, text, headers } = await post('registerBranch', body);
  expect(coordinator.requests).toEqual([]);
  const parsed = JSON.parse(text) as { message: string };
  expect(Object.keys(parsed)).toEqual(['message']);
  return { status, message: parsed.message, type: String(headers['content-type']) };
}

describe('registerBranch (reference §1.4)', () => {
  it.each(['registerBranch', 'registerXaBranch', 'registerTccBranch'])(
    '11.19: %s is one and the same',
    async (name) => {
      const request = await registered(TCC, name);
      expect({ ...request, payload: Buffer.from(request.payload).toString() }).toEqual({
        kind: 'registerBranch',
        gid: 'order-1',
        branchId: '01',
        registration: { kind: 'tcc', confirm: 'http://a/ok', cancel: 'http://a/undo' },
        payload: '{"amount":30}',
      });
    },
  );

  it('xa names one URL, a workflow an op and a status', async () => {
    const xa = { gid: 'x1', trans_type: 'xa', branch_id: '01', url: 'http://s/xa' };
    expect((await registered(xa)).registration).toEqual({ kind: 'xa', url: 'http://s/xa' });
    const step = { gid: 'w1', trans_type: 'workflow', branch_id: '02', op: 'action' };
    expect((await registered({ ...step, status: 'failed' })).registration).toEqual({
      kind: 'workflow',
      op: 'action',
      status: 'failed',
    });
  });

  it('11.19: the gid loses ; CR and LF', async () => {
    expect((await registered({ ...TCC, gid: 'a;b\r\nc' })).gid).toBe('abc');
  });

  it('11.32: branch ids are opaque', async () => {
    for (const branchId of ['10', '0201', '01-02', 'x'.repeat(100)]) {
      expect((await registered({ ...TCC, branch_id: branchId })).branchId).toBe(branchId);
    }
  });

  it('11.3: URLs may be empty, of HTTP or of gRPC', async () => {
    const urls = { confirm: '', cancel: 'localhost:50/busi.Busi/Undo' };
    expect((await registered({ ...TCC, ...urls })).registration).toEqual({ kind: 'tcc', ...urls });
  });

  it('10.6: nulls, extra keys of any type, repeated keys and keys in any case are taken', async () => {
    const extras = { try: 'http://a/try', status: 'prepared', sub_branch_id: 7, barrier_id: {} };
    expect((await registered({ ...TCC, ...extras, url: null, op: null })).registration.kind).toBe(
      'tcc',
    );
    expect(
      await registered(
        '{"gid":"a","gid":"b","Branch_ID":"01","branch_id":"02","TRANS_TYPE":"xa","url":null}',
      ),
    ).toMatchObject({ gid: 'b', branchId: '02', registration: { kind: 'xa', url: '' } });
  });

  it('1.2, 11.19: what is no flat map of texts is 400 in plain text', async () => {
    for (const [body, message] of [
      ['{', 'the body is not valid JSON'],
      ['', 'unexpected end of JSON input'],
      ['[]', 'the body must be a JSON object'],
      [{ ...TCC, branch_id: 1 }, 'branch_id must be a string, got 1'],
      [{ ...TCC, data: { amount: 30 } }, 'data must be a string'],
    ] as const) {
      const reply = await refused(body);
      expect([reply.status, reply.type]).toEqual([400, 'text/plain; charset=utf-8']);
      expect(reply.message).toContain(message);
    }
  });

  it.each([undefined, '', '1'])(
    '5.10.7, 12.26: a step with sync %j is answered only when it is on record',
    async (sync) => {
      // `UpdateBranchSync: 0` does not change that: it is dtm's default, which loses steps.
      const { coordinator, post } = testApi({
        flags: { 'transactions.commitEachResult': 'false' },
      });
      const committed: (() => void)[] = [];
      coordinator.outcome = () =>
        new Promise((resolve) => committed.push(() => resolve(applied())));
      const step = { gid: 'w1', trans_type: 'workflow', branch_id: '01', op: 'action' };
      let answer: string | undefined;
      const answered = post('registerBranch', { ...step, status: 'succeed', sync }).then(
        ({ text }) => {
          answer = text;
        },
      );
      while (committed.length === 0) await new Promise(setImmediate);
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
      expect(answer).toBeUndefined();
      committed[0]?.();
      await answered;
      expect(answer).toBe(OK);
    },
  );

  it('11.20: another type is 500 in the words of dtm', async () => {
    expect(await refused({ ...TCC, trans_type: 'saga' })).toMatchObject({
      status: 500,
      message: 'unknow trans type: saga',
    });
  });

  it('12.13: what can never be carried out is 500 and names the field', async () => {
    for (const [changes, message] of [
      [{ gid: '' }, 'gid must not be empty'],
      [{ branch_id: 'a\u0000' }, 'branch_id must not contain control characters'],
      [{ confirm: 'ftp://a/b' }, 'confirm must be empty, an http'],
      [{ cancel: 'nowhere' }, 'cancel must be empty, an http'],
      [{ trans_type: 'workflow', op: 'nope', status: 'succeed' }, 'op must be one of action'],
      [{ trans_type: 'workflow', op: 'action', status: '' }, 'status must be succeed or failed'],
    ] as const) {
      const reply = await refused({ ...TCC, ...changes });
      expect([reply.status, reply.message]).toEqual([500, expect.stringContaining(message)]);
    }
    expect((await refused({ ...TCC, branch_id: 'é', confirm: 'h:1/p.S/M' })).message).toContain(
      'branch_id must be printable ASCII',
    );
  });

  it('11.20: outside prepared it is 409, in the words of the log', async () => {
    const { coordinator, post } = testApi();
    const message = 'no trans with gid: order-1 status: prepared found FAILURE';
    coordinator.outcome = applied({ kind: 'failure', message });
    expect(await post('registerBranch', TCC)).toMatchObject({
      status: 409,
      text: JSON.stringify({ dtm_result: 'FAILURE', message }),
    });
  });

  it('keeps its place when the node is full: running work goes on', async () => {
    const { coordinator, post } = testApi({ flags: { 'api.inflightRequestsMax': '1' } });
    let release: () => void = () => undefined;
    coordinator.outcome = () => new Promise((resolve) => (release = () => resolve(applied())));
    const held = post('prepare', { gid: 'a', trans_type: 'tcc' });
    while (coordinator.requests.length === 0) await new Promise(setImmediate);
    expect((await post('prepare', { gid: 'b', trans_type: 'tcc' })).status).toBe(503);
    const letIn = post('registerBranch', TCC);
    while (coordinator.requests.length < 2) await new Promise(setImmediate);
    const [first] = [release];
    coordinator.outcome = applied();
    first();
    expect((await letIn).status).toBe(200);
    void held;
  });
});

/** A workflow with the engine's own row and two recorded steps. */
function workflow(): Transaction {
  const { definition, state } = transaction();
  const [progress] = state.branches;
  if (progress === undefined) throw new Error('no row');
  return {
    definition: {
      ...definition,
      gid: 'w1',
      type: 'workflow',
      steps: [],
      payloads: [Buffer.from('{"ok":1}')],
      customData: '{"name":"buy","data":"e30="}',
      queryPrepared: 'http://ap/resume',
      branches: [
        { branchId: '00', op: 'callback', url: 'http://ap/resume', payload: undefined },
        { branchId: '01', op: 'action', url: '', payload: 0 },
        { branchId: '02', op: 'commit', url: '', payload: undefined },
      ],
    },
    state: {
      ...state,
      gid: 'w1',
      type: 'workflow',
      status: 'prepared',
      finishTimeMs: undefined,
      branches: [progress, { ...progress, status: 'succeed' }, { ...progress, status: 'failed' }],
    },
  };
}
const WORKFLOW = {
  gid: 'w1',
  trans_type: 'workflow',
  protocol: 'http',
  query_prepared: 'http://ap/resume',
  custom_data: '{"name":"buy","data":"e30="}',
};

describe('workflow', () => {
  it('11.23, 11.27: prepareWorkflow answers what is stored, progresses as an array, bin_data in base64', async () => {
    const { coordinator, post } = testApi();
    coordinator.stored = { kind: 'value', value: workflow() };
    const reply = await post('prepareWorkflow', WORKFLOW);
    expect(reply.status).toBe(200);
    expect(Object.keys(reply.json)).toEqual(['progresses', 'transaction']);
    const times = {
      create_time: '2026-01-05T10:00:01.74+08:00',
      update_time: '2026-01-05T10:00:01.74+08:00',
    };
    expect(reply.json.progresses).toEqual([
      {
        id: 0,
        ...times,
        gid: 'w1',
        bin_data: 'eyJvayI6MX0=',
        branch_id: '01',
        op: 'action',
        status: 'succeed',
      },
      { id: 0, ...times, gid: 'w1', branch_id: '02', op: 'commit', status: 'failed' },
    ]);
    expect(reply.json.transaction).toMatchObject({
      gid: 'w1',
      trans_type: 'workflow',
      status: 'prepared',
    });
    expect(coordinator.requests).toMatchObject([{ kind: 'prepareWorkflow' }]);
  });

  it('1.4: progresses is [] for a new one, and a finished one tells its result', async () => {
    const { coordinator, post } = testApi();
    const stored = workflow();
    coordinator.stored = {
      kind: 'value',
      value: {
        definition: { ...stored.definition, branches: [] },
        state: { ...stored.state, branches: [], status: 'succeed', result: 'b2s=' },
      },
    };
    const { text, json } = await post('prepareWorkflow', WORKFLOW);
    expect(text).toContain('{"progresses":[],"transaction":{');
    expect(json.transaction).toMatchObject({ status: 'succeed', result: 'b2s=' });
  });

  it('a prepareWorkflow whose read is not confirmed is 503, never an empty transaction', async () => {
    const { coordinator, post } = testApi();
    const refusal = { message: 'not confirmed', retryAfterMs: 1_000 };
    coordinator.stored = { kind: 'refused', code: 'READ_TIMEOUT', ...refusal };
    expect(await post('prepareWorkflow', WORKFLOW)).toMatchObject({
      status: 503,
      json: { code: 'READ_TIMEOUT' },
    });
  });

  it('only a workflow can be prepared as one', async () => {
    const { coordinator, post } = testApi();
    expect((await post('prepareWorkflow', { ...WORKFLOW, trans_type: 'saga' })).status).toBe(500);
    expect(coordinator.requests).toEqual([]);
  });

  it('1.4, 5.4.8: submit says in req_extra how the run ended, and is never waited for', async () => {
    const { coordinator, post } = testApi();
    const extra = { status: 'failed', rollback_reason: 'no stock', result: null, other: 'x' };
    const body = { ...WORKFLOW, wait_result: true, req_extra: extra };
    expect(await post('submit', body)).toMatchObject({ status: 200, text: OK });
    expect(coordinator.requests).toMatchObject([
      {
        kind: 'submit',
        transaction: {
          workflowEnd: { status: 'failed', rollbackReason: 'no stock', result: '' },
        },
      },
    ]);
    expect(coordinator.waits).toEqual([]);
  });

  it('12.13: a submit that does not say so, or says something else, is refused', async () => {
    const { coordinator, post } = testApi();
    for (const extra of [undefined, null, {}, { status: 'submitted' }, { status: '' }]) {
      const reply = await post('submit', { ...WORKFLOW, req_extra: extra });
      expect([reply.status, reply.json.message]).toEqual([
        500,
        expect.stringContaining('req_extra.status must be succeed or failed'),
      ]);
    }
    expect(coordinator.requests).toEqual([]);
  });

  it('query hides the rows that the engine keeps for its own calls', async () => {
    const { coordinator, get } = testApi();
    coordinator.stored = { kind: 'value', value: workflow() };
    const { json, text } = await get('/api/dtmsvr/query?gid=w1');
    expect(text).not.toContain('"branch_id":"00"');
    // The payloads of recorded steps are no payloads of the transaction.
    expect(json.transaction).not.toHaveProperty('payloads');
  });
});
