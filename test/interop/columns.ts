// The columns of the table, one per client and protocol, and the reasons why a client cannot express
// a scenario: limits of the clients, found in their published code.

import type { Protocol } from './driver.ts';
import type { Language } from './toolchains.ts';

/** One column of the table: a client over one protocol. */
export interface Column {
  readonly name: string;
  readonly language: Language;
  readonly protocol: Protocol;
}

export const COLUMNS: readonly Column[] = [
  { name: 'Go, HTTP', language: 'go', protocol: 'http' },
  { name: 'Go, gRPC', language: 'go', protocol: 'grpc' },
  { name: 'Go, JSON-RPC', language: 'go', protocol: 'json-rpc' },
  { name: 'Python, HTTP', language: 'python', protocol: 'http' },
  { name: 'Java, HTTP', language: 'java', protocol: 'http' },
];

export const inAll = (): undefined => undefined;
export const notInJava =
  (what: string) =>
  (column: Column): string | undefined =>
    column.language === 'java' ? `the client has no ${what}` : undefined;

/** The client's setters of a saga call themselves. */
export const brokenInJava =
  (setter: string) =>
  (column: Column): string | undefined =>
    column.language === 'java' ? `the client's ${setter} overflows the stack` : undefined;

/** The Go client registers these branches over plain HTTP or gRPC, whatever it was given. */
export const onlyHttpAndGrpc =
  (what: string) =>
  (column: Column): string | undefined =>
    column.protocol === 'json-rpc'
      ? `the client has no ${what} over JSON-RPC`
      : column.language === 'go'
        ? undefined
        : `the client has no ${what}`;

export const onlyOver =
  (protocols: readonly Protocol[], why: string, what: string) =>
  (column: Column): string | undefined => {
    if (column.language !== 'go') return `the client has no ${what}`;
    return protocols.includes(column.protocol) ? undefined : why;
  };

export const onlyGo =
  (what: string) =>
  (column: Column): string | undefined =>
    column.language === 'go' ? undefined : `the client has no ${what}`;
