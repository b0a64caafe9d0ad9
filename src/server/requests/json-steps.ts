// The `steps` of a saga or a message, as JSON has them: in an HTTP body, and as text in a gRPC request.

import { parseJson, textsOf, wrongType } from './json-body.ts';
import type { JsonLimits } from './json-scan.ts';
import type { GivenStep } from './transaction-input.ts';

/** @throws InvalidRequestError */
export function givenSteps(list: readonly unknown[]): readonly GivenStep[] {
  return list.map((item, position) => {
    const texts = item === null ? new Map<string, string>() : textsOf(item, `steps[${position}]`);
    return {
      action: texts.get('action') ?? '',
      compensate: texts.get('compensate') ?? '',
      data: texts.get('data') ?? '',
    };
  });
}

/** The empty text and `null` both mean none (dtm reference §3.2). @throws InvalidRequestError */
export function givenStepsOfText(text: string, limits: JsonLimits): readonly GivenStep[] {
  const parsed = text === '' ? null : parseJson(text, limits);
  if (parsed === null) return [];
  if (!Array.isArray(parsed)) throw wrongType('Steps', 'a JSON array', parsed);
  return givenSteps(parsed as readonly unknown[]);
}
