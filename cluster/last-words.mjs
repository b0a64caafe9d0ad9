// Why a node ended, from what it wrote: reads a log from standard input and prints the message of the
// error, without the stack.

import { text } from 'node:stream/consumers';

const lines = (await text(process.stdin)).split('\n').filter((line) => line.trim() !== '');

function recordOf(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** A record of the level error, or the text that the process ends with. */
function wordsOf(line) {
  const record = recordOf(line);
  if (record?.level === 'error') return record.err?.message ?? record.msg;
  return line.startsWith('assent-node: ')
    ? line.replace(/^assent-node: (\w*Error: )?/, '')
    : undefined;
}

const isPlain = (line) => recordOf(line) === undefined && !/^\s+at |^Node\.js v/.test(line);

const last = lines.findLastIndex((line) => wordsOf(line) !== undefined);
if (last === -1) {
  console.log(lines.filter(isPlain).at(-1) ?? '');
} else {
  // A message may have several lines: up to the stack, or to the next record.
  const rest = lines.slice(last + 1);
  const end = rest.findIndex((line) => !isPlain(line));
  console.log([wordsOf(lines[last]), ...rest.slice(0, end === -1 ? rest.length : end)].join('\n'));
}
