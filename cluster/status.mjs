// Asks nodes for their state. Arguments: MODE id,httpPort,grpcPort,pid …
//   table, json   every node: role, term, indexes, lag, pid, addresses
//   leader        prints the id of the node that leads, or fails
//   livez, startupz, readyz
//                 fails unless every named node answers that probe: it lives, is open, serves
// Invariant: an answer counts only when the process of that pid listens there.

// biome-ignore lint/correctness/useImportExtensions: listener.d.mts is only for the type checker
import { isPaused, listensOn } from './listener.mjs';

const [, , mode, ...nodes] = process.argv;
const TIMEOUT_MS = 1500;

const get = (port, path) =>
  fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });

async function look({ id, port, grpcPort, pid }) {
  const addresses = { http: `127.0.0.1:${port}`, grpc: `127.0.0.1:${grpcPort}` };
  const base = { id, pid: pid || null, ...addresses };
  if (!pid) return { ...base, state: 'down' };
  if (isPaused(pid)) return { ...base, state: 'paused' };
  if (!listensOn(pid, port)) return { ...base, state: 'no answer' };
  try {
    const response = await get(port, '/v1/node');
    return { ...base, state: 'up', ...(await response.json()) };
  } catch {
    return { ...base, state: 'no answer' };
  }
}

async function probe({ port, pid }) {
  if (!pid || isPaused(pid) || !listensOn(pid, port)) return false;
  try {
    return (await get(port, `/${mode}`)).status === 200;
  } catch {
    return false;
  }
}

function printTable(seen) {
  const columns = ['id', 'state', 'role', 'term', 'lastIndex', 'commitIndex', 'appliedIndex'];
  columns.push('lag', 'pid', 'http', 'grpc');
  const rows = [columns, ...seen.map((node) => columns.map((name) => String(node[name] ?? '-')))];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  for (const row of rows) {
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    );
  }
  for (const node of seen) {
    if (node.recovering)
      console.log(`node ${node.id} recovers: ${JSON.stringify(node.recovering)}`);
  }
}

const targets = nodes.map((argument) => {
  const [id, port, grpcPort, pid] = argument.split(',').map(Number);
  return { id, port, grpcPort, pid };
});
if (mode === 'livez' || mode === 'startupz' || mode === 'readyz') {
  process.exit((await Promise.all(targets.map(probe))).every(Boolean) ? 0 : 1);
}
const seen = await Promise.all(targets.map(look));
const commitIndex = Math.max(0, ...seen.map((node) => node.commitIndex ?? 0));
for (const node of seen) {
  if (node.appliedIndex !== undefined) node.lag = commitIndex - node.appliedIndex;
}
if (mode === 'leader') {
  // Two may believe to lead for a moment; the one of the higher term does.
  const [leader] = seen.filter((node) => node.role === 'leader').sort((a, b) => b.term - a.term);
  if (leader === undefined) process.exit(1);
  console.log(leader.id);
} else if (mode === 'json') {
  console.log(JSON.stringify({ nodes: seen }, null, 2));
} else {
  printTable(seen);
}
