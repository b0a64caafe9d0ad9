// Times as dtm shows them: RFC 3339 with the server's offset, trailing zeros of the fraction dropped.
//
// Source: the dtm protocol reference, §1.5, §11.40.

const MINUTE_MS = 60_000;

export type TimeFormat = (timeMs: number) => string;

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0');
}

/** `offsetMinutes`: east of Greenwich, at a given time. */
export function timeFormat(offsetMinutes: (timeMs: number) => number): TimeFormat {
  return (timeMs) => {
    const offset = offsetMinutes(timeMs);
    const local = new Date(timeMs + offset * MINUTE_MS).toISOString();
    const fraction = local.slice(19, 23).replace(/\.?0+$/, '');
    return `${local.slice(0, 19)}${fraction}${offsetText(offset)}`;
  };
}

function offsetText(minutes: number): string {
  if (minutes === 0) return 'Z';
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${pad(Math.floor(size / 60), 2)}:${pad(size % 60, 2)}`;
}

/** `hours` such as "+8" or "-3.5"; empty: the time zone of this process. */
export function timeFormatOf(hours: string): TimeFormat {
  if (hours === '') return timeFormat((timeMs) => -new Date(timeMs).getTimezoneOffset());
  const minutes = Math.round(Number(hours) * 60);
  return timeFormat(() => minutes);
}
