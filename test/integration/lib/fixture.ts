// What nearly every file of these tests starts from: three nodes, a client of all, a participant.

import { afterAll, beforeAll } from 'vitest';
import { LocalCluster } from '../../../bench/lib/local-cluster.ts';
import { Client } from './client.ts';
import { Participant } from './participant.ts';

export interface Fixture {
  cluster: LocalCluster;
  client: Client;
  participant: Participant;
}

/** One cluster for all tests of a file. */
export function threeNodes(extraConfig = '', nodes = 3): Fixture {
  const fixture = {} as Fixture;
  beforeAll(async () => {
    fixture.participant = await Participant.start();
    fixture.cluster = await LocalCluster.create({ nodes, extraConfig });
    await fixture.cluster.startAll();
    fixture.client = new Client(fixture.cluster);
  }, 60_000);
  afterAll(async () => {
    await fixture.cluster.destroy();
    await fixture.participant.stop();
  }, 60_000);
  return fixture;
}
