// What an operator is told of a port that cannot be bound: host, port, and the settings to change.

export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: 'ADDRESS_IN_USE' | 'ADDRESS_REFUSED';

  constructor(code: ListenError['code'], message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** The settings that host and port come from. */
  readonly keys: { readonly host: string; readonly port: string };
}

/** @throws ListenError for what the operating system refuses */
export async function listening<T>(
  { host, port, keys }: ListenAddress,
  listen: (address: { readonly host: string; readonly port: number }) => Promise<T>,
): Promise<T> {
  try {
    return await listen({ host, port });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const code = 'code' in error ? error.code : undefined;
    const address = `${host}:${port}`;
    switch (code) {
      case 'EADDRINUSE':
        throw new ListenError(
          'ADDRESS_IN_USE',
          `cannot listen on ${address}: another process does (EADDRINUSE); stop it, or change ${keys.port}`,
          error,
        );
      case 'EACCES':
        throw new ListenError(
          'ADDRESS_REFUSED',
          `cannot listen on ${address}: not permitted (EACCES); change ${keys.port}`,
          error,
        );
      case 'EADDRNOTAVAIL':
      case 'ENOTFOUND':
      case 'EAI_AGAIN':
        throw new ListenError(
          'ADDRESS_REFUSED',
          `cannot listen on ${address}: no address of this machine (${code}); change ${keys.host}`,
          error,
        );
      default:
        throw error;
    }
  }
}
