// Runs cells: one scenario with one client against one server, and judges what it left behind. The
// judgement is made from the databases and from another node's answer, never from the client alone.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalCluster, LocalNode } from '../../bench/lib/local-cluster.ts';
import { until } from '../../bench/lib/local-cluster.ts';
import type { Account, Bank } from './bank.ts';
import type { Column } from './columns.ts';
import type { DriverCommand, ScenarioResult } from './driver.ts';
import { Driver } from './driver.ts';
import type { Scenario } from './scenarios.ts';
import type { Cell } from './table.ts';
import type { Language, Toolchain } from './toolchains.ts';

/** A client's own call; the longest is a tcc whose confirm waits for a pause and a new leader. */
const CALL_MS_MAX = 60_000;
/** From the client's answer to the final status: back-off of a lost call included. */
const FINAL_MS_MAX = 60_000;
const PAUSED_MS_MAX = 12_000;
/** Scenarios that one client runs at once. */
const AT_ONCE = 5;

export interface ColumnWork {
  readonly column: Column;
  readonly scenarios: readonly Scenario[];
}

export type Judge = (scenario: Scenario, column: Column, cell: Cell) => void;

interface CellRun {
  readonly scenario: Scenario;
  readonly column: Column;
  readonly account: Account;
  readonly server: LocalNode;
  /** Where its client goes when the server does not answer. */
  readonly again?: LocalNode | undefined;
}

function slug(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

function addresses(node: LocalNode): { readonly httpUrl: string; readonly grpcAddress: string } {
  const config = readFileSync(join(node.directory, 'node.yaml'), 'utf8');
  const port = /^GrpcPort: (\d+)$/m.exec(config)?.[1] ?? 'unknown';
  return { httpUrl: node.url, grpcAddress: `127.0.0.1:${port}` };
}

export class CellRunner {
  readonly #cluster: LocalCluster;
  readonly #bank: Bank;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #toolchains: ReadonlyMap<Language, Toolchain>;

  constructor(
    cluster: LocalCluster,
    bank: Bank,
    drivers: ReadonlyMap<string, Driver>,
    toolchains: ReadonlyMap<Language, Toolchain>,
  ) {
    this.#cluster = cluster;
    this.#bank = bank;
    this.#drivers = drivers;
    this.#toolchains = toolchains;
  }

  /** Every client at once, each with a few scenarios at a time. */
  async againstNode(node: LocalNode, work: readonly ColumnWork[], judge: Judge): Promise<void> {
    await Promise.all(
      work.map(async ({ column, scenarios }) => {
        const queue = [...scenarios];
        const worker = async () => {
          for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
            const cell = this.#cell(next, column, node, `node${node.id}`);
            judge(next, column, await this.#judged(() => this.#undisturbed(cell)));
          }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
      }),
    );
  }

  /** All scenarios stand in the middle, then the leader is killed, once, under all of them. */
  async acrossLeaderKill(work: readonly ColumnWork[], judge: Judge): Promise<void> {
    const leader = await this.#cluster.leader();
    const followers = this.#cluster.nodes.filter((node) => node !== leader);
    const cells = work.flatMap(({ column, scenarios }) =>
      scenarios.map((scenario, i) => {
        const follower = followers[i % followers.length] ?? leader;
        const server = scenario.throughLeader === true ? leader : follower;
        const cell = this.#cell(scenario, column, server, 'kill');
        return scenario.goesOnElsewhere === true ? { ...cell, again: follower } : cell;
      }),
    );
    const running = cells.map(async (cell) => {
      await this.#bank.open(cell.account);
      return this.#driver(cell).run(this.#command(cell, cell.scenario.killAt), CALL_MS_MAX);
    });
    for (const result of running) result.catch(() => undefined);
    const stands = (cell: CellRun) => this.#driver(cell).isPaused(cell.account.id);
    await until('every scenario stands at its pause', PAUSED_MS_MAX, async () =>
      cells.every(stands) ? true : undefined,
    ).catch(() => undefined);
    const stood = cells.filter(stands);
    this.#cluster.signal(leader.id, 'SIGKILL');
    for (const cell of stood) this.#driver(cell).continue(cell.account.id);
    await Promise.all(
      cells.map(async (cell, i) => {
        const judged = await this.#judged(async () => {
          const result = await running[i];
          if (result === undefined) throw new Error('no result');
          const wrong = await this.#wrong(cell, result, { isAcrossKill: true });
          return stood.includes(cell)
            ? wrong
            : [`never stood at ${cell.scenario.killAt ?? ''}`, ...wrong];
        });
        judge(cell.scenario, cell.column, judged);
      }),
    );
  }

  #cell(scenario: Scenario, column: Column, server: LocalNode, round: string): CellRun {
    const id = `${slug(column.name)}.${slug(scenario.title).slice(0, 60)}.${round}`;
    return { scenario, column, server, account: { id, language: column.language } };
  }

  #driver({ column }: CellRun): Driver {
    const driver = this.#drivers.get(column.name);
    if (driver === undefined) throw new Error(`no driver of ${column.name}`);
    return driver;
  }

  #command({ scenario, column, account, server, again }: CellRun, pauseAt?: string): DriverCommand {
    return {
      id: account.id,
      scenario: scenario.scenario,
      protocol: column.protocol,
      ...addresses(server),
      ...(again === undefined ? {} : { again: addresses(again) }),
      ...(scenario.isNotAwaited === undefined ? {} : { noWait: scenario.isNotAwaited }),
      ...(pauseAt === undefined ? {} : { pauseAt }),
      ...(scenario.holdAt === undefined ? {} : { holdAt: scenario.holdAt }),
      ...(scenario.loseAnswerOf === undefined ? {} : { loseAnswerOf: scenario.loseAnswerOf }),
      ...(scenario.timeoutSeconds === undefined ? {} : { timeoutSeconds: scenario.timeoutSeconds }),
    };
  }

  async #judged(run: () => Promise<readonly string[]>): Promise<Cell> {
    try {
      const wrong = await run();
      return wrong.length === 0 ? { kind: 'pass' } : { kind: 'fail', why: wrong.join('; ') };
    } catch (error) {
      return { kind: 'fail', why: error instanceof Error ? error.message : String(error) };
    }
  }

  async #undisturbed(cell: CellRun): Promise<readonly string[]> {
    await this.#bank.open(cell.account);
    const result =
      cell.scenario.diesAt === undefined
        ? await this.#driver(cell).run(this.#command(cell), CALL_MS_MAX)
        : await this.#inDyingProcess(cell, cell.scenario.diesAt);
    return this.#wrong(cell, result, { isAcrossKill: false });
  }

  /** The client is another process, with the participants of the one that lives. */
  async #inDyingProcess(cell: CellRun, diesAt: string): Promise<ScenarioResult> {
    const toolchain = this.#toolchains.get(cell.column.language);
    if (toolchain?.kind !== 'present') throw new Error('no toolchain');
    const services = this.#driver(cell).services;
    const config = { databases: this.#bank.addresses(), services, diesAt };
    const client = await Driver.start(toolchain.program, config);
    try {
      return await client.run(this.#command(cell), CALL_MS_MAX);
    } finally {
      await client.stop();
    }
  }

  async #wrong(
    cell: CellRun,
    result: ScenarioResult,
    { isAcrossKill }: { readonly isAcrossKill: boolean },
  ): Promise<readonly string[]> {
    const { scenario, account } = cell;
    const wrong: string[] = [];
    if (result.error !== undefined) wrong.push(result.error);
    const sees = isAcrossKill
      ? (scenario.clientSeesAcrossKill ?? scenario.clientSees)
      : scenario.clientSees;
    if (sees !== undefined && result.clientSaw !== sees)
      wrong.push(`the client saw ${String(result.clientSaw)}, not ${sees}`);
    if (result.gid === undefined || result.gid === '')
      return [...wrong, `no gid; the client saw ${String(result.clientSaw)}`];
    const status = await this.#finalStatus(cell, result.gid);
    if (status !== scenario.status) wrong.push(`ended ${status}, not ${scenario.status}`);
    const moved = scenario.status === 'succeed';
    const { effects } = scenario;
    const inRedis = scenario.inRedis === true;
    wrong.push(...(await this.#bank.check(account, { moved, effects, inRedis })));
    const left = (await this.#bank.prepared()).filter((xid) => xid.includes(result.gid ?? ''));
    if (left.length > 0) wrong.push(`left prepared: ${left.join(', ')}`);
    if (scenario.calls !== undefined) {
      const calls = await this.#driver(cell).callsOf(result.gid);
      for (const [at, [atLeast, atMost]] of Object.entries(scenario.calls)) {
        const count = calls[at] ?? 0;
        if (count < atLeast || count > atMost) wrong.push(`${count} calls of ${at}`);
      }
    }
    return wrong.length === 0 ? [] : [...wrong, `gid ${result.gid}`];
  }

  /** Asked of a node that the client did not use. */
  async #finalStatus({ server }: CellRun, gid: string): Promise<string> {
    const alive = this.#cluster.nodes.filter((node) => node.child !== undefined);
    const asked = alive.find((node) => node !== server) ?? server;
    let last = 'unknown';
    await until('a final status', FINAL_MS_MAX, async () => {
      const response = await fetch(`${asked.url}/api/dtmsvr/query?gid=${gid}`, {
        signal: AbortSignal.timeout(5000),
      });
      const body = (await response.json()) as { transaction?: { status?: string } | null };
      last = body.transaction?.status ?? `absent (${response.status})`;
      return last === 'succeed' || last === 'failed' ? true : undefined;
    }).catch(() => undefined);
    return last;
  }
}
