// grpc.reflection.v1alpha: what tools without proto files ask. By name of a file, of a service, of a
// method or of a message; a file is answered with those it imports.

import {
  type ServerDuplexStream,
  status as Status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { EMPTY_FILE, type ProtoFile, protoFiles } from './file-descriptors.ts';
import { type LoadedService, loadService } from './load-proto.ts';

interface ReflectionRequest {
  readonly host: string;
  /** Which of the following is set. */
  readonly message_request?: string;
  readonly file_by_filename?: string;
  readonly file_containing_symbol?: string;
}
type Reflection = ServerDuplexStream<ReflectionRequest, object>;

export const reflectionProto = loadService(
  'reflection.proto',
  'grpc.reflection.v1alpha.ServerReflection',
);

/** `service` is offered by the file of this name. */
export interface ReflectedService {
  readonly file: string;
  readonly service: LoadedService;
}

export class ReflectionService {
  readonly #files = new Map<string, ProtoFile>();
  readonly #fileOfSymbol = new Map<string, string>();
  readonly #services: readonly string[];

  constructor(reflected: readonly ReflectedService[]) {
    this.#services = reflected.map(({ service }) => service.name).sort();
    for (const { file, service } of reflected) {
      for (const found of protoFiles(service.all, file)) this.#files.set(found.name, found);
      for (const symbol of Object.keys(service.all)) {
        const imported = symbol.startsWith('google.protobuf.');
        this.#fileOfSymbol.set(symbol, imported ? EMPTY_FILE : file);
      }
      for (const method of Object.keys(service.definition)) {
        this.#fileOfSymbol.set(`${service.name}.${method}`, file);
      }
    }
  }

  get implementation(): UntypedServiceImplementation {
    return {
      ServerReflectionInfo: (call: Reflection) => {
        call.on('data', (request: ReflectionRequest) => {
          const wantsMore = call.write({
            valid_host: request.host,
            original_request: request,
            ...this.#answer(request),
          });
          if (wantsMore) return;
          // Who does not read the answers is not asked for more: they would pile up here.
          call.pause();
          call.once('drain', () => call.resume());
        });
        call.on('end', () => call.end());
        call.on('error', () => call.end());
      },
    };
  }

  #answer(request: ReflectionRequest): object {
    switch (request.message_request ?? '') {
      case 'list_services':
        return {
          list_services_response: { service: this.#services.map((name) => ({ name })) },
        };
      case 'file_by_filename':
        return this.#file(request.file_by_filename ?? '');
      case 'file_containing_symbol':
        return this.#file(this.#fileOfSymbol.get(request.file_containing_symbol ?? '') ?? '');
      case 'all_extension_numbers_of_type':
      case 'file_containing_extension':
        return problem(Status.NOT_FOUND, 'there are no extensions');
      default:
        return problem(Status.INVALID_ARGUMENT, 'no message_request');
    }
  }

  #file(name: string): object {
    const file = this.#files.get(name);
    if (file === undefined) return problem(Status.NOT_FOUND, 'not found');
    const imported = file.dependencies.flatMap((dependency) => this.#files.get(dependency) ?? []);
    const descriptors = [file, ...imported].map(({ descriptor }) => descriptor);
    return { file_descriptor_response: { file_descriptor_proto: descriptors } };
  }
}

function problem(code: Status, message: string): object {
  return { error_response: { error_code: code, error_message: message } };
}
