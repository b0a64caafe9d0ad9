// Bucket bounds, in seconds.

export function doubling(first: number, last: number): number[] {
  const bounds: number[] = [];
  for (let bound = first; bound < last * 1.5; bound *= 2) bounds.push(bound);
  return bounds;
}

/** Those of prom-client, which dtm's own library shares: dashboards of dtm know them. */
export const DTM_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** 0.5 ms … 10 s. */
export const API_SECONDS = doubling(0.0005, 8);
/** 0.25 ms … 8 s. */
export const FSYNC_SECONDS = doubling(0.00025, 8);
/** 5 ms … 60 s. */
export const CALL_SECONDS = doubling(0.005, 41);
