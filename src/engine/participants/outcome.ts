// What an HTTP answer means. Pure.
//
// The order is the protocol (dtm reference §4.4): the reserved words are looked for in every body
// before the status is, ONGOING before FAILURE, and only 200 is success: 201, 202 and 204 are not.

export type AnswerKind = 'success' | 'failure' | 'ongoing' | 'unknown';

/** `text`: the whole answer with surrounding white space removed. */
export function readHttpAnswer(status: number, text: string): AnswerKind {
  if (status === 425 || text.includes('ONGOING')) {
    return 'ongoing';
  }
  if (status === 409 || text.includes('FAILURE')) {
    return 'failure';
  }
  return status === 200 ? 'success' : 'unknown';
}
