// One bad service is nobody else's problem (P8): a hung target, a refused one, and idle nodes.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshGid, SUCCESS_TEXT, saga } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { Participant } from './lib/participant.ts';

const on = threeNodes('participants: { connectionsPerTargetMax: 8 }');
let hung: Participant;
beforeAll(async () => {
  hung = await Participant.start();
});
afterAll(() => hung.stop());

const HUNG_SAGAS = 100;
const SAGAS = 300;
const CLIENTS = 6;

/** Ascending times of waited sagas against the good service, sent through all nodes. */
async function timesOfGoodSagas(): Promise<number[]> {
  const times: number[] = [];
  const client = async () => {
    while (times.length < SAGAS) {
      const step = {
        action: on.participant.url('good/a'),
        compensate: on.participant.url('good/c'),
      };
      const started = performance.now();
      const body = saga(freshGid('good'), [step, step], { wait_result: true });
      expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return times.sort((a, b) => a - b);
}
const at = (times: readonly number[], share: number) =>
  times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;

describe('a slow target', () => {
  it('P8: while one target hangs, with more calls than connections, the others do not wait', async () => {
    await timesOfGoodSagas();
    const quiet = await timesOfGoodSagas();
    const url = hung.on('hang', { hang: true });
    const gids = Array.from({ length: HUNG_SAGAS }, () => freshGid('hung'));
    for (const gid of gids) {
      const body = saga(gid, [{ action: url, compensate: '' }], { request_timeout: 30 });
      expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    }
    await hung.called('hang', 8);
    const busy = await timesOfGoodSagas();
    console.log(
      JSON.stringify({
        quiet: { p50: at(quiet, 0.5), p99: at(quiet, 0.99) },
        busy: { p50: at(busy, 0.5), p99: at(busy, 0.99) },
      }),
    );
    // A call that waited for the hung target would take its 30 s; the bound only absorbs the machine.
    expect(at(busy, 0.99)).toBeLessThan(Math.max(1_000, 10 * at(quiet, 0.99)));
    expect(hung.callsOf('hang')).toHaveLength(8);
    await Promise.all(gids.map((gid) => on.client.post('forceStop', { gid })));
  });
});
