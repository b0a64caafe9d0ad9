// What a call of HTTP looks like and what its answer means (dtm reference §4.2, §4.4, §11.4, §11.22, §12).

import { describe, expect, it } from 'vitest';
import { parseCallUrl } from '../../../../src/engine/participants/call-url.ts';
import { branchForm } from '../../../../src/engine/participants/http-form.ts';
import { readHttpAnswer } from '../../../../src/engine/participants/outcome.ts';
import type { BranchCall } from '../../../../src/engine/participants/types.ts';

describe('answers', () => {
  it.each([
    [200, '{"note":"no FAILURE here"}', 'failure'],
    [200, '{"FAILURES":0}', 'failure'],
    [200, '{"state":"ONGOING_REVIEW"}', 'ongoing'],
    [200, '{"a":"FAILURE","b":"ONGOING"}', 'ongoing'],
    [200, '{"note":"failure, ongoing"}', 'success'],
    [200, '', 'success'],
  ] as const)('12.32: %i %s is %s, for the sake of old services', (status, text, kind) => {
    expect(readHttpAnswer(status, text)).toBe(kind);
  });
});

describe('methods', () => {
  const methodOf = (type: BranchCall['type'], op: string, data: string): string => {
    const call: BranchCall = {
      gid: 'g',
      type,
      branchId: '01',
      op,
      url: 'http://a/x',
      protocol: 'http',
      payload: new TextEncoder().encode(data),
      headers: {},
      timeoutMs: 1000,
    };
    const url = parseCallUrl(call.url, false);
    if (typeof url === 'string') throw new Error(url);
    const request = branchForm.request(call, url);
    if (typeof request === 'string') throw new Error(request);
    return `${request.method} ${request.body === null ? '-' : 'body'}`;
  };

  it.each([
    ['saga', 'action', '', 'GET -'],
    ['saga', 'action', 'null', 'POST body'],
    ['tcc', 'confirm', '', 'GET -'],
    ['msg', 'msg', '', 'GET -'],
    ['xa', 'commit', '', 'POST -'],
    ['workflow', 'buy', '', 'POST -'],
    ['workflow', 'buy', '{"id":1}', 'POST body'],
  ] as const)('11.4, 11.22, 12.8: a %s calls %s with the payload "%s" as %s', (...of) => {
    const [type, op, data, wanted] = of;
    expect(methodOf(type, op, data)).toBe(wanted);
  });
});
