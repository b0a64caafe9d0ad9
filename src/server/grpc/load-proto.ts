// The proto files as the gRPC library wants them. Field names stay as they are written; 64-bit numbers
// become numbers, and what is too large for one is refused by its range later.

import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';

export interface LoadedService {
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly all: PackageDefinition;
}

// The same distance from src/server/grpc and from dist/server/grpc.
const FOLDER = new URL('../../../proto/', import.meta.url);

export function loadService(file: string, name: string): LoadedService {
  const all = loadSync(fileURLToPath(new URL(file, FOLDER)), {
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const definition = all[name];
  if (definition === undefined || 'format' in definition) {
    throw new Error(`proto/${file} has no service ${name}`);
  }
  return { name, definition, all };
}
