// The descriptors of our proto files, as reflection gives them out.
//
// The loader encodes a descriptor per package that a tool would refuse: without the imports between
// files, named after the package, with entries of maps named like their fields, and with the ends of
// reserved ranges off by one. They are decoded, mended and encoded again, by the published description
// of descriptors themselves.

import {
  type AnyDefinition,
  loadSync,
  type PackageDefinition,
  type ServiceDefinition,
} from '@grpc/proto-loader';

export interface ProtoFile {
  readonly name: string;
  readonly descriptor: Buffer;
  readonly dependencies: readonly string[];
}

interface FileDescriptor {
  readonly name: string;
  readonly package: string;
  readonly messageType?: readonly MessageDescriptor[];
}
interface MessageDescriptor {
  readonly name: string;
  readonly field?: readonly { readonly typeName?: string }[];
  readonly nestedType?: readonly (MessageDescriptor & {
    readonly options?: { readonly mapEntry?: boolean };
  })[];
}

export const EMPTY_FILE = 'google/protobuf/empty.proto';
const EMPTY_PACKAGE = 'google.protobuf';

const codec = fileDescriptorCodec();

/** `name`: what the file of the definition's own package is called. */
export function protoFiles(all: PackageDefinition, name: string): readonly ProtoFile[] {
  const files = new Map<string, FileDescriptor>();
  for (const definition of Object.values(all)) {
    for (const bytes of descriptorsOf(definition)) {
      const file = codec.decode(bytes);
      files.set(file.package, file);
    }
  }
  const dependencies = files.has(EMPTY_PACKAGE) ? [EMPTY_FILE] : [];
  return [...files.values()].map((file) => {
    const isEmpty = file.package === EMPTY_PACKAGE;
    const own = isEmpty ? [] : dependencies;
    const mended = {
      ...file,
      name: isEmpty ? EMPTY_FILE : name,
      dependency: own,
      messageType: file.messageType?.map(mendedMessage) ?? [],
    };
    return { name: mended.name, descriptor: codec.encode(mended), dependencies: own };
  });
}

function descriptorsOf(definition: AnyDefinition): readonly Buffer[] {
  return isType(definition) ? definition.fileDescriptorProtos : [];
}

/** A service is a table of its methods, whatever their names. */
function isType(
  definition: AnyDefinition,
): definition is Exclude<AnyDefinition, ServiceDefinition> {
  return typeof definition['format'] === 'string';
}

function mendedMessage(message: MessageDescriptor): object {
  const entries = new Set(
    (message.nestedType ?? [])
      .filter(({ options }) => options?.mapEntry === true)
      .map(({ name }) => name),
  );
  const entryName = (name: string): string => (entries.has(name) ? `${name}Entry` : name);
  return {
    ...message,
    // Nobody that reflects needs to know of them.
    reservedRange: [],
    field: message.field?.map((field) =>
      field.typeName === undefined ? field : { ...field, typeName: entryName(field.typeName) },
    ),
    nestedType: message.nestedType?.map((nested) => ({
      ...nested,
      name: entryName(nested.name),
    })),
  };
}

function fileDescriptorCodec(): {
  decode: (bytes: Buffer) => FileDescriptor;
  encode: (file: object) => Buffer;
} {
  const all = loadSync('google/protobuf/descriptor.proto', { enums: String });
  const file = all['google.protobuf.FileDescriptorProto'];
  if (file === undefined || !isType(file) || !('serialize' in file)) {
    throw new Error('the loader has no description of descriptors');
  }
  return {
    decode: (bytes) => file.deserialize(bytes) as FileDescriptor,
    encode: (message) => file.serialize(message),
  };
}
