// Rules between settings. Each complaint quotes both keys and both values.

import { isIP } from 'node:net';
import { Client, credentials } from '@grpc/grpc-js';
import type { Config } from './config-schema.ts';

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function transactionProblems(config: Config): readonly string[] {
  const { timeoutToFailMs, retryIntervalMs, retryIntervalMsMax } = config.transactions;
  const problems: string[] = [];
  if (timeoutToFailMs < retryIntervalMs) {
    problems.push(
      `TimeoutToFail should not be less than RetryInterval: transactions.timeoutToFailMs is ${timeoutToFailMs}, transactions.retryIntervalMs is ${retryIntervalMs}`,
    );
  }
  if (retryIntervalMsMax < retryIntervalMs) {
    problems.push(
      `transactions.retryIntervalMsMax (${retryIntervalMsMax}) must not be less than transactions.retryIntervalMs (${retryIntervalMs})`,
    );
  }
  return problems;
}

function clusterProblems(config: Config): readonly string[] {
  const { peers } = config.cluster;
  const problems: string[] = [];
  const ids = new Set(peers.map((peer) => peer.id));
  const addresses = new Set(peers.map((peer) => `${peer.host}:${peer.port}`));
  if (ids.size < peers.length) problems.push('cluster.peers names an id twice');
  if (addresses.size < peers.length) problems.push('cluster.peers names an address twice');
  if (peers.length > 0 && !ids.has(config.node.id)) {
    problems.push(
      `cluster.peers (${[...ids].join(', ')}) does not name this node, node.id ${config.node.id}`,
    );
  }
  const { electionTimeoutMs, heartbeatIntervalMs } = config.raft;
  if (electionTimeoutMs < 4 * heartbeatIntervalMs) {
    problems.push(
      `raft.electionTimeoutMs (${electionTimeoutMs}) must be at least four times raft.heartbeatIntervalMs (${heartbeatIntervalMs})`,
    );
  }
  return problems;
}

function listenProblems(config: Config): readonly string[] {
  const { httpPort, grpcPort, peerPort, peerHost } = config.listen;
  const problems: string[] = [];
  const fixed = [httpPort, grpcPort, peerPort].filter((port) => port !== 0);
  if (new Set(fixed).size < fixed.length) {
    problems.push(
      `listen.httpPort (${httpPort}), listen.grpcPort (${grpcPort}) and listen.peerPort (${peerPort}) must differ`,
    );
  }
  if (!isLoopback(peerHost) && !config.security.insecurePeers) {
    problems.push(
      `listen.peerHost (${peerHost}) is not loopback, and peers speak plain text: set security.insecurePeers if the network between the nodes is trusted`,
    );
  }
  return problems;
}

function sizeProblems(config: Config): readonly string[] {
  const { api, log, raft } = config;
  const problems: string[] = [];
  const atMost = (low: readonly [string, number], high: readonly [string, number]): void => {
    if (low[1] > high[1]) {
      problems.push(`${low[0]} (${low[1]}) must not exceed ${high[0]} (${high[1]})`);
    }
  };
  const body: readonly [string, number] = ['api.bodyBytesMax', api.bodyBytesMax];
  atMost(['api.transactionBytesMax', api.transactionBytesMax], body);
  atMost(body, ['api.inflightBytesMax', api.inflightBytesMax]);
  // An entry may be as large as the largest transaction, and must fit a segment with its headers.
  const transaction: readonly [string, number] = [
    'twice api.transactionBytesMax',
    2 * api.transactionBytesMax,
  ];
  atMost(transaction, ['log.segmentBytes', log.segmentBytes]);
  atMost(transaction, ['raft.uncommittedBytesMax', raft.uncommittedBytesMax]);
  atMost(
    ['api.headersTimeoutMs', api.headersTimeoutMs],
    ['api.receiveTimeoutMs', api.receiveTimeoutMs],
  );
  return problems;
}

function needEachOther(
  left: readonly [string, string],
  right: readonly [string, string],
): string[] {
  if ((left[1] === '') === (right[1] === '')) return [];
  return [`${left[0]} ("${left[1]}") and ${right[0]} ("${right[1]}") need each other`];
}

function grpcProblems({ api, participants }: Config): readonly string[] {
  const { grpcServiceConfig, grpcTls } = participants;
  const problems = [
    ...needEachOther(
      ['api.grpcTlsCertificatesFile', api.grpcTlsCertificatesFile],
      ['api.grpcTlsPrivateKeyFile', api.grpcTlsPrivateKeyFile],
    ),
    ...needEachOther(
      ['participants.grpcTlsCertificatesFile', participants.grpcTlsCertificatesFile],
      ['participants.grpcTlsPrivateKeyFile', participants.grpcTlsPrivateKeyFile],
    ),
  ];
  if (api.grpcTlsCertificatesFile === '' && api.grpcTlsClientAuthoritiesFile !== '') {
    problems.push('api.grpcTlsClientAuthoritiesFile needs api.grpcTlsCertificatesFile');
  }
  if (grpcServiceConfig !== '') problems.push(...serviceConfigProblems(grpcServiceConfig));
  const certificates = participants.grpcTlsCertificatesFile;
  if (!grpcTls && (certificates !== '' || participants.grpcTlsAuthoritiesFile !== '')) {
    problems.push('participants.grpcTls is false, but files for it are named');
  }
  return problems;
}

/** What the library does not take would otherwise fail the first call of each gRPC participant. */
function serviceConfigProblems(text: string): readonly string[] {
  const setting = 'participants.grpcServiceConfig';
  if (!isJsonObject(text)) return [`${setting} must be a JSON object`];
  try {
    // Dials nothing before its first call.
    new Client('dns:localhost', credentials.createInsecure(), {
      'grpc.service_config': text,
    }).close();
    return [];
  } catch (error) {
    return [`${setting}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function textProblems(config: Config): readonly string[] {
  const problems: string[] = [];
  const { timeZoneOffset } = config.api;
  if (timeZoneOffset !== '' && !/^[+-]?(1[0-4]|\d)(\.5|\.75)?$/.test(timeZoneOffset)) {
    problems.push(`api.timeZoneOffset must be hours such as +8 or -3.5, not "${timeZoneOffset}"`);
  }
  if (config.node.dataDir === '') problems.push('node.dataDir must not be empty');
  const outputs = config.logging.outputs.split(',');
  if (outputs.some((output) => output.trim() === '')) {
    problems.push(
      `logging.outputs must be stderr, stdout or files, separated by commas, not "${config.logging.outputs}"`,
    );
  }
  return problems;
}

function alertProblems({ alerts }: Config): readonly string[] {
  if (alerts.webHook === '') return [];
  const url = URL.canParse(alerts.webHook) ? new URL(alerts.webHook) : undefined;
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  return isHttp && isDecodable(url.username) && isDecodable(url.password)
    ? []
    : [`alerts.webHook must be an http or https URL, not "${alerts.webHook}"`];
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

export function configProblems(config: Config): readonly string[] {
  return [
    ...transactionProblems(config),
    ...clusterProblems(config),
    ...listenProblems(config),
    ...sizeProblems(config),
    ...grpcProblems(config),
    ...alertProblems(config),
    ...textProblems(config),
  ];
}
