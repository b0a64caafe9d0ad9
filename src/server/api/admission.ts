// How much may be in flight at once: requests and bytes of bodies (P8).
//
// Two lanes: new work is refused at the bound; what ends or repairs running work (abort, forceStop)
// has a tenth more room, so that an overload can be worked off.

export type Lane = 'admission' | 'progress';

export interface AdmissionLimits {
  readonly inflightRequestsMax: number;
  readonly inflightBytesMax: number;
}

export class Admission {
  readonly #limits: AdmissionLimits;
  #requests = 0;
  #bytes = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  get requests(): number {
    return this.#requests;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** New work is no longer taken: what is in flight beyond it came in as progress. */
  get isCrowded(): boolean {
    const { inflightRequestsMax, inflightBytesMax } = this.#limits;
    return this.#requests > inflightRequestsMax || this.#bytes > inflightBytesMax;
  }

  /** False: refused. After true, `leave` must follow. */
  enter(lane: Lane): boolean {
    if (this.#requests >= roomOf(lane, this.#limits.inflightRequestsMax)) return false;
    this.#requests += 1;
    return true;
  }

  leave(): void {
    this.#requests -= 1;
  }

  /** False: refused, nothing taken. */
  takeBytes(count: number, lane: Lane): boolean {
    if (this.#bytes + count > roomOf(lane, this.#limits.inflightBytesMax)) return false;
    this.#bytes += count;
    return true;
  }

  giveBytes(count: number): void {
    this.#bytes -= count;
  }
}

function roomOf(lane: Lane, max: number): number {
  return lane === 'admission' ? max : Math.ceil(max * 1.1);
}
