// Micro-benchmarks of the parts that every saga passes: codecs, the durable log, consensus without
// disk and network, apply.
//
//   npm run bench                     the whole table (about half a minute)
//   npm run bench -- --filter log     only the names that contain a word
//   npm run bench -- --time 2000      milliseconds for each
//
// Compare rows of one run; conditions are printed with them.

import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import { addCodecs } from './micro/codecs.ts';
import { addCores } from './micro/cores.ts';
import { addLog } from './micro/logs.ts';
import { addMachine, addStore } from './micro/states.ts';

const { values } = parseArgs({
  options: { filter: { type: 'string' }, time: { type: 'string', default: '1000' } },
});

const bench = new Bench({ time: Number(values.time), warmupTime: Number(values.time) / 4 });
addCodecs(bench);
addCores(bench);
addMachine(bench);
const closing = [await addStore(bench), await addLog(bench)];
for (const { name } of bench.tasks) {
  if (values.filter !== undefined && !name.includes(values.filter)) bench.remove(name);
}

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
console.log(
  `commit ${commit} · Node ${process.version} · ${cpus().length} × ${cpus()[0]?.model ?? ''} · Linux ${release()}\n`,
);
console.log('| | per second | mean µs | p50 µs | p99 µs |\n|---|---|---|---|---|');
await bench.run();
for (const { name, result } of bench.tasks) {
  if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
  const { latency, throughput } = result;
  const micros = (ms: number) => (ms * 1000).toFixed(1);
  console.log(
    `| ${name} | ${Math.round(throughput.mean)} | ${micros(latency.mean)} | ${micros(latency.p50)} | ${micros(latency.p99)} |`,
  );
}
for (const close of closing) await close();
