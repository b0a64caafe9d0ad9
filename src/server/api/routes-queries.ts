// The routes that look: query, all; and resetCronTime, which looks for what to wake.
//
// Source: the dtm protocol reference, §1.4.

import type { ListFilter, TransactionStatus } from '../../engine/index.ts';
import {
  gidComplaint,
  InvalidRequestError,
  isTransactionType,
  readReply,
  type TransactionRequests,
} from '../requests/index.ts';
import { type Answer, replyAnswer, valueAnswer } from './answer.ts';
import type { Parameters } from './parameters.ts';
import { type ApiRequest, type Route, route } from './route.ts';
import type { TimeFormat } from './time-text.ts';
import { branchViews, transactionView } from './transaction-view.ts';

export interface QueryRoutesOptions {
  readonly time: TimeFormat;
  readonly listLimitMax: number;
  readonly timeoutToFailMs: number;
  readonly requests: TransactionRequests;
}

const DEFAULT_LIMIT = 100;
const POSITION_LENGTH_MAX = 1_024;
const STATUSES: ReadonlySet<string> = new Set([
  'prepared',
  'submitted',
  'aborting',
  'succeed',
  'failed',
] satisfies TransactionStatus[]);

function isStatus(text: string): text is TransactionStatus {
  return STATUSES.has(text);
}

/** Undefined: nothing can match. */
function filterOf(parameters: Parameters, limit: number): ListFilter | undefined {
  const status = parameters.text('status');
  const type = parameters.text('transType');
  const fromMs = parameters.integer('createTimeStart');
  const toMs = parameters.integer('createTimeEnd');
  const position = parameters.text('position');
  if (position.length > POSITION_LENGTH_MAX) {
    throw new InvalidRequestError('position is not one that this server gave out');
  }
  if (status !== '' && !isStatus(status)) return undefined;
  if (type !== '' && !isTransactionType(type)) return undefined;
  return {
    status: status === '' ? undefined : status,
    type: type === '' ? undefined : type,
    createdFromMs: fromMs === undefined ? undefined : wholeSecond(fromMs),
    createdToMs: toMs === undefined ? undefined : wholeSecond(toMs) + 999,
    position,
    limit,
  };
}

/** dtm truncates to whole seconds and includes both bounds. */
function wholeSecond(timeMs: number): number {
  return Math.floor(timeMs / 1_000) * 1_000;
}

class QueryRoutes {
  readonly #options: QueryRoutesOptions;

  constructor(options: QueryRoutesOptions) {
    this.#options = options;
  }

  async query({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    const { time } = this.#options;
    const gid = parameters.text('gid');
    if (gid === '') throw new InvalidRequestError('no gid specified');
    // A gid that cannot be created is unknown.
    if (gidComplaint(gid) !== undefined) return valueAnswer({ branches: [], transaction: null });
    return replyAnswer(readReply(await coordinator.query(gid)), (transaction) =>
      transaction === undefined
        ? valueAnswer({ branches: [], transaction: null })
        : valueAnswer({
            branches: branchViews(transaction, time),
            transaction: transactionView(transaction, time),
          }),
    );
  }

  async all(request: ApiRequest): Promise<Answer> {
    const { coordinator, parameters } = request;
    const { time } = this.#options;
    const gid = parameters.text('gid');
    if (gid !== '') return this.#allByGid(request, gid);
    const filter = filterOf(parameters, this.#limit(parameters));
    if (filter === undefined) return valueAnswer({ next_position: '', transactions: [] });
    return replyAnswer(
      readReply(await coordinator.list(filter)),
      ({ transactions, nextPosition }) =>
        valueAnswer({
          next_position: nextPosition,
          transactions: transactions.map((transaction) => transactionView(transaction, time)),
        }),
    );
  }

  async resetCronTime({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    const { timeoutToFailMs, requests } = this.#options;
    const timeoutS = parameters.integer('timeout');
    const afterMs = timeoutS === undefined ? 3 * timeoutToFailMs : timeoutS * 1_000;
    const reply = await requests.resetCronTime(coordinator, afterMs, this.#limit(parameters));
    return replyAnswer(reply, ({ count, hasRemaining }) =>
      valueAnswer({ has_remaining: hasRemaining, succeed_count: count }),
    );
  }

  /** With a gid all other filters are ignored, and `position` comes back as it was sent. */
  async #allByGid({ coordinator, parameters }: ApiRequest, gid: string): Promise<Answer> {
    const { time } = this.#options;
    const position = parameters.text('position').slice(0, POSITION_LENGTH_MAX);
    const nothing = valueAnswer({ next_position: position, transactions: null });
    if (gidComplaint(gid) !== undefined) return nothing;
    return replyAnswer(readReply(await coordinator.query(gid)), (transaction) =>
      transaction === undefined
        ? nothing
        : valueAnswer({
            next_position: position,
            transactions: [transactionView(transaction, time)],
          }),
    );
  }

  #limit(parameters: Parameters): number {
    const limit = parameters.integer('limit') ?? DEFAULT_LIMIT;
    return Math.max(1, Math.min(this.#options.listLimitMax, limit));
  }
}

export function queryRoutes(options: QueryRoutesOptions): readonly Route[] {
  const routes = new QueryRoutes(options);
  return [
    route('GET', 'query', 'admission', (request) => routes.query(request)),
    route('GET', 'all', 'admission', (request) => routes.all(request)),
    route('GET', 'resetCronTime', 'progress', (request) => routes.resetCronTime(request)),
  ];
}
