// Whether a process is the one that listens on a port: what answers there may be somebody else's.
// Read from /proc, so that nothing is sent to a stranger, and a paused process can be told too.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LISTEN = '0A';

/** The sockets that listen on `port`, as /proc/PID/fd names them. */
function listeners(port) {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const found = new Set();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of textOf(table).split('\n').slice(1)) {
      const columns = line.trim().split(/\s+/);
      if (columns[1]?.endsWith(suffix) && columns[3] === LISTEN)
        found.add(`socket:[${columns[9]}]`);
    }
  }
  return found;
}

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // no IPv6, or the process has ended
  }
}

export function listensOn(pid, port) {
  const sockets = listeners(port);
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) =>
      sockets.has(linkOf(`/proc/${pid}/fd/${fd}`)),
    );
  } catch {
    return false; // no such process
  }
}

function linkOf(file) {
  try {
    return readlinkSync(file);
  } catch {
    return ''; // closed meanwhile
  }
}

export function isPaused(pid) {
  return /^State:\s*T/m.test(textOf(`/proc/${pid}/status`));
}
