// Drives a real cluster with dtm's own clients: client × scenario × node in turn, then once across a
// kill of the leader. Prints the tables, and says what it skipped where a toolchain or a database is
// absent. Exit 1 when a cell failed, or when a run with --check differs from the page in docs.
//
//   node --import tsx test/interop/run.ts [--only go,python,java] [--scenario saga] [--write|--check]
//
// Invariant: whatever way it ends, databases, nodes and drivers end with it, each by its pid.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LocalCluster } from '../../bench/lib/local-cluster.ts';
import { Bank } from './bank.ts';
import type { ColumnWork, Judge } from './cell-runner.ts';
import { CellRunner } from './cell-runner.ts';
import type { Column } from './columns.ts';
import { COLUMNS } from './columns.ts';
import { Driver } from './driver.ts';
import type { Scenario } from './scenarios.ts';
import { SCENARIOS } from './scenarios.ts';
import type { Cell, Section } from './table.ts';
import { cellsOf, differences, record, renderPage, renderTable } from './table.ts';
import type { Language, PresentToolchain, Toolchain } from './toolchains.ts';
import { prepareToolchain } from './toolchains.ts';

const WHOLE_RUN_MS_MAX = 10 * 60_000;
const PAGE = join(import.meta.dirname, '../../docs/interop.md');
const LANGUAGES = ['go', 'python', 'java'] as const;
// A branch that stands at its pause must not be given up before the kill.
const CLUSTER_CONFIG = 'RequestTimeout: 15';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    scenario: { type: 'string' },
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

type Toolchains = ReadonlyMap<Language, Toolchain>;

/** What has been started, in the order of starting. */
const running: { readonly stop: () => Promise<unknown> }[] = [];

async function stopAll(): Promise<void> {
  for (const { stop } of running.splice(0).reverse()) await stop();
}

const started = performance.now();
function elapsedS(): number {
  return (performance.now() - started) / 1000;
}

function say(text: string): void {
  console.log(`[${elapsedS().toFixed(1)} s] ${text}`);
}

async function prepareToolchains(): Promise<Toolchains> {
  const wanted = options.only?.split(',');
  const prepared = LANGUAGES.map(async (language): Promise<readonly [Language, Toolchain]> => {
    if (wanted?.includes(language) === false)
      return [language, { kind: 'absent', reason: 'not asked for' }];
    const toolchain = await prepareToolchain(language);
    say(`${language}: ${toolchain.kind === 'present' ? 'ready' : `skipped, ${toolchain.reason}`}`);
    return [language, toolchain];
  });
  return new Map(await Promise.all(prepared));
}

/** Cells that need no run, because the client, the toolchain or a database has not what they need. */
function withoutRun(
  bank: Bank,
  toolchain: Toolchain | undefined,
  scenario: Scenario,
  column: Column,
): Cell | undefined {
  const reason = scenario.absentFrom(column);
  if (reason !== undefined) return { kind: 'absent', reason };
  if (toolchain?.kind !== 'present')
    return { kind: 'skipped', reason: toolchain?.reason ?? 'not built' };
  const lacking = bank.skipped.find((what) =>
    what.includes('redis') ? scenario.inRedis === true : column.language === 'go',
  );
  return lacking === undefined ? undefined : { kind: 'skipped', reason: lacking };
}

class Run {
  readonly #bank: Bank;
  readonly #cluster: LocalCluster;
  readonly #toolchains: Toolchains;
  readonly #runner: CellRunner;
  readonly #eachNode: Section;
  readonly #leaderKill: Section;

  constructor(
    bank: Bank,
    cluster: LocalCluster,
    toolchains: Toolchains,
    drivers: ReadonlyMap<string, Driver>,
  ) {
    this.#bank = bank;
    this.#cluster = cluster;
    this.#toolchains = toolchains;
    this.#runner = new CellRunner(cluster, bank, drivers, toolchains);
    const chosen = SCENARIOS.filter(
      ({ scenario }) => options.scenario === undefined || scenario.includes(options.scenario),
    );
    this.#eachNode = {
      title: 'Against each node in turn',
      about: "Each scenario ran with every one of the three nodes as the client's server.",
      scenarios: chosen.filter(({ onlyKill }) => onlyKill !== true),
      cells: new Map(),
    };
    this.#leaderKill = {
      title: 'Across a leader kill',
      about: `Each scenario stood in the middle (its participant had committed locally and not yet answered, or its client had
prepared everything) when the leader was killed with SIGKILL; the client's server was a follower, unless the row says
otherwise.`,
      scenarios: chosen.filter(({ killAt }) => killAt !== undefined),
      cells: new Map(),
    };
  }

  get sections(): readonly Section[] {
    return [this.#eachNode, this.#leaderKill];
  }

  async all(): Promise<void> {
    const perNode = this.#work(this.#eachNode);
    for (const node of this.#cluster.nodes) {
      await this.#runner.againstNode(node, perNode, this.#judge(this.#eachNode));
      say(`node ${node.id}: done`);
    }
    const work = this.#work(this.#leaderKill);
    await this.#runner.acrossLeaderKill(work, this.#judge(this.#leaderKill));
    say('leader kill: done');
  }

  async page(): Promise<string> {
    const present = LANGUAGES.map((language) => this.#toolchains.get(language)).filter(
      (toolchain): toolchain is PresentToolchain => toolchain?.kind === 'present',
    );
    return renderPage(this.sections, COLUMNS, {
      clients: present.map(({ client, language }) => `${client}; ${language}`),
      databases: await this.#bank.versions(),
      node: process.versions.node,
      durationS: elapsedS(),
    });
  }

  #work(section: Section): readonly ColumnWork[] {
    return COLUMNS.map((column) => ({
      column,
      scenarios: section.scenarios.filter((scenario) => {
        const toolchain = this.#toolchains.get(column.language);
        const cell = withoutRun(this.#bank, toolchain, scenario, column);
        if (cell !== undefined) record(section, scenario, column, cell);
        return cell === undefined;
      }),
    }));
  }

  #judge(section: Section): Judge {
    return (scenario, column, cell) => {
      record(section, scenario, column, cell);
      if (cell.kind === 'fail')
        console.error(`FAIL ${scenario.title} · ${column.name}: ${cell.why}`);
    };
  }
}

async function startDrivers(
  bank: Bank,
  toolchains: Toolchains,
): Promise<ReadonlyMap<string, Driver>> {
  const drivers = new Map<string, Driver>();
  for (const column of COLUMNS) {
    const toolchain = toolchains.get(column.language);
    if (toolchain?.kind !== 'present') continue;
    const driver = await Driver.start(toolchain.program, { databases: bank.addresses() });
    running.push({
      stop: () => {
        if (options.verbose) console.error(`--- ${column.name}\n${driver.stderr}`);
        return driver.stop();
      },
    });
    drivers.set(column.name, driver);
  }
  return drivers;
}

/** How many things are not as they must be. */
async function main(): Promise<number> {
  const toolchains = await prepareToolchains();
  const bank = await Bank.start();
  if (!(bank instanceof Bank)) {
    say(`skipped everything: ${bank.reason}`);
    return 0;
  }
  running.push({ stop: () => bank.stop() });
  for (const reason of bank.skipped) say(`skipped what needs it: ${reason}`);
  const cluster = await LocalCluster.create({ nodes: 3, extraConfig: CLUSTER_CONFIG });
  running.push({ stop: () => cluster.destroy() });
  await cluster.startAll();
  const run = new Run(bank, cluster, toolchains, await startDrivers(bank, toolchains));
  say('cluster, databases and drivers are up');
  await run.all();

  const left = await bank.prepared();
  if (left.length > 0) console.error(`FAIL prepared transactions left behind: ${left.join(', ')}`);
  for (const section of run.sections)
    console.log(`\n${section.title}\n\n${renderTable(section, COLUMNS)}`);
  const count = (kind: Cell['kind']) =>
    cellsOf(run.sections).filter((cell) => cell.kind === kind).length;
  const failed = count('fail') + left.length;
  say(`${count('pass')} passed, ${failed} failed, ${count('skipped')} skipped`);
  return failed + compareWithPage(await run.page(), count('skipped'));
}

function compareWithPage(page: string, skipped: number): number {
  if (options.write) {
    if (skipped > 0 || options.scenario !== undefined)
      console.error('what was skipped is skipped on the page as well');
    writeFileSync(PAGE, page);
  }
  if (!options.check || options.scenario !== undefined) return 0;
  const found = differences(readFileSync(PAGE, 'utf8'), page);
  for (const difference of found) console.error(`docs/interop.md: ${difference}`);
  return found.length;
}

function giveUp(why: string): void {
  console.error(why);
  void stopAll().finally(() => process.exit(2));
}

const watchdog = setTimeout(
  () => giveUp(`the run did not end within ${WHOLE_RUN_MS_MAX} ms`),
  WHOLE_RUN_MS_MAX,
);
watchdog.unref();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => giveUp(signal));
try {
  process.exitCode = (await main()) === 0 ? 0 : 1;
} finally {
  await stopAll();
}
