// What a client may say about a workflow: `custom_data` is `{"name":…,"data":<base64 or null>}`, which
// its callback gets back: the name as the op of the call, the data as its body (dtm reference §5.10).

import type { OperationResult, TransactionInput } from '../machine/index.ts';

export interface WorkflowStart {
  readonly name: string;
  readonly data: Uint8Array;
}

const NO_DATA = new Uint8Array(0);
/** dtm panics where `custom_data` is missing (defect 12.8); a call needs some op. */
const NAMELESS = 'workflow';

/** The first thing wrong with a workflow as given, or undefined. */
export function validateWorkflow(input: TransactionInput): OperationResult | undefined {
  const start = parseWorkflowStart(input.customData ?? '');
  return typeof start === 'string'
    ? { kind: 'error', message: `custom_data: ${start}` }
    : undefined;
}

/** What the callback is told, or what is wrong with the text. Keys match in any case, as in Go. */
export function parseWorkflowStart(customData: string): WorkflowStart | string {
  if (customData.trim() === '') return { name: NAMELESS, data: NO_DATA };
  let parsed: unknown;
  try {
    parsed = JSON.parse(customData);
  } catch {
    return 'is not JSON';
  }
  if (parsed === null) return { name: NAMELESS, data: NO_DATA };
  if (typeof parsed !== 'object' || Array.isArray(parsed)) return 'is not a JSON object';
  let name = '';
  let data: Uint8Array = NO_DATA;
  for (const [key, value] of Object.entries(parsed as Record<string, unknown>)) {
    if (value === null) continue;
    if (key.toLowerCase() === 'name') {
      if (typeof value !== 'string') return 'name is not a string';
      name = value;
    } else if (key.toLowerCase() === 'data') {
      const decoded = typeof value === 'string' ? bytesOf(value) : undefined;
      if (decoded === undefined) return 'data is not base64';
      data = decoded;
    }
  }
  return { name: name === '' ? NAMELESS : name, data };
}

function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
