// Drives a real cluster with dtm's own clients: client × scenario × node in turn, then once across a
// kill of the leader. Prints the table; exit 1 when a cell failed, or the page in docs is not what
// this run found. Says what it skipped where a toolchain or a database is absent.
//
//   node --import tsx test/interop/run.ts [--only go,python,java] [--write] [--verbose]

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LocalCluster } from '../../bench/lib/local-cluster.ts';
import { Bank } from './bank.ts';
import { CellRunner } from './cell-runner.ts';
import { Driver } from './driver.ts';
import type { Column, Scenario } from './scenarios.ts';
import { COLUMNS, SCENARIOS } from './scenarios.ts';
import type { Cell } from './table.ts';
import { renderPage, renderTable } from './table.ts';
import type { Language, Toolchain } from './toolchains.ts';
import { prepareToolchain } from './toolchains.ts';

const WHOLE_RUN_MS_MAX = 12 * 60_000;
const PAGE = join(import.meta.dirname, '../../docs/interop.md');
// A branch that stands at its pause must not be given up before the kill.
const CLUSTER_CONFIG = 'RequestTimeout: 15';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    scenario: { type: 'string' },
    write: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

type Table = Map<string, Map<string, Cell>>;

function record(table: Table, scenario: Scenario, column: Column, cell: Cell): void {
  const row = table.get(scenario.title) ?? new Map<string, Cell>();
  table.set(scenario.title, row);
  const before = row.get(column.name);
  if (before?.kind === 'fail') return;
  row.set(column.name, cell);
  if (cell.kind === 'fail') console.error(`FAIL ${scenario.title} · ${column.name}: ${cell.why}`);
}

const started = performance.now();
function say(text: string): void {
  console.log(`[${((performance.now() - started) / 1000).toFixed(1)} s] ${text}`);
}

async function prepareToolchains(): Promise<ReadonlyMap<Language, Toolchain>> {
  const wanted = options.only?.split(',');
  const toolchains = new Map<Language, Toolchain>();
  for (const language of ['go', 'python', 'java'] as const) {
    const toolchain: Toolchain =
      wanted === undefined || wanted.includes(language)
        ? await prepareToolchain(language)
        : { kind: 'absent', reason: 'not asked for' };
    toolchains.set(language, toolchain);
    say(`${language}: ${toolchain.kind === 'present' ? 'ready' : `skipped, ${toolchain.reason}`}`);
  }
  return toolchains;
}

/** Cells that need no run, because the client, the toolchain or a database has not what they need. */
function withoutRun(
  bank: Bank,
  toolchain: Toolchain | undefined,
  scenario: Scenario,
  column: Column,
) {
  const reason = scenario.absentFrom(column);
  if (reason !== undefined) return { kind: 'absent', reason } as const;
  if (toolchain?.kind !== 'present')
    return { kind: 'skipped', reason: toolchain?.reason ?? 'not built' } as const;
  const lacking = bank.skipped.find(
    (what) =>
      (what.includes('redis') && scenario.inRedis === true) ||
      (what.includes('postgres') && column.language === 'go'),
  );
  return lacking === undefined ? undefined : ({ kind: 'skipped', reason: lacking } as const);
}

async function main(): Promise<number> {
  const toolchains = await prepareToolchains();
  const bank = await Bank.start();
  if (!(bank instanceof Bank)) {
    say(`skipped everything: ${bank.reason}`);
    return 0;
  }
  for (const reason of bank.skipped) say(`skipped what needs it: ${reason}`);
  const cluster = await LocalCluster.create({ nodes: 3, extraConfig: CLUSTER_CONFIG });
  const drivers = new Map<string, Driver>();
  try {
    await cluster.startAll();
    for (const column of COLUMNS) {
      const toolchain = toolchains.get(column.language);
      if (toolchain?.kind !== 'present') continue;
      const driver = await Driver.start(toolchain.program, { databases: bank.addresses() });
      drivers.set(column.name, driver);
    }
    say('cluster, databases and drivers are up');
    const runner = new CellRunner(cluster, bank, drivers, toolchains);
    return await runAll(runner, bank, cluster, toolchains);
  } finally {
    if (options.verbose)
      for (const [name, driver] of drivers) console.error(`--- ${name}\n${driver.stderr}`);
    await Promise.all([...drivers.values()].map((driver) => driver.stop()));
    await cluster.destroy();
    await bank.stop();
  }
}

async function runAll(
  runner: CellRunner,
  bank: Bank,
  cluster: LocalCluster,
  toolchains: ReadonlyMap<Language, Toolchain>,
): Promise<number> {
  const chosen = SCENARIOS.filter(
    ({ scenario }) => options.scenario === undefined || scenario.includes(options.scenario),
  );
  const eachNode: Table = new Map();
  const leaderKill: Table = new Map();
  const runnable = (table: Table, scenarios: readonly Scenario[]) =>
    COLUMNS.map((column) => ({
      column,
      scenarios: scenarios.filter((scenario) => {
        const cell = withoutRun(bank, toolchains.get(column.language), scenario, column);
        if (cell !== undefined) record(table, scenario, column, cell);
        return cell === undefined;
      }),
    }));

  const undisturbed = chosen.filter(({ onlyKill }) => onlyKill !== true);
  const disturbed = chosen.filter(({ killAt }) => killAt !== undefined);
  const perNode = runnable(eachNode, undisturbed);
  for (const node of cluster.nodes) {
    await runner.againstNode(node, perNode, (scenario, column, cell) =>
      record(eachNode, scenario, column, cell),
    );
    say(`node ${node.id}: done`);
  }
  await runner.acrossLeaderKill(runnable(leaderKill, disturbed), (scenario, column, cell) =>
    record(leaderKill, scenario, column, cell),
  );
  say('leader kill: done');

  const left = await bank.prepared();
  if (left.length > 0) console.error(`FAIL prepared transactions left behind: ${left.join(', ')}`);
  const first = renderTable(undisturbed, COLUMNS, eachNode);
  const second = renderTable(disturbed, COLUMNS, leaderKill);
  console.log(`\nAgainst each node in turn\n\n${first}\n\nAcross a leader kill\n\n${second}\n`);
  const cells = [...eachNode.values(), ...leaderKill.values()].flatMap((row) => [...row.values()]);
  const count = (kind: Cell['kind']) => cells.filter((cell) => cell.kind === kind).length;
  const failed = count('fail') + left.length;
  say(`${count('pass')} passed, ${failed} failed, ${count('skipped')} skipped`);
  const isWhole = count('skipped') === 0 && options.scenario === undefined;
  return failed > 0 || !(isWhole ? pageHolds(renderPage(first, second)) : true) ? 1 : 0;
}

function pageHolds(page: string): boolean {
  if (options.write) writeFileSync(PAGE, page);
  if (readFileSync(PAGE, 'utf8') === page) return true;
  console.error('docs/interop.md is not what this run found: npm run test:interop -- --write');
  return false;
}

const watchdog = setTimeout(() => {
  console.error(`the run did not end within ${WHOLE_RUN_MS_MAX} ms`);
  process.exit(2);
}, WHOLE_RUN_MS_MAX);
watchdog.unref();
process.exitCode = await main();
