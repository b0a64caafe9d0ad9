// The door of the replicated state machine.

export { decodeCommand, encodeCommand } from './command-codec.ts';
export type { BranchDescription, TransactionDescription } from './describe.ts';
export { describeTransaction } from './describe.ts';
export { FormatError } from './format.ts';
export { holdsUp } from './holding-up.ts';
export type { ErrorClass, KeyRange } from './keyspace.ts';
export {
  activeRange,
  definitionKey,
  definitionRange,
  dueOfKey,
  dueRange,
  expiryRange,
  gidOfDefinitionKey,
  gidOfExpiryKey,
  stateKey,
  stuckOfKey,
  stuckRange,
  targetOf,
  topicKey,
  topicProblem,
} from './keyspace.ts';
export type { ListQuery } from './listing.ts';
export { listRanges, mergeListing } from './listing.ts';
export type { DigestAt } from './machine.ts';
export { keysToRead, Machine } from './machine.ts';
export { decodeTransaction } from './record-codec.ts';
export type { TopicPage } from './topic-listing.ts';
export { topicPage, topicPageRange } from './topic-listing.ts';
export { transactionKeys } from './transaction-table.ts';
export type * from './types.ts';
export { validateInput } from './validate.ts';
