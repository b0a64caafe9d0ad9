import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, type LoadedConfig, loadConfig } from '../../../src/server/config.ts';
import { transactionDefaults } from '../../../src/server/config-defaults.ts';
import { DTM_KEYS, dtmEnvironmentName } from '../../../src/server/config-dtm-keys.ts';
import { environmentName, SETTINGS } from '../../../src/server/config-schema.ts';
import { dtmKeysTable, printConfig, settingsTable } from '../../../src/server/config-text.ts';

interface Given {
  readonly yaml?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly flags?: Readonly<Record<string, string>>;
}

function load({ yaml, environment = {}, flags = {} }: Given): LoadedConfig {
  return loadConfig({
    file: yaml === undefined ? undefined : { name: 'node.yaml', text: yaml },
    environment,
    flags: new Map(Object.entries(flags)),
  });
}

function problems(given: Given): readonly string[] {
  try {
    load(given);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('no problem was found');
}

/** The dtm reference, §7, key by key. */
const REFERENCE_KEYS: readonly string[] = [
  ...['Driver', 'Host', 'Port', 'User', 'Password', 'Db', 'Schema'].map((key) => `Store.${key}`),
  ...['MaxOpenConns', 'MaxIdleConns', 'ConnMaxLifeTime'].map((key) => `Store.${key}`),
  ...['DataExpire', 'FinishedDataExpire', 'RedisPrefix'].map((key) => `Store.${key}`),
  ...['TransCronInterval', 'TimeoutToFail', 'RetryInterval', 'RequestTimeout'],
  ...['HttpPort', 'GrpcPort', 'JsonRpcPort'],
  ...['Driver', 'Target', 'EndPoint'].map((key) => `MicroService.${key}`),
  ...['Driver', 'RegistryType', 'RegistryAddress'].map((key) => `HttpMicroService.${key}`),
  ...['RegistryOptions', 'Target', 'EndPoint'].map((key) => `HttpMicroService.${key}`),
  ...['UpdateBranchSync', 'UpdateBranchAsyncGoroutineNum', 'LogLevel'],
  ...['Outputs', 'RotationEnable', 'RotationConfigJSON'].map((key) => `Log.${key}`),
  ...['TimeZoneOffset', 'ConfigUpdateInterval', 'AlertRetryLimit', 'AlertWebHook'],
  ...['AdminBasePath', 'GrpcServiceConfig'],
];
const SAMPLE_VALUES: ReadonlyMap<string, string> = new Map([
  ['Store.FinishedDataExpire', '86400'],
  ['TimeoutToFail', '35'],
  ['RetryInterval', '10'],
  ['RequestTimeout', '3'],
  ['HttpPort', '36789'],
  ['GrpcPort', '36790'],
  ['UpdateBranchSync', '1'],
  ['LogLevel', 'info'],
  ['TimeZoneOffset', '+8'],
  ['AlertRetryLimit', '3'],
  ['AlertWebHook', 'http://hook'],
  ['GrpcServiceConfig', '{}'],
]);

describe('sources', () => {
  it('defaults are a valid configuration', () => {
    const { config, origins, warnings } = load({});
    expect(config.raft.electionTimeoutMs).toBe(1_000);
    expect([origins.size, warnings.length]).toEqual([0, 0]);
  });

  it('a flag beats the environment, which beats the file, which beats the default', () => {
    const yaml =
      'raft: { heartbeatIntervalMs: 110, electionTimeoutMs: 1100, appendBytesMax: 2MiB }';
    const environment = {
      ASSENT_RAFT__HEARTBEAT_INTERVAL_MS: '120',
      ASSENT_RAFT__ELECTION_TIMEOUT_MS: '1.2s',
    };
    const { config, origins } = load({
      yaml,
      environment,
      flags: { 'raft.heartbeatIntervalMs': '130' },
    });
    expect(config.raft).toMatchObject({
      heartbeatIntervalMs: 130,
      electionTimeoutMs: 1_200,
      appendBytesMax: 2_097_152,
    });
    expect(origins.get('raft.heartbeatIntervalMs')).toBe('flag --raft.heartbeatIntervalMs');
    expect(origins.get('raft.electionTimeoutMs')).toBe(
      'environment ASSENT_RAFT__ELECTION_TIMEOUT_MS',
    );
    expect(origins.get('raft.appendBytesMax')).toBe('node.yaml:1:60');
  });

  it('reads the peers as a list and as a text', () => {
    const expected = [
      { id: 1, host: '127.0.0.1', port: 36_791 },
      { id: 2, host: '::1', port: 36_801 },
    ];
    const yaml = `cluster:
  peers:
    - { id: 2, host: "::1", port: 36801 }
    - { id: 1, host: 127.0.0.1, port: 36791 }
`;
    expect(load({ yaml }).config.cluster.peers).toEqual(expected);
    const environment = { ASSENT_CLUSTER__PEERS: '1=127.0.0.1:36791,2=[::1]:36801' };
    expect(load({ environment }).config.cluster.peers).toEqual(expected);
  });

  it('a variable that is set but empty counts as unset; foreign ones are left alone', () => {
    const environment = { HTTP_PORT: '', ASSENT_CLUSTER_DATA: '/x', PATH: '/bin' };
    expect(load({ environment }).config.listen.httpPort).toBe(36_789);
  });

  it('every setting can be made by its environment variable', () => {
    for (const [path, setting] of SETTINGS) {
      if (setting.kind === 'peers') continue;
      const environment = { [environmentName(path)]: String(setting.default) };
      const { origins } = load({ environment });
      if (setting.default !== '') expect(origins.has(path)).toBe(true);
    }
  });

  it('the configuration is frozen', () => {
    const { config } = load({});
    expect(() => Object.assign(config.node, { id: 2 })).toThrow(TypeError);
  });
});

describe("dtm's keys (reference §7)", () => {
  it('those that mean something count in seconds and set ours', () => {
    const yaml = `TimeoutToFail: 60
RetryInterval: 20
RequestTimeout: 5
UpdateBranchSync: 1
HttpPort: 8001
GrpcPort: 8002
LogLevel: warn
TimeZoneOffset: '+8'
`;
    const { config, warnings } = load({ yaml });
    expect(config.transactions).toMatchObject({
      timeoutToFailMs: 60_000,
      retryIntervalMs: 20_000,
      requestTimeoutMs: 5_000,
      commitEachResult: true,
    });
    expect(config.listen).toMatchObject({ httpPort: 8_001, grpcPort: 8_002 });
    expect([config.logging.level, config.api.timeZoneOffset]).toEqual(['warn', '+8']);
    expect(warnings).toEqual([]);
  });

  it('11.34: their environment names split camel case', () => {
    expect(dtmEnvironmentName('Store.MaxOpenConns')).toBe('STORE_MAX_OPEN_CONNS');
    expect(dtmEnvironmentName('MicroService.EndPoint')).toBe('MICRO_SERVICE_END_POINT');
    expect(dtmEnvironmentName('AlertWebHook')).toBe('ALERT_WEB_HOOK');
    const { config } = load({ environment: { TIMEOUT_TO_FAIL: '40', RETRY_INTERVAL: '15' } });
    expect(config.transactions).toMatchObject({ timeoutToFailMs: 40_000, retryIntervalMs: 15_000 });
  });

  it('those without a meaning here are accepted with a warning that names what replaces them', () => {
    const yaml = 'Store:\n  Driver: redis\n  DataExpire: 3600\nTransCronInterval: 3\n';
    expect(load({ yaml }).warnings).toEqual([
      'node.yaml:2:3: Store.Driver has no effect: the state is built in and replicated; see node.dataDir and cluster.peers',
      'node.yaml:3:3: Store.DataExpire has no effect: nothing unfinished is ever forgotten; what is finished, after retention.finishedMs',
      'node.yaml:4:1: TransCronInterval has no effect: transactions go on when they are due; nothing polls',
    ]);
    for (const { key } of DTM_KEYS) expect(key).toMatch(/^[A-Z]/);
  });

  it('every key of the reference is accepted, in the file and in the environment', () => {
    for (const key of REFERENCE_KEYS) {
      const value = SAMPLE_VALUES.get(key) ?? 'x';
      const [section, name] = key.split('.');
      const quoted = /^\d+$/.test(value) ? value : JSON.stringify(value);
      const yaml =
        name === undefined ? `${key}: ${quoted}` : `${String(section)}:\n  ${name}: ${quoted}`;
      const fromFile = load({ yaml });
      const fromEnvironment = load({ environment: { [dtmEnvironmentName(key)]: value } });
      for (const { origins, warnings } of [fromFile, fromEnvironment]) {
        expect([key, origins.size + warnings.length]).toEqual([key, 1]);
      }
    }
    expect(DTM_KEYS.map(({ key }) => key).filter((key) => !REFERENCE_KEYS.includes(key))).toEqual([
      'GrpcBalancer',
    ]);
  });

  it('11.34: alerts, outputs of the log and retention are set by them', () => {
    const yaml = `AlertWebHook: http://hook/alert
AlertRetryLimit: 5
Log:
  Outputs: stdout,node.log
Store:
  FinishedDataExpire: 172800
`;
    const { config, warnings } = load({ yaml });
    expect(config.alerts).toMatchObject({ webHook: 'http://hook/alert', retryLimit: 5 });
    expect(config.logging.outputs).toBe('stdout,node.log');
    expect([config.retention.finishedMs, warnings]).toEqual([172_800_000, []]);
    const environment = { ALERT_WEB_HOOK: 'https://hook', ALERT_RETRY_LIMIT: '1' };
    expect(load({ environment }).config.alerts).toMatchObject({
      webHook: 'https://hook',
      retryLimit: 1,
    });
  });

  it('a retention below ours is raised, and the start goes on', () => {
    const { config, warnings } = load({ environment: { STORE_FINISHED_DATA_EXPIRE: '3600' } });
    expect(config.retention.finishedMs).toBe(86_400_000);
    expect(warnings).toEqual([
      'environment STORE_FINISHED_DATA_EXPIRE: Store.FinishedDataExpire (3600 s) is raised to the least of retention.finishedMs, 86400 s',
    ]);
  });

  it('11.34: RetryInterval below 10 is refused in the words of dtm', () => {
    expect(problems({ yaml: 'RetryInterval: 9' })).toEqual([
      expect.stringMatching(/RetryInterval should not be less than 10$/),
    ]);
    expect(problems({ yaml: 'TimeoutToFail: 15\nRetryInterval: 20' })[0]).toMatch(
      /^TimeoutToFail should not be less than RetryInterval/,
    );
  });

  it('where file and environment disagree, the start is refused rather than guessed', () => {
    const yaml = 'HttpPort: 1000';
    expect(problems({ yaml, environment: { HTTP_PORT: '1001' } })[0]).toContain('disagree');
    expect(load({ yaml, environment: { HTTP_PORT: '1000' } }).config.listen.httpPort).toBe(1_000);
    expect(
      load({ yaml, environment: { ASSENT_LISTEN__HTTP_PORT: '1001' } }).config.listen.httpPort,
    ).toBe(1_001);
    expect(problems({ yaml: 'HttpPort: 1000\nlisten: { httpPort: 1001 }' })[0]).toBe(
      'node.yaml:1:1: HttpPort and node.yaml:2:11: listen.httpPort disagree',
    );
  });
});

describe('62: what is refused, with its place', () => {
  it.each([
    [
      'raft:\n  electionTimoutMs: 5\n',
      'node.yaml:2:3: unknown key "electionTimoutMs" in raft (did you mean "electionTimeoutMs"?)',
    ],
    ['rafts: {}\n', 'node.yaml:1:1: unknown key "rafts" (did you mean "raft"?)'],
    ['store:\n  Driver: redis\n', 'node.yaml:2:3: unknown key "Driver" in store'],
    ['httpPort: 1\n', 'node.yaml:1:1: unknown key "httpPort" (did you mean "HttpPort"?)'],
    ['node: { id: 0 }', 'node.yaml:1:9: node.id must be an integer from 1 to 1000000, not 0'],
    ['node: { id: 1.5 }', 'node.yaml:1:9: node.id must be an integer from 1 to 1000000, not 1.5'],
    [
      'compat: { strictResubmit: maybe }',
      'node.yaml:1:11: compat.strictResubmit must be true or false, not "maybe"',
    ],
    [
      'logging: { level: loud }',
      'node.yaml:1:12: logging.level must be one of debug, info, warn, error, not "loud"',
    ],
    [
      'cluster: { peers: [{ id: 1, host: a }] }',
      'node.yaml:1:12: cluster.peers each must be {id, host, port} or "id=host:port", not {"id":1,"host":"a"}',
    ],
    ['- a', 'node.yaml:1:1: must be a mapping of names to values'],
    ['raft: 5', 'node.yaml:1:7: must be a mapping of names to values'],
    ['a: &x [1]\nlog: { ballastBytes: *x }', 'node.yaml:2:22: aliases are not supported'],
  ])('%j', (yaml, problem) => {
    expect(problems({ yaml })).toContain(problem);
  });

  it('tabs and duplicate keys, with line and column', () => {
    expect(problems({ yaml: 'node:\n\tid: 1\n' })[0]).toMatch(/^node\.yaml:2:\d+: /);
    expect(problems({ yaml: 'node: { id: 1 }\nnode: { id: 2 }\n' })[0]).toMatch(
      /^node\.yaml:2:1: Map keys must be unique/,
    );
  });

  it('unknown variables and flags, with what was probably meant', () => {
    expect(problems({ environment: { ASSENT_RAFT__ELECTION_TIMEOUT: '5' } })).toEqual([
      'environment ASSENT_RAFT__ELECTION_TIMEOUT: unknown variable (did you mean "ASSENT_RAFT__ELECTION_TIMEOUT_MS"?)',
    ]);
    expect(problems({ flags: { 'node.ID': '5' } })).toEqual([
      'flag --node.ID: unknown flag (did you mean "node.id"?)',
    ]);
  });

  it('all problems are reported at once', () => {
    expect(problems({ yaml: 'x: 1\nnode: { id: 0 }', flags: { nothing: '1' } })).toHaveLength(3);
  });
});

describe('rules between settings', () => {
  it.each([
    [
      { 'raft.electionTimeoutMs': '300' },
      'raft.electionTimeoutMs (300) must be at least four times raft.heartbeatIntervalMs (100)',
    ],
    [{ 'cluster.peers': '2=a:1,3=b:1' }, 'cluster.peers (2, 3) does not name this node, node.id 1'],
    [{ 'cluster.peers': '1=a:1,1=b:1' }, 'cluster.peers names an id twice'],
    [{ 'cluster.peers': '1=a:1,2=a:1' }, 'cluster.peers names an address twice'],
    [
      { 'listen.httpPort': '36791' },
      'listen.httpPort (36791), listen.grpcPort (36790) and listen.peerPort (36791) must differ',
    ],
    [
      { 'api.transactionBytesMax': '16MiB' },
      'api.transactionBytesMax (16777216) must not exceed api.bodyBytesMax (8388608)',
    ],
    [
      { 'log.segmentBytes': '4MiB' },
      'twice api.transactionBytesMax (8388608) must not exceed log.segmentBytes (4194304)',
    ],
    [
      { 'api.timeZoneOffset': 'CET' },
      'api.timeZoneOffset must be hours such as +8 or -3.5, not "CET"',
    ],
    [
      { 'participants.grpcServiceConfig': '{"loadBalancingConfig":5}' },
      'participants.grpcServiceConfig: Invalid service config: invalid loadBalancingConfig',
    ],
    [
      { 'alerts.webHook': 'http://a%user@hook' },
      'alerts.webHook must be an http or https URL, not "http://a%user@hook"',
    ],
    [
      { 'alerts.webHook': 'ftp://hook' },
      'alerts.webHook must be an http or https URL, not "ftp://hook"',
    ],
    [
      { 'logging.outputs': 'stderr,' },
      'logging.outputs must be stderr, stdout or files, separated by commas, not "stderr,"',
    ],
  ])('%j', (flags, problem) => {
    expect(problems({ flags })).toContain(problem);
  });

  it('the peer port binds loopback unless that is said to be safe', () => {
    const flags = { 'listen.peerHost': '0.0.0.0' };
    expect(problems({ flags })[0]).toMatch(/^listen\.peerHost \(0\.0\.0\.0\) is not loopback/);
    load({ flags: { ...flags, 'security.insecurePeers': 'true' } });
  });
});

describe('text', () => {
  it('what is printed can be read back', () => {
    const loaded = load({ flags: { 'cluster.peers': '1=a:1,2=b:2', 'node.dataDir': '/a "b"' } });
    const again = load({ yaml: printConfig(loaded) });
    expect(again.config).toEqual(loaded.config);
  });

  it('docs/configuration.md holds the table of settings and of dtm keys', () => {
    const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
    expect(page).toContain(settingsTable());
    expect(page).toContain(dtmKeysTable());
  });

  it('what travels with a command comes from the configuration', () => {
    const { config } = load({ flags: { 'compat.strictResubmit': 'true' } });
    expect(transactionDefaults(config)).toEqual({
      timeoutToFailMs: 35_000,
      retryIntervalMs: 10_000,
      requestTimeoutMs: 3_000,
      retentionMs: 86_400_000,
      preparedExpiryMs: 604_800_000,
      strictResubmit: true,
    });
  });
});
