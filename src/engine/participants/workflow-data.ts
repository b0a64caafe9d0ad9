// The request by which a gRPC client is asked to go on with a workflow: `WorkflowData{1 Data bytes}`
// of proto/workflow.proto (dtm reference §3.5). Pure; one field is not worth a library.

const DATA_TAG = (1 << 3) | 2;

export function encodeWorkflowData(data: Uint8Array): Uint8Array {
  if (data.length === 0) {
    // proto3 leaves a default value out.
    return data;
  }
  const head = [DATA_TAG];
  let rest = data.length;
  while (rest >= 0x80) {
    head.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  head.push(rest);
  const message = new Uint8Array(head.length + data.length);
  message.set(head);
  message.set(data, head.length);
  return message;
}
