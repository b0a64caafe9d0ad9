// dtm's own configuration keys, and what became of each.
//
// Owns: the table. A key that means something here sets one of our settings; any other is accepted,
// so that a dtm configuration starts, and answered with a warning that names its replacement.
//
// Source: the dtm protocol reference, §7.

/**
 * dtm counts in seconds, ours in milliseconds. `raised`: what is below our least is raised to it, with
 * a warning, because dtm allows it and a start must not fail by it.
 */
export type DtmScale = 'secondsToMs' | 'secondsToMsRaised' | 'zeroOrOne' | 'same';

export type DtmKey = { readonly key: string } & (
  | {
      readonly kind: 'sets';
      /** Path of our setting. */
      readonly path: string;
      readonly scale: DtmScale;
    }
  | { readonly kind: 'ignored'; readonly because: string }
);

const builtIn = 'the state is built in and replicated; see node.dataDir and cluster.peers';
const unused = 'unused by dtm as well';
const discovery = 'participants are called by their URLs; service discovery is not served';

function sets(key: string, path: string, scale: DtmScale = 'same'): DtmKey {
  return { kind: 'sets', key, path, scale };
}
function ignored(because: string, ...keys: readonly string[]): readonly DtmKey[] {
  return keys.map((key): DtmKey => ({ kind: 'ignored', key, because }));
}

export const DTM_KEYS: readonly DtmKey[] = [
  sets('TimeoutToFail', 'transactions.timeoutToFailMs', 'secondsToMs'),
  sets('RetryInterval', 'transactions.retryIntervalMs', 'secondsToMs'),
  sets('RequestTimeout', 'transactions.requestTimeoutMs', 'secondsToMs'),
  sets('UpdateBranchSync', 'transactions.commitEachResult', 'zeroOrOne'),
  sets('HttpPort', 'listen.httpPort'),
  sets('GrpcPort', 'listen.grpcPort'),
  sets('GrpcServiceConfig', 'participants.grpcServiceConfig'),
  sets('LogLevel', 'logging.level'),
  sets('Log.Outputs', 'logging.outputs'),
  sets('AlertWebHook', 'alerts.webHook'),
  sets('AlertRetryLimit', 'alerts.retryLimit'),
  sets('Store.FinishedDataExpire', 'retention.finishedMs', 'secondsToMsRaised'),
  sets('TimeZoneOffset', 'api.timeZoneOffset'),
  ...ignored(
    builtIn,
    'Store.Driver',
    'Store.Host',
    'Store.Port',
    'Store.User',
    'Store.Password',
    'Store.Db',
    'Store.Schema',
    'Store.MaxOpenConns',
    'Store.MaxIdleConns',
    'Store.ConnMaxLifeTime',
    'Store.RedisPrefix',
  ),
  ...ignored(
    'nothing unfinished is ever forgotten; what is finished, after retention.finishedMs',
    'Store.DataExpire',
  ),
  ...ignored('transactions go on when they are due; nothing polls', 'TransCronInterval'),
  ...ignored('topics take effect at once', 'ConfigUpdateInterval'),
  ...ignored('results are always written in batches', 'UpdateBranchAsyncGoroutineNum'),
  ...ignored(
    'files of logging.outputs are only appended to; rotate them outside, by copying and truncating',
    'Log.RotationEnable',
    'Log.RotationConfigJSON',
  ),
  ...ignored('no console is served by this version', 'AdminBasePath'),
  ...ignored(discovery, 'MicroService.Driver', 'MicroService.Target', 'MicroService.EndPoint'),
  ...ignored(
    unused,
    'JsonRpcPort',
    'GrpcBalancer',
    'HttpMicroService.Driver',
    'HttpMicroService.RegistryType',
    'HttpMicroService.RegistryAddress',
    'HttpMicroService.RegistryOptions',
    'HttpMicroService.Target',
    'HttpMicroService.EndPoint',
  ),
];

/** `Store.MaxOpenConns` → `STORE_MAX_OPEN_CONNS`, as dtm splits camel case. */
export function dtmEnvironmentName(key: string): string {
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace('.', '_')
    .toUpperCase();
}
