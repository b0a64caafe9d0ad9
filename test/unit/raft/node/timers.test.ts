import { describe, expect, it } from 'vitest';
import { DispatchLease } from '../../../../src/raft/node/lease.ts';
import { NO_OBSERVER } from '../../../../src/raft/node/observer.ts';
import { DeadlineTimer } from '../../../../src/raft/node/timers.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';

describe('the deadline timer', () => {
  it('fires once at the deadline, and not before', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const timer = new DeadlineTimer(clock, NO_OBSERVER, () => fired.push(clock.monotonicMs()));
    timer.arm(100);
    await clock.advance(99);
    expect(fired).toEqual([]);
    await clock.advance(500);
    expect(fired).toEqual([100]);
  });

  it('follows a deadline that moves either way', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const timer = new DeadlineTimer(clock, NO_OBSERVER, () => fired.push(clock.monotonicMs()));
    timer.arm(100);
    timer.arm(150);
    await clock.advance(120);
    expect(fired).toEqual([]);
    timer.arm(130);
    await clock.advance(100);
    expect(fired).toEqual([130]);
  });

  it('lets waiting I/O be served first when it is late, and looks again (F10)', async () => {
    const clock = new ManualClock();
    const late: number[] = [];
    let fired = 0;
    const observer = { ...NO_OBSERVER, timerLate: (ms: number) => late.push(ms) };
    const timer = new DeadlineTimer(clock, observer, () => {
      fired += 1;
    });
    timer.arm(100);
    clock.stall(300);
    // The heartbeat that lay in the socket buffer is handed over behind the due timer.
    clock.after(0, () => timer.arm(1300));
    await clock.advance(0);
    expect(fired).toBe(0);
    expect(late).toEqual([200]);
    await clock.advance(1000);
    expect(fired).toBe(1);
  });

  it('never fires after it was stopped', async () => {
    const clock = new ManualClock();
    const timer = new DeadlineTimer(clock, NO_OBSERVER, () => {
      throw new Error('fired');
    });
    timer.arm(10);
    timer.stop();
    await clock.advance(100);
  });
});

describe('the clocks under the dispatch lease', () => {
  const limits = { divergenceMsMax: 500, leaseMsMax: 800 };

  it('are trusted while they advance together', () => {
    const lease = new DispatchLease({ monotonicMs: 0, wallMs: 5000 }, limits);
    lease.roundSent({ monotonicMs: 100, wallMs: 5100 });
    expect(lease.valid({ monotonicMs: 700, wallMs: 6100 }, 900)).toBe(true);
    expect(lease.valid({ monotonicMs: 900, wallMs: 6000 }, 900)).toBe(false);
  });

  it('void the lease when the machine was suspended (F7)', () => {
    const lease = new DispatchLease({ monotonicMs: 0, wallMs: 5000 }, limits);
    lease.roundSent({ monotonicMs: 100, wallMs: 5100 });
    expect(lease.valid({ monotonicMs: 200, wallMs: 15_200 }, 900)).toBe(false);
  });

  it('void every round sent before the divergence, also when a new round has been sent', () => {
    const lease = new DispatchLease({ monotonicMs: 0, wallMs: 5000 }, limits);
    lease.roundSent({ monotonicMs: 100, wallMs: 5100 });
    // Suspended for ten seconds; the first thing that runs is the heartbeat timer.
    lease.roundSent({ monotonicMs: 200, wallMs: 15_200 });
    expect(lease.valid({ monotonicMs: 210, wallMs: 15_210 }, 900)).toBe(false);
    lease.roundSent({ monotonicMs: 300, wallMs: 15_300 });
    expect(lease.valid({ monotonicMs: 310, wallMs: 15_310 }, 1100)).toBe(true);
  });
});
