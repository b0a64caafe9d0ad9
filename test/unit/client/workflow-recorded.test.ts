// Workflows against what dtm's own Go client (v1.19.0) records, byte by byte: the same workflow records
// the same bytes, and what that client recorded is replayed (dtm reference §10.5). The recording was
// made by recorded/go; it holds the requests of one execution and what its function saw.

import { readFileSync } from 'node:fs';
import { status as Status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DtmClient, FailureError, type WorkflowRun } from '../../../src/client/index.ts';
import { type GrpcTestService, startGrpcService } from '../../helpers/grpc-service.ts';
import { type FakeServer, SUCCESS, startServer, stopServers } from './lib/fake-dtm.ts';
import { EMPTY_REPLY, FakeGrpcDtm } from './lib/fake-grpc-dtm.ts';

interface RecordedStep {
  readonly branchId: string;
  readonly op: string;
  readonly status: string;
  readonly dataBase64: string;
  /** Over HTTP the JSON body, over gRPC the message in base64. */
  readonly message: string;
}
interface Execution {
  readonly prepare: string;
  readonly steps: readonly RecordedStep[];
  readonly submit: Readonly<Record<string, string>>;
  readonly seen: readonly string[];
  readonly result: string;
}
type Recording = Readonly<
  Record<
    'http' | 'grpc',
    Readonly<
      Record<'commits' | 'rolls-back', { readonly first: Execution; readonly replay: Execution }>
    >
  >
>;

const recording = JSON.parse(
  readFileSync(new URL('recorded/go-workflow.json', import.meta.url), 'utf8'),
) as Recording;

/** A StringValue of protobuf's well-known types, of a text shorter than 128 bytes. */
function stringValue(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Uint8Array.of(0x0a, bytes.length, ...bytes);
}

let service: FakeServer;
let grpcService: GrpcTestService;
let seen: string[];

beforeEach(async () => {
  seen = [];
  service = await startServer(({ route }) => {
    if (route === '/pay') return { body: '{"paid": 30, "name": "Zoë"}' };
    if (route === '/refuse') return { status: 409, body: '{"message":"no stock FAILURE"}' };
    return { body: '' };
  });
  grpcService = await startGrpcService(
    (call, answer) => {
      if (call.path.endsWith('/Pay')) answer(null, Buffer.from(stringValue('paid by A')));
      else answer({ code: Status.ABORTED, details: 'no credit' });
    },
    { paths: ['/bank.Bank/Pay', '/bank.Bank/Refuse'] },
  );
});
afterEach(async () => {
  grpcService.close();
  await stopServers();
});

const nothing = () => Promise.resolve();
const calls = () => service.received.length + grpcService.seen.length;

async function see(step: Promise<{ readonly text: string }>): Promise<void> {
  try {
    // A StringValue shows as its text.
    seen.push((await step).text.replace(/^\n[\s\S]/, ''));
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    seen.push(`error: ${error.message} FAILURE`);
  }
}

/** The twin of the function in recorded/go/main.go. */
async function steps(run: WorkflowRun): Promise<void> {
  const both = () => run.newBranch().onCommit(nothing).onRollback(nothing);
  await see(both().call({ url: `${service.url}/pay`, payload: { amount: 30 } }));
  await see(both().call({ url: `${service.url}/empty`, payload: { amount: 30 } }));
  const grpc = { url: `${grpcService.address}/bank.Bank/Pay`, payload: stringValue('A') };
  await see(both().call(grpc));
  await see(
    run
      .newBranch()
      .onRollback(nothing)
      .do(() => Promise.resolve('a receipt')),
  );
  await see(run.newBranch().do(() => Promise.resolve(undefined)));
}

async function refusals(run: WorkflowRun): Promise<never> {
  const branch = () => run.newBranch().onRollback(nothing);
  await see(branch().call({ url: `${service.url}/refuse`, payload: {} }));
  const grpc = { url: `${grpcService.address}/bank.Bank/Refuse`, payload: stringValue('A') };
  await see(branch().call(grpc));
  await see(branch().do(() => Promise.reject(new FailureError('no room'))));
  throw new FailureError('no room');
}

interface FakeDtm {
  readonly client: DtmClient;
  readonly callback: string;
  prepared(): string;
  registered(): string[];
  submitted(): unknown;
  stop(): void;
}

async function overHttp(stored: readonly RecordedStep[]): Promise<FakeDtm> {
  const progresses = stored.map(({ branchId, op, status, dataBase64 }) => {
    return { branch_id: branchId, op, status, bin_data: dataBase64 };
  });
  const dtm = await startServer(({ route }) =>
    route === 'prepareWorkflow'
      ? { body: { progresses, transaction: { status: 'prepared' } } }
      : SUCCESS,
  );
  return {
    client: new DtmClient({ endpoints: [dtm.url] }),
    callback: 'http://callback/resume',
    prepared: () => dtm.one('prepareWorkflow').text,
    registered: () =>
      dtm.received.filter(({ route }) => route === 'registerBranch').map(({ text }) => text),
    submitted: () => dtm.one('submit').body['req_extra'],
    stop: () => undefined,
  };
}

async function overGrpc(stored: readonly RecordedStep[]): Promise<FakeDtm> {
  const Progresses = stored.map(({ branchId, op, status, dataBase64 }) => {
    return {
      BranchID: branchId,
      Op: op,
      Status: status,
      BinData: Buffer.from(dataBase64, 'base64'),
    };
  });
  const dtm = await FakeGrpcDtm.start(({ method }) =>
    method === 'PrepareWorkflow'
      ? { kind: 'reply', message: { Transaction: { Status: 'prepared' }, Progresses } }
      : EMPTY_REPLY,
  );
  const client = new DtmClient({ endpoints: [dtm.address], protocol: 'grpc' });
  return {
    client,
    callback: 'callback:1',
    prepared: () => dtm.one('PrepareWorkflow').bytes.toString('base64'),
    registered: () =>
      dtm.received
        .filter(({ method }) => method === 'RegisterBranch')
        .map(({ bytes }) => bytes.toString('base64')),
    submitted: () => dtm.one('Submit').message['ReqExtra'],
    stop: () => {
      client.close();
      dtm.stop();
    },
  };
}

/** JSON says the same in any order of its keys; a message's bytes are compared as they are. */
function comparable(protocol: 'http' | 'grpc', message: string): unknown {
  return protocol === 'http' ? (JSON.parse(message) as unknown) : message;
}

describe.each([
  ['http', overHttp],
  ['grpc', overGrpc],
] as const)('a workflow over %s', (protocol, start) => {
  async function execute(name: 'commits' | 'rolls-back', stored: readonly RecordedStep[]) {
    const dtm = await start(stored);
    const workflows = dtm.client
      .workflows({ callback: dtm.callback })
      .register('commits', async (run, data) => {
        await steps(run);
        return `done with ${Buffer.from(data).toString()}`;
      })
      .register('rolls-back', async (run) => {
        await steps(run);
        return await refusals(run);
      });
    const result = await workflows.execute(name, 'gid-7', '{"id":1}').then(
      (bytes) => Buffer.from(bytes).toString(),
      (error: unknown) => {
        if (!(error instanceof FailureError)) throw error;
        return '';
      },
    );
    const sent = {
      prepared: dtm.prepared(),
      registered: dtm.registered().map((message) => comparable(protocol, message)),
      submitted: dtm.submitted(),
    };
    dtm.stop();
    return { result, ...sent };
  }

  it.each(['commits', 'rolls-back'] as const)(
    'that %s records what the Go client records, and ends the same',
    async (name) => {
      const { first } = recording[protocol][name];
      const { result, registered, submitted } = await execute(name, []);
      expect(registered).toEqual(first.steps.map(({ message }) => comparable(protocol, message)));
      expect(submitted).toEqual(first.submit);
      expect(result).toBe(first.result);
      expect(seen).toEqual(first.seen);
    },
  );

  it.each(['commits', 'rolls-back'] as const)(
    'that %s takes over what the Go client recorded, and repeats nothing',
    async (name) => {
      const { first } = recording[protocol][name];
      const { result, registered, submitted } = await execute(name, first.steps);
      expect(calls()).toBe(0);
      expect(registered).toEqual([]);
      expect(submitted).toEqual(first.submit);
      expect(result).toBe(first.result);
      // The Go client shows a replayed gRPC failure as it is stored; here it reads as at first.
      expect(seen).toEqual(first.seen);
    },
  );

  it('goes on where a run of the Go client stopped, after any of its steps', async () => {
    const { first } = recording[protocol]['rolls-back'];
    for (let known = 0; known <= first.steps.length; known += 1) {
      seen = [];
      const { registered } = await execute('rolls-back', first.steps.slice(0, known));
      const rest = first.steps.slice(known);
      expect(registered).toEqual(rest.map(({ message }) => comparable(protocol, message)));
      expect(seen).toEqual(first.seen);
    }
  });

  it('is announced to the server as the Go client does', async () => {
    const { first } = recording[protocol].commits;
    const { prepared } = await execute('commits', []);
    if (protocol === 'http') expect(JSON.parse(prepared)).toEqual(JSON.parse(first.prepare));
    // Field 7, the steps, is the text "null" there; both mean none (dtm reference §3.2).
    else
      expect(`${Buffer.from(prepared, 'base64').toString('hex')}3a046e756c6c`).toBe(
        Buffer.from(first.prepare, 'base64').toString('hex'),
      );
  });
});
