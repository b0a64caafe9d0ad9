// Versions: what a newer node wrote stops an older one; it is never skipped or guessed.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { LogError } from '../../../../src/engine/log/index.ts';
import type { MemoryFiles } from '../../../helpers/memory-files.ts';
import { append, DIRECTORY, entries, formatted, IDENTITY, open } from './fixture.ts';

const SEED = crc32(`${IDENTITY.clusterId}\n${IDENTITY.nodeId}\n${IDENTITY.birthId}`);
const SEGMENT = `${DIRECTORY}/segment-000000000001.log`;
const BATCH_HEADER_BYTES = 64;

async function oneBatch(): Promise<MemoryFiles> {
  const files = await formatted();
  const { log } = await open(files);
  await append(log, { entries: entries(1, 1) });
  files.crash();
  return files;
}

function headerBytes(bytes: Buffer): number {
  return bytes.readUInt32BE(12) * 512;
}

async function codeOf(files: MemoryFiles): Promise<string | undefined> {
  return open(files).then(
    () => undefined,
    (error: unknown) => (error instanceof LogError ? error.code : String(error)),
  );
}

/** Changes bytes and puts the checksum of what they belong to right again. */
function rewrite(
  files: MemoryFiles,
  path: string,
  change: (bytes: Buffer) => { readonly at: number; readonly end: number; readonly seed: number },
): void {
  files.corrupt(path, (content) => {
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
    const { at, end, seed } = change(bytes);
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 4, end), seed), at);
  });
}

describe('a newer version', () => {
  it('of a segment stops the node', async () => {
    const files = await oneBatch();
    rewrite(files, SEGMENT, (bytes) => {
      bytes.writeUInt16BE(2, 8);
      return { at: 0, end: headerBytes(bytes), seed: 0 };
    });
    expect(await codeOf(files)).toBe('UNKNOWN_FORMAT');
  });

  it('of a batch stops the node', async () => {
    const files = await oneBatch();
    rewrite(files, SEGMENT, (bytes) => {
      const at = headerBytes(bytes);
      bytes.writeUInt16BE(2, at + 8);
      return { at, end: at + BATCH_HEADER_BYTES, seed: SEED };
    });
    expect(await codeOf(files)).toBe('UNKNOWN_FORMAT');
  });

  it('of a record, or an unknown kind of one, stops the node', async () => {
    for (const field of [12, 13]) {
      const files = await oneBatch();
      rewrite(files, SEGMENT, (bytes) => {
        const at = headerBytes(bytes) + BATCH_HEADER_BYTES;
        bytes.writeUInt8(99, at + field);
        const payloadBytes = bytes.readUInt32BE(at + 8);
        return { at, end: at + 40 + Math.ceil(payloadBytes / 8) * 8, seed: 0 };
      });
      expect(await codeOf(files)).toBe('UNKNOWN_FORMAT');
    }
  });

  it('of the slots or of the identity stops the node', async () => {
    const slots = await oneBatch();
    for (const at of [0, 8_192]) {
      rewrite(slots, `${DIRECTORY}/slots`, (bytes) => {
        bytes.writeUInt16BE(2, at + 8);
        return { at, end: at + 512, seed: SEED };
      });
    }
    expect(await codeOf(slots)).toBe('UNKNOWN_FORMAT');
    const identity = await oneBatch();
    rewrite(identity, `${DIRECTORY}/identity`, (bytes) => {
      bytes.writeUInt16BE(2, 8);
      return { at: 0, end: 16 + bytes.readUInt32BE(12), seed: 0 };
    });
    expect(await codeOf(identity)).toBe('UNKNOWN_FORMAT');
  });
});

describe('a payload that looks like a batch', () => {
  it('is not taken for one: headers are sealed with the identity of the directory', async () => {
    const files = await oneBatch();
    const forged = Buffer.from(files.content(SEGMENT).subarray(512, 1_024)).toString('latin1');
    const { log } = await open(files);
    await append(log, { entries: entries(2, 5, 1, forged.repeat(2)) });
    files.crash();
    const { opened } = await open(files);
    expect(opened.recovering).toBeUndefined();
    expect(opened.recovered.lastIndex).toBe(5);
  });
});
