/** What is said of a handful of measurements. */

/** The middle value; of an even number, the mean of the two in the middle. Throws a RangeError for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('there is no median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/**
 * How far the values lie from their median, as a part of it: the median of the distances, which one
 * odd value does not move. 0 for a median of 0.
 */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  if (middle === 0) return 0;
  return median(values.map((value) => Math.abs(value - middle))) / Math.abs(middle);
}
