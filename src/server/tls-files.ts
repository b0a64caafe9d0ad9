// The PEM files that settings name, read and tried once, at the start.
//
// Invariant: what cannot be read or does not fit together refuses the start, as a wrong setting does.

import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError } from './config.ts';

/** Names of files; empty: none. */
export interface TlsFileNames {
  readonly authorities: string;
  readonly certificates: string;
  readonly privateKey: string;
}

export interface TlsFiles {
  readonly authorities: Buffer | undefined;
  readonly certificates: Buffer | undefined;
  readonly privateKey: Buffer | undefined;
}

/** @throws ConfigError that begins with `settings`, the common start of the names of the settings. */
export function readTlsFiles(settings: string, names: TlsFileNames): TlsFiles {
  const read = (file: string): Buffer | undefined => {
    if (file === '') return undefined;
    try {
      return readFileSync(file);
    } catch (error) {
      throw new ConfigError([`${settings}…: ${file} cannot be read: ${textOf(error)}`]);
    }
  };
  const files = {
    authorities: read(names.authorities),
    certificates: read(names.certificates),
    privateKey: read(names.privateKey),
  };
  try {
    createSecureContext({ ca: files.authorities, cert: files.certificates, key: files.privateKey });
  } catch (error) {
    throw new ConfigError([`${settings}…: ${textOf(error)}`]);
  }
  return files;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
