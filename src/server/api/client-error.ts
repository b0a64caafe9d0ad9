// Answers to bytes that are no request, or never become a whole one. The framework never sees these.

import type { Socket } from 'node:net';
import { ERROR_CODES, type ErrorCode } from '../requests/index.ts';
import { errorAnswer } from './answer.ts';

const REASON_PHRASES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

function codeOf(error: { readonly code?: string }): ErrorCode {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'RECEIVE_TIMEOUT';
  return error.code === 'HPE_HEADER_OVERFLOW' ? 'HEADERS_TOO_LARGE' : 'MALFORMED_HTTP';
}

/** Writes the answer and closes the connection. */
export function answerClientError(error: { readonly code?: string }, socket: Socket): ErrorCode {
  const code = codeOf(error);
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return code;
  }
  const { http } = ERROR_CODES[code];
  const { body } = errorAnswer(code, ERROR_CODES[code].meaning);
  socket.end(
    `HTTP/1.1 ${http} ${REASON_PHRASES[http] ?? 'Error'}\r\n` +
      'content-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    // The rest of what the client sends is of no interest.
    () => socket.destroy(),
  );
  return code;
}
