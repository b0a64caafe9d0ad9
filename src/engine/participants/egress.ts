// Where calls may go. The data plane is open by default, as dtm's is; a strict security profile
// passes its own policy here. Asked for every call and for every redirect it follows.

export interface EgressPolicy {
  /** Undefined: allowed. Otherwise why not, for the outcome's detail. */
  allow(url: URL): string | undefined;
}

export const allowAllEgress: EgressPolicy = { allow: () => undefined };
