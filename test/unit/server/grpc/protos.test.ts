// The proto files against the tables of the dtm reference: names, numbers and types of fields are the
// protocol, and a test that speaks by the same files cannot see a wrong one.

import { describe, expect, it } from 'vitest';
import { loadService } from '../../../../src/server/grpc/load-proto.ts';

interface Field {
  readonly name: string;
  readonly number: number;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}
interface MessageDescriptor {
  readonly name: string;
  readonly field: readonly Field[];
  readonly nestedType: readonly (MessageDescriptor & {
    readonly options: { mapEntry?: boolean };
  })[];
}

const DTM = loadService('dtmgimp.proto', 'dtmgimp.Dtm');
const WORKFLOW = loadService('workflow.proto', 'workflow.Workflow');

function message({ all }: typeof DTM, name: string): MessageDescriptor {
  return (all[name] as unknown as { type: MessageDescriptor }).type;
}

/** As the reference writes them: number, name, type. */
function fields(service: typeof DTM, name: string): readonly string[] {
  const found = message(service, name);
  const typeOf = ({ type, typeName, label, name: field }: Field): string => {
    const plain = type.replace('TYPE_', '').toLowerCase();
    const entry = found.nestedType.find((nested) => nested.name.startsWith(field));
    if (entry !== undefined) {
      return `map<${entry.field.map((each) => each.type.replace('TYPE_', '').toLowerCase()).join(',')}>`;
    }
    const single = plain === 'message' ? (typeName.split('.').at(-1) ?? '') : plain;
    return label === 'LABEL_REPEATED' ? `repeated ${single}` : single;
  };
  return found.field.map((field) => `${field.number} ${field.name} ${typeOf(field)}`);
}

describe('dtmgimp (dtm reference 3.1, 3.2)', () => {
  it('3.1 has the nine methods, all unary, on their paths', () => {
    const methods = Object.entries(DTM.definition).map(([name, { path, ...method }]) => {
      expect(path).toBe(`/dtmgimp.Dtm/${name}`);
      expect([method.requestStream, method.responseStream]).toEqual([false, false]);
      const { requestType, responseType } = method as unknown as Record<
        string,
        { type: { name: string } }
      >;
      return `${name}(${requestType?.type.name ?? ''}) ${responseType?.type.name ?? ''}`;
    });
    expect(methods).toEqual([
      'NewGid(Empty) DtmGidReply',
      'Submit(DtmRequest) Empty',
      'Prepare(DtmRequest) Empty',
      'Abort(DtmRequest) Empty',
      'RegisterBranch(DtmBranchRequest) Empty',
      'PrepareWorkflow(DtmRequest) DtmProgressesReply',
      'Subscribe(DtmTopicRequest) Empty',
      'Unsubscribe(DtmTopicRequest) Empty',
      'DeleteTopic(DtmTopicRequest) Empty',
    ]);
  });

  it.each([
    [
      'DtmTransOptions',
      [
        '1 WaitResult bool',
        '2 TimeoutToFail int64',
        '3 RetryInterval int64',
        '5 BranchHeaders map<string,string>',
        '6 RequestTimeout int64',
        '7 RetryLimit int64',
      ],
    ],
    [
      'DtmRequest',
      [
        '1 Gid string',
        '2 TransType string',
        '3 TransOptions DtmTransOptions',
        '4 CustomedData string',
        '5 BinPayloads repeated bytes',
        '6 QueryPrepared string',
        '7 Steps string',
        '8 ReqExtra map<string,string>',
        '9 RollbackReason string',
      ],
    ],
    ['DtmGidReply', ['1 Gid string']],
    [
      'DtmBranchRequest',
      [
        '1 Gid string',
        '2 TransType string',
        '3 BranchID string',
        '4 Op string',
        '5 Data map<string,string>',
        '6 BusiPayload bytes',
      ],
    ],
    ['DtmProgressesReply', ['1 Transaction DtmTransaction', '2 Progresses repeated DtmProgress']],
    [
      'DtmTransaction',
      ['1 Gid string', '2 Status string', '3 RollbackReason string', '4 Result string'],
    ],
    ['DtmProgress', ['1 Status string', '2 BinData bytes', '3 BranchID string', '4 Op string']],
    ['DtmTopicRequest', ['1 Topic string', '2 URL string', '3 Remark string']],
  ])('3.2 %s has its fields under their numbers', (name, expected) => {
    const written = fields(DTM, `dtmgimp.${name}`).map((field) =>
      field.replace(/ repeated (map)/, ' $1'),
    );
    expect(written).toEqual(expected);
  });
});

describe('workflow (dtm reference 3.5)', () => {
  it('3.5 has Execute, with the data as field 1', () => {
    expect(WORKFLOW.definition['Execute']?.path).toBe('/workflow.Workflow/Execute');
    expect(fields(WORKFLOW, 'workflow.WorkflowData')).toEqual(['1 Data bytes']);
  });
});
