// The branch that a service is asked to execute, as the request says it. Pure.
//
// Source: dtm reference §4.2 and §10.4 (query parameters), §3.4 (metadata).

import { UsageError } from './errors.ts';

export interface BranchInfo {
  readonly gid: string;
  readonly transactionType: string;
  readonly branchId: string;
  readonly op: string;
  /** Where the initiator reached the coordinator; empty in calls of the coordinator itself. */
  readonly dtm?: string;
  /** Of xa: where the second phase is to be called. */
  readonly phase2Url?: string;
}

/** One request for one branch. Each use of a barrier within it is counted: `01`, `02`, … */
export class Branch {
  readonly gid: string;
  readonly transactionType: string;
  readonly branchId: string;
  readonly op: string;
  readonly dtm: string;
  readonly phase2Url: string;
  #barriers = 0;

  constructor(info: BranchInfo) {
    this.gid = info.gid;
    this.transactionType = info.transactionType;
    this.branchId = info.branchId;
    this.op = info.op;
    this.dtm = info.dtm ?? '';
    this.phase2Url = info.phase2Url ?? '';
    const wanted = [this.gid, this.transactionType, this.branchId, this.op];
    if (wanted.some((value) => value === '')) {
      const [gid, type, id, op] = wanted;
      throw new UsageError(
        `no branch: gid "${gid}", trans_type "${type}", branch_id "${id}", op "${op}"; none may be empty`,
      );
    }
  }

  nextBarrierId(): string {
    this.#barriers += 1;
    return String(this.#barriers).padStart(2, '0');
  }
}

/** A query string, a request line's path, a URL, or what a framework made of them. */
export type QuerySource =
  | string
  | URL
  | URLSearchParams
  | Readonly<Record<string, string | readonly string[] | undefined>>;

function parameters(source: QuerySource): (name: string) => string {
  if (source instanceof URL) return (name) => source.searchParams.get(name) ?? '';
  if (source instanceof URLSearchParams) return (name) => source.get(name) ?? '';
  if (typeof source === 'string') {
    const query = new URLSearchParams(source.slice(source.indexOf('?') + 1));
    return (name) => query.get(name) ?? '';
  }
  return (name) => {
    const value = source[name];
    return (typeof value === 'string' ? value : value?.[0]) ?? '';
  };
}

function branchFrom(value: (name: string) => string): Branch {
  return new Branch({
    gid: value('gid'),
    transactionType: value('trans_type'),
    branchId: value('branch_id'),
    op: value('op'),
    dtm: value('dtm'),
    phase2Url: value('phase2_url'),
  });
}

export function branchFromQuery(source: QuerySource): Branch {
  return branchFrom(parameters(source));
}

/** The metadata of grpc-js, or of anything alike. */
export interface MetadataSource {
  get(key: string): readonly (string | Uint8Array)[];
}

export function branchFromMetadata(metadata: MetadataSource): Branch {
  return branchFrom((name) => {
    const [value] = metadata.get(`dtm-${name}`);
    return typeof value === 'string' ? value : '';
  });
}
