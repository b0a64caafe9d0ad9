// What a load kind is made of: the requests of one transaction, in the words of dtm's HTTP API, and
// who carries them.

export type Protocol = 'http' | 'grpc';

export type Route = 'prepare' | 'submit' | 'registerBranch' | 'prepareWorkflow';

/** A request's body without its gid: the words are those of the HTTP API, whatever carries it. */
export type Body = Readonly<Record<string, unknown>> & { readonly trans_type: string };

export interface BranchCall {
  readonly url: string;
  readonly type: string;
  readonly branchId: string;
  readonly op: string;
}

/** One request of a transaction; a client sends them one after the other. */
export type Step =
  | { readonly to: 'server'; readonly route: Route; readonly body: Body }
  /** What a client calls itself, as the try of a TCC branch. */
  | ({ readonly to: 'branch' } & BranchCall);

/** Sends one prepared request for a gid; resolves to whether it was answered with success. */
export type Send = (gid: string) => Promise<boolean>;

/** The connections to one server or to one participant. Whatever can be encoded once is, beforehand. */
export interface Wire {
  toServer(route: Route, body: Body): Send;
  toBranch(call: BranchCall): Send;
  close(): Promise<void>;
}
