/**
 * A histogram of times: 32 buckets to an octave, so that a percentile is off by at most a 45th (2^(1/32) - 1).
 *
 * @module
 */

const PER_OCTAVE = 32;
const OCTAVES = 36;
const BUCKETS = PER_OCTAVE * OCTAVES;

/** Counts times in nanoseconds, up to a minute. */
export class Histogram {
  /** How many times fell into each bucket; can be cloned to another thread. */
  readonly counts: Float64Array;

  /** A histogram with these counts, or an empty one. */
  constructor(counts: Float64Array = new Float64Array(BUCKETS)) {
    this.counts = counts;
  }

  /** Counts a time. */
  add(nanos: number): void {
    this.counts[bucketOf(nanos)]++;
  }

  /** Counts all that another one has counted. */
  addAll(other: Histogram): void {
    other.counts.forEach((count, bucket) => this.counts[bucket] += count);
  }

  /** Forgets everything. */
  clear(): void {
    this.counts.fill(0);
  }

  /** The time that this share of all times did not exceed, in nanoseconds; 0 where nothing was counted. */
  percentile(share: number): number {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    let left = total * share;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.counts[bucket];
      if (this.counts[bucket] > 0 && left <= 0) return upperEnd(bucket);
    }
    return 0;
  }
}

function bucketOf(nanos: number): number {
  if (!(nanos > 1)) return 0;
  const bucket = Math.floor(Math.log2(nanos) * PER_OCTAVE);
  return Math.min(bucket, BUCKETS - 1);
}

function upperEnd(bucket: number): number {
  return 2 ** ((bucket + 1) / PER_OCTAVE);
}
