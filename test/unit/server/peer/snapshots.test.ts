import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeSnapshotMeta } from '../../../../src/raft/index.ts';
import { FRAME, FrameParser, makeFrame } from '../../../../src/server/peer/frames.ts';
import { encodeHello } from '../../../../src/server/peer/handshake.ts';
import {
  introduce,
  META,
  PeerFixture,
  snapshotOf,
  type TestPeer,
} from '../../../helpers/peer-fixture.ts';
import { eventually } from '../../../helpers/real-clock.ts';

let fixture: PeerFixture;
beforeEach(() => {
  fixture = new PeerFixture();
});
afterEach(() => fixture.close());

async function pair(limits = {}) {
  const a = await fixture.open(1, { limits });
  const b = await fixture.open(2, { limits });
  introduce(a, 2, b);
  introduce(b, 1, a);
  return { a, b };
}

function chunksOf(count: number, bytes: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => new Uint8Array(bytes).fill(i + 1));
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const got: Uint8Array[] = [];
  for await (const chunk of chunks) got.push(Uint8Array.from(chunk));
  return got;
}

/** A sender made by hand, so that it can lie. */
async function handMadeSender(to: TestPeer) {
  const socket = connect(to.port, '127.0.0.1');
  const answers: number[] = [];
  const reasons: string[] = [];
  const parser = new FrameParser(1 << 20, (type, payload) => {
    answers.push(type);
    reasons.push(payload.toString());
  });
  socket.on('data', (chunk) => parser.push(chunk));
  socket.on('error', () => undefined);
  const hello = encodeHello({
    nodeId: 1,
    birthId: 'birth-1',
    clusterId: 'cluster-a',
    bootId: 1,
    lane: 'snapshot',
    toNodeId: 2,
    toBirthId: '',
  });
  socket.write(makeFrame(FRAME.hello, hello));
  await eventually(() => answers.includes(FRAME.welcome));
  socket.write(makeFrame(FRAME.snapshotBegin, encodeSnapshotMeta(META)));
  return { answers, reasons, socket };
}

function chunkFrame(sequence: number, chunk: Uint8Array, checksum = crc32(chunk)): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(sequence, 0);
  header.writeUInt32BE(checksum, 4);
  return makeFrame(FRAME.snapshotChunk, header, chunk);
}

describe('a snapshot stream', () => {
  it('arrives chunk by chunk and resolves when the receiver holds it', async () => {
    const { a, b } = await pair();
    const chunks = chunksOf(50, 100_000);
    let got: Uint8Array[] = [];
    let durable = false;
    b.takeSnapshot = async (from, meta, stream) => {
      expect(from).toBe(1);
      expect(meta).toEqual(META);
      got = await collect(stream);
      durable = true;
    };
    await a.network.sendSnapshot(2, snapshotOf(chunks));
    expect(durable).toBe(true);
    expect(Buffer.concat(got).equals(Buffer.concat(chunks))).toBe(true);
    expect(got).toHaveLength(50);
  });

  it('waits for a slow receiver instead of filling its memory', async () => {
    const { a, b } = await pair({ snapshotBufferBytesMax: 100_000 });
    let produced = 0;
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    b.takeSnapshot = async (_from, _meta, stream) => {
      await gate;
      await collect(stream);
    };
    const sending = a.network.sendSnapshot(2, {
      meta: META,
      chunks: async function* iterate() {
        for (let i = 0; i < 400; i++) {
          produced += 1;
          yield new Uint8Array(100_000);
        }
      },
      close: async () => undefined,
    });
    let before = -1;
    while (before !== produced || produced === 0) {
      before = produced;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(produced).toBeLessThan(300);
    release();
    await sending;
    expect(produced).toBe(400);
  });

  it('ends early when the receiver needs nothing of it', async () => {
    const { a, b } = await pair({ snapshotBufferBytesMax: 100_000 });
    b.takeSnapshot = () => Promise.resolve();
    let produced = 0;
    await a.network.sendSnapshot(2, {
      meta: META,
      chunks: async function* iterate() {
        for (let i = 0; i < 10_000; i++) {
          produced += 1;
          yield new Uint8Array(100_000);
        }
      },
      close: async () => undefined,
    });
    expect(produced).toBeLessThan(10_000);
  });

  it('is rejected with the reason when the receiver refuses it', async () => {
    const { a, b } = await pair();
    b.takeSnapshot = () => Promise.reject(new Error('busy with another'));
    await expect(a.network.sendSnapshot(2, snapshotOf(chunksOf(3, 10)))).rejects.toMatchObject({
      code: 'snapshotRejected',
      message: expect.stringContaining('busy with another') as unknown,
    });
  });

  it('fails when its source fails, and the receiver sees that it was cut', async () => {
    const { a, b } = await pair();
    let seen: unknown;
    let begun = false;
    b.takeSnapshot = async (_from, _meta, stream) => {
      begun = true;
      await collect(stream).catch((error: unknown) => {
        seen = error;
      });
    };
    const source = {
      ...snapshotOf([]),
      chunks: async function* iterate() {
        yield new Uint8Array(10);
        await eventually(() => begun);
        throw new Error('disk gone');
      },
    };
    await expect(a.network.sendSnapshot(2, source)).rejects.toThrow('disk gone');
    await eventually(() => seen !== undefined);
    expect(seen).toMatchObject({ code: 'snapshotCut' });
  });

  it('fails when there is nobody to receive it', async () => {
    const a = await fixture.open(1);
    introduce(a, 2, { port: 1 });
    await expect(a.network.sendSnapshot(2, snapshotOf([]))).rejects.toMatchObject({
      code: 'unreachable',
    });
    await expect(a.network.sendSnapshot(3, snapshotOf([]))).rejects.toMatchObject({
      code: 'unreachable',
    });
  });

  it.each([
    ['a chunk with a flipped bit', (chunk: Uint8Array) => [chunkFrame(0, chunk, 7)]],
    ['a missing chunk', (chunk: Uint8Array) => [chunkFrame(0, chunk), chunkFrame(2, chunk)]],
    [
      'totals that do not match',
      (chunk: Uint8Array) => [
        chunkFrame(0, chunk),
        makeFrame(FRAME.snapshotEnd, new Uint8Array(16)),
      ],
    ],
  ])('with %s is rejected as damaged', async (_what, frames) => {
    const { b } = await pair();
    b.takeSnapshot = async (_from, _meta, stream) => {
      await collect(stream);
    };
    const sender = await handMadeSender(b);
    for (const frame of frames(new Uint8Array(100))) sender.socket.write(frame);
    await eventually(() => sender.answers.includes(FRAME.snapshotFailed));
    expect(sender.answers).not.toContain(FRAME.snapshotDone);
    expect(sender.reasons.join()).toMatch(/damaged|totals/);
  });

  it('is given up by the receiver when the sender stalls', async () => {
    const { b } = await pair({ snapshotStallMs: 60 });
    let seen: unknown;
    b.takeSnapshot = (_from, _meta, stream) =>
      collect(stream).then(
        () => undefined,
        (error: unknown) => {
          seen = error;
          throw error;
        },
      );
    const sender = await handMadeSender(b);
    await eventually(() => seen !== undefined);
    expect(seen).toMatchObject({ code: 'snapshotStalled' });
    sender.socket.destroy();
  });

  it('is aborted when the sender closes', async () => {
    const { a, b } = await pair();
    b.takeSnapshot = async (_from, _meta, stream) => {
      await collect(stream);
      await new Promise(() => undefined);
    };
    const sending = a.network.sendSnapshot(2, snapshotOf(chunksOf(1, 10)));
    const outcome = expect(sending).rejects.toMatchObject({ code: 'closing' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await a.network.close();
    await outcome;
  });
});
