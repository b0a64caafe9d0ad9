export function listensOn(pid: number, port: number): boolean;
export function isPaused(pid: number): boolean;
