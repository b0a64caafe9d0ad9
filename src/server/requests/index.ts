// The door of the protocol-neutral requests: HTTP, JSON-RPC and gRPC are codecs around these.
//
// A codec reads its bytes into a `Given…`, lets it be checked (what is wrong is thrown as an
// InvalidRequestError, whose message is for the client), calls a function here, and writes the
// `Reply`. Nothing behind this door knows a status code but the catalogue of errors.

export { ERROR_CODES, type ErrorCode, InvalidRequestError } from './errors.ts';
export { newGid } from './gid.ts';
export {
  BodyReader,
  bodyText,
  type Fields,
  parseJson,
  readBoolean,
  readList,
  readText,
  readTexts,
  wellFormed,
  wrongType,
} from './json-body.ts';
export { type JsonLimits, topLevelMembers } from './json-scan.ts';
export { givenSteps, givenStepsOfText } from './json-steps.ts';
export {
  type GivenRegistration,
  type RegistrationInput,
  registrationInput,
} from './registration-input.ts';
export {
  type ErrorReply,
  errorReply,
  invalidReply,
  type Reply,
  readReply,
  successReply,
} from './reply.ts';
export { isShownRow } from './shown-rows.ts';
export { TopicRequests } from './topic-requests.ts';
export {
  type GivenOptions,
  type GivenStep,
  type GivenTransaction,
  type InputLimits,
  isTransactionType,
  type NamedTransaction,
  TransactionInputs,
} from './transaction-input.ts';
export { type RequestsOptions, TransactionRequests } from './transaction-requests.ts';
export { cleanGid, gidComplaint } from './validation.ts';
export { RESULT_HINT } from './wait-reply.ts';
export { type WorkflowProgress, workflowProgresses } from './workflow-progress.ts';
