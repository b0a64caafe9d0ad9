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
    const { inflightRequestsMax } = this.#limits;
    return this.#requests > inflightRequestsMax;
  }

  /** False: refused. After true, `leave` must follow. */
  enter(lane: Lane): boolean {
    const { inflightRequestsMax } = this.#limits;
    const room = lane === 'admission' ? inflightRequestsMax : Math.ceil(inflightRequestsMax * 1.1);
    if (this.#requests >= room) return false;
    this.#requests += 1;
    return true;
  }

  leave(): void {
    this.#requests -= 1;
  }

  /** False: refused, nothing taken. */
  takeBytes(count: number): boolean {
    if (this.#bytes + count > this.#limits.inflightBytesMax) return false;
    this.#bytes += count;
    return true;
  }

  giveBytes(count: number): void {
    this.#bytes -= count;
  }
}
