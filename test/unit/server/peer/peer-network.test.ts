import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ForwardResult } from '../../../../src/engine/operations/index.ts';
import type { Message } from '../../../../src/raft/index.ts';
import { makeFrame } from '../../../../src/server/peer/frames.ts';
import { heartbeat, introduce, lanes, PeerFixture } from '../../../helpers/peer-fixture.ts';
import { eventually } from '../../../helpers/real-clock.ts';

let fixture: PeerFixture;
beforeEach(() => {
  fixture = new PeerFixture();
});
afterEach(() => fixture.close());

async function pair(options: Parameters<PeerFixture['open']>[1] = {}) {
  const a = await fixture.open(1, options);
  const b = await fixture.open(2, options);
  introduce(a, 2, b);
  introduce(b, 1, a);
  await eventually(() => lanes(a, 2).length === 3 && lanes(b, 1).length === 3);
  return { a, b };
}

function appendOf(index: number, bytes: number): Message {
  return {
    kind: 'appendEntries',
    from: 1,
    to: 2,
    term: 1,
    fromBoot: 1,
    prevLogIndex: index - 1,
    prevLogTerm: 1,
    commitIndex: 0,
    commitTerm: 0,
    entries: [{ kind: 'commands', index, term: 1, timeMs: 0, commands: [new Uint8Array(bytes)] }],
  };
}

describe('the peer network', () => {
  it('delivers messages whole and in order within a lane', async () => {
    const { a, b } = await pair();
    for (let i = 1; i <= 500; i++) a.network.send([heartbeat(1, 2, i), appendOf(i, i * 10)]);
    await eventually(() => b.messages.length === 1000);
    const rounds = b.messages.flatMap((m) => (m.kind === 'heartbeat' ? [m.round] : []));
    const appends = b.messages.flatMap((m) => (m.kind === 'appendEntries' ? [m.entries[0]] : []));
    expect(rounds).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect(appends.map((entry) => entry?.index)).toEqual(rounds);
    expect(appends[499]?.kind === 'commands' && appends[499].commands[0]?.length).toBe(5000);
  });

  it('carries one entry as large as the largest body', async () => {
    const { a, b } = await pair();
    a.network.send([appendOf(1, 16 * 1024 * 1024)]);
    await eventually(() => b.messages.length === 1);
  });

  it('reports a peer whose process is gone as refused at once, without a timeout', async () => {
    const { a, b } = await pair({ limits: { closeMsMax: 5 } });
    const closedAtMs = performance.now();
    await b.network.close();
    await eventually(() => a.reports.some(({ kind }) => kind === 'refused'));
    const refused = a.reports.find(({ kind }) => kind === 'refused');
    expect((refused?.atMs ?? Number.POSITIVE_INFINITY) - closedAtMs).toBeLessThan(1_000);
  });

  it('reconnects to a peer that starts again, and refuses its older boot for ever', async () => {
    const { a, b } = await pair();
    await b.network.close();
    const again = await fixture.open(2, { port: b.port, self: { bootId: 2 } });
    introduce(again, 1, a);
    await eventually(() => lanes(a, 2).length === 3 && lanes(again, 1).length === 3);
    const zombie = await fixture.open(2, { self: { bootId: 1 } });
    introduce(zombie, 1, a);
    await eventually(() => zombie.refusals.includes('olderBoot'));
    expect(lanes(zombie, 1)).toEqual([]);
    expect(lanes(again, 1)).toHaveLength(3);
  });

  it('drops and reports messages while a peer cannot be reached', async () => {
    const a = await fixture.open(1);
    introduce(a, 2, { port: 1 });
    a.network.send([heartbeat(1, 2, 1)]);
    await eventually(() => a.reports.some(({ kind }) => kind === 'unreachable'));
    expect(a.reports.every(({ peer }) => peer === 2)).toBe(true);
  });

  it('drops and reports messages when the queue of a peer is full', async () => {
    const { a } = await pair({ limits: { appendQueueBytesMax: 10_000 } });
    for (let i = 1; i <= 20; i++) a.network.send([appendOf(i, 4000)]);
    await eventually(() => a.reports.some(({ kind }) => kind === 'unreachable'));
  });

  it.each([
    ['foreignCluster', { clusterId: 'cluster-b' }],
    ['wrongBirthId', { birthId: 'formatted-anew' }],
    ['unknownPeer', { nodeId: 9 }],
  ])('refuses a node by the code %s', async (code, self) => {
    const a = await fixture.open(1);
    introduce(a, 2, { port: 1 });
    const stranger = await fixture.open(2, { self });
    introduce(stranger, 1, a);
    await eventually(() => a.refusals.includes(code) && stranger.refusals.includes(code));
    expect(lanes(stranger, 1)).toEqual([]);
  });

  it('refuses a node that was meant to be another', async () => {
    const a = await fixture.open(1);
    const b = await fixture.open(2);
    introduce(b, 1, a);
    introduce(a, 2, b);
    introduce(a, 3, b);
    await eventually(() => b.refusals.includes('wrongNode'));
    expect(lanes(a, 3)).toEqual([]);
    expect(lanes(a, 2)).toHaveLength(3);
  });

  it('refuses handshakes until it is started', async () => {
    const a = await fixture.open(1, { started: false });
    const b = await fixture.open(2);
    introduce(b, 1, a);
    await eventually(() => b.refusals.includes('notReady'));
  });

  it('closes the connection of a stranger that sends too much, or something else', async () => {
    const a = await fixture.open(1);
    for (const bytes of [Buffer.from([0xff, 0xff, 0xff, 0xff, 1]), makeFrame(4)]) {
      const socket = connect(a.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(bytes);
      await new Promise((resolve) => socket.on('close', resolve));
    }
    expect(a.protocolErrors).toEqual(['frameTooLarge', 'unexpectedFrame']);
  });

  it('closes a connection on which a message speaks for another node', async () => {
    const { a, b } = await pair();
    a.network.send([heartbeat(3, 2, 1)]);
    await eventually(() => b.protocolErrors.includes('malformed'));
    expect(b.messages).toEqual([]);
  });

  it('bounds the connections of strangers, and the time they may take', async () => {
    const a = await fixture.open(1, { limits: { strangersMax: 2, handshakeMsMax: 50 } });
    const closed: number[] = [];
    const sockets = [0, 1, 2].map((position) => {
      const socket = connect(a.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.on('close', () => closed.push(position));
      return socket;
    });
    await eventually(() => closed.length === 3);
    expect(closed[0]).toBe(2);
    for (const socket of sockets) socket.destroy();
  });

  it('takes silence for a broken connection, not for a dead process', async () => {
    const { a, proxy } = await behindProxy();
    proxy.freeze();
    await eventually(() => a.reports.some(({ kind }) => kind === 'unreachable'));
    await eventually(() => lanes(a, 2).length === 0);
    expect(a.reports.map(({ kind }) => kind)).not.toContain('refused');
    proxy.close();
  });
});

describe('forwarding', () => {
  it('brings each reply to its request, whatever their order', async () => {
    const { a, b } = await pair();
    const held: (() => void)[] = [];
    b.network.onForward((from, request, reply) => {
      held.push(() => reply(Buffer.from(`${from}:${Buffer.from(request).toString()}`)));
      if (held.length === 3) for (const answer of held.reverse()) answer();
    });
    const replies = new Map<string, string>();
    for (const name of ['x', 'y', 'z']) {
      a.network.forward(2, Buffer.from(name), (result) => {
        replies.set(name, result.kind === 'reply' ? Buffer.from(result.bytes).toString() : 'none');
      });
    }
    await eventually(() => replies.size === 3);
    expect([...replies].sort()).toEqual([
      ['x', '1:x'],
      ['y', '1:y'],
      ['z', '1:z'],
    ]);
  });

  it('says that a request was not sent when there is no connection, and never at once', async () => {
    const a = await fixture.open(1);
    introduce(a, 2, { port: 1 });
    const results: ForwardResult[] = [];
    a.network.forward(2, new Uint8Array(1), (result) => results.push(result));
    a.network.forward(7, new Uint8Array(1), (result) => results.push(result));
    expect(results).toEqual([]);
    await eventually(() => results.length === 2);
    expect(results).toEqual([{ kind: 'notSent' }, { kind: 'notSent' }]);
  });

  it('says that a request was lost when the connection breaks after it was written', async () => {
    const { a, b } = await pair();
    let asked = false;
    b.network.onForward(() => {
      asked = true;
    });
    const results: ForwardResult[] = [];
    a.network.forward(2, new Uint8Array(1), (result) => results.push(result));
    await eventually(() => asked);
    await b.network.close();
    await eventually(() => results.length === 1);
    expect(results).toEqual([{ kind: 'lost' }]);
  });

  it('says that a request was lost when no reply comes in time, and ignores a late one', async () => {
    const { a, b } = await pair({ limits: { forwardTimeoutMs: 40 } });
    let late: (bytes: Uint8Array) => void = () => undefined;
    b.network.onForward((_from, _request, reply) => {
      late = reply;
    });
    const results: string[] = [];
    a.network.forward(2, new Uint8Array(1), ({ kind }) => results.push(kind));
    await eventually(() => results.length === 1);
    late(new Uint8Array(1));
    b.network.onForward((_from, request, reply) => reply(request));
    a.network.forward(2, new Uint8Array(1), ({ kind }) => results.push(kind));
    await eventually(() => results.length === 2);
    expect(results).toEqual(['lost', 'reply']);
  });

  it('bounds the requests without a reply', async () => {
    const { a } = await pair({ limits: { forwardInflightMax: 2 } });
    const results: string[] = [];
    for (let i = 0; i < 3; i++) {
      a.network.forward(2, new Uint8Array(1), ({ kind }) => results.push(kind));
    }
    await eventually(() => results.length === 1);
    expect(results).toEqual(['notSent']);
  });

  it('delivers notices in order with requests', async () => {
    const { a, b } = await pair();
    const got: string[] = [];
    b.network.onForward((_from, request) => got.push(`request ${request.length}`));
    b.network.onNotify((from, bytes) => got.push(`notice ${from} ${bytes.length}`));
    a.network.notify(2, new Uint8Array(1));
    a.network.forward(2, new Uint8Array(2), () => undefined);
    a.network.notify(2, new Uint8Array(3));
    await eventually(() => got.length === 3);
    expect(got).toEqual(['notice 1 1', 'request 2', 'notice 1 3']);
  });

  it('ends every request when the network closes', async () => {
    const { a, b } = await pair();
    b.network.onForward(() => undefined);
    const results: string[] = [];
    a.network.forward(2, new Uint8Array(1), ({ kind }) => results.push(kind));
    await a.network.close();
    a.network.forward(2, new Uint8Array(1), ({ kind }) => results.push(kind));
    await eventually(() => results.length === 2);
    expect(results).toEqual(['lost', 'notSent']);
  });
});

/** Node 2 is reached through a proxy that can fall silent without closing anything. */
async function behindProxy() {
  const limits = { keepaliveMs: 20, idleMsMax: 80, handshakeMsMax: 50 };
  const a = await fixture.open(1, { limits });
  const b = await fixture.open(2, { limits });
  let frozen = false;
  const sockets: Socket[] = [];
  const server: Server = createServer((inbound) => {
    const outbound = connect(b.port, '127.0.0.1');
    sockets.push(inbound, outbound);
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      from.on('error', () => undefined);
      from.on('data', (chunk) => {
        if (!frozen) to.write(chunk);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = (server.address() as { port: number }).port;
  introduce(b, 1, a);
  introduce(a, 2, { port });
  await eventually(() => lanes(a, 2).length === 3);
  return {
    a,
    b,
    proxy: {
      freeze: () => {
        frozen = true;
      },
      close: () => {
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    },
  };
}
