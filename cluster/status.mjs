// Asks nodes for their state. Arguments: MODE id,port,pid …
//   table, json   every node: role, term, indexes, lag, pid
//   leader        prints the id of the node that leads, or fails
//   livez, readyz fails unless every named node answers that probe with 200
const [, , mode, ...nodes] = process.argv;
const TIMEOUT_MS = 1500;

const get = (port, path) =>
  fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });

async function look({ id, port, pid }) {
  const base = { id, pid: pid || null, http: `127.0.0.1:${port}` };
  if (!pid) return { ...base, state: 'down' };
  try {
    const response = await get(port, '/v1/node');
    return { ...base, state: 'up', ...(await response.json()) };
  } catch {
    return { ...base, state: 'no answer' };
  }
}

async function probe({ port }) {
  try {
    return (await get(port, `/${mode}`)).status === 200;
  } catch {
    return false;
  }
}

function printTable(seen) {
  const columns = ['id', 'state', 'role', 'term', 'lastIndex', 'commitIndex', 'appliedIndex'];
  columns.push('lag', 'pid', 'http');
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
  const [id, port, pid] = argument.split(',').map(Number);
  return { id, port, pid };
});
if (mode === 'livez' || mode === 'readyz') {
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
