// The metadata of a gRPC call: what dtm's clients read (`dtm-gid` and so on, with underscores, and an
// empty `dtm-dtm`), then the transaction's branch headers (dtm reference §3.4, §11.24).
//
// Values outside printable ASCII cannot travel as metadata; dtm retries such calls for ever (defect
// 12.33). A request of a gRPC transaction with such values is refused at the door; where one comes
// from elsewhere (a transaction that mixes protocols) the value is sent as an RFC 8187 extended value,
// UTF-8''%C3%BC for ü: one text for one value, so that a barrier that is keyed by it still holds.

import { Metadata } from '@grpc/grpc-js';
import type { BranchCall } from './types.ts';

const PRINTABLE = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;
const LEGAL_KEY = /^[0-9a-z_.-]+$/;
/** They belong to the connection, or to gRPC itself. */
const RESERVED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
]);
const OURS: ReadonlySet<string> = new Set([
  'dtm-gid',
  'dtm-trans_type',
  'dtm-branch_id',
  'dtm-op',
  'dtm-dtm',
]);
const LONE_SURROGATE = /\p{Cs}/gu;

/** As it is where that can travel; else an extended value. */
export function metadataText(value: string): string {
  if (PRINTABLE.test(value)) {
    return value;
  }
  const encoded = encodeURIComponent(value.replace(LONE_SURROGATE, '\ufffd')).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `UTF-8''${encoded}`;
}

export class CallMetadata {
  // Transactions share the objects of their options, so calls of one share what is prepared here.
  readonly #prepared = new WeakMap<Readonly<Record<string, string>>, Metadata | string>();

  /** A string says why there is none. */
  of(call: BranchCall): Metadata | string {
    let base = this.#prepared.get(call.headers);
    if (base === undefined) {
      base = branchMetadata(call.headers);
      this.#prepared.set(call.headers, base);
    }
    if (typeof base === 'string') {
      return base;
    }
    const metadata = base.clone();
    metadata.set('dtm-gid', metadataText(call.gid));
    metadata.set('dtm-trans_type', call.type);
    metadata.set('dtm-branch_id', metadataText(call.branchId));
    metadata.set('dtm-op', metadataText(call.op));
    metadata.set('dtm-dtm', '');
    return metadata;
  }
}

function branchMetadata(headers: Readonly<Record<string, string>>): Metadata | string {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase();
    if (!LEGAL_KEY.test(key)) {
      return `branch header "${name}" cannot be a key of gRPC metadata`;
    }
    if (RESERVED.has(key) || OURS.has(key) || key.startsWith('grpc-')) {
      continue;
    }
    if (key.endsWith('-bin')) {
      metadata.set(key, Buffer.from(value, 'utf8'));
    } else {
      metadata.set(key, metadataText(value));
    }
  }
  return metadata;
}
