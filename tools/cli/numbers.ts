/** Numbers as people and programs like to read them. */

/** To three decimals: what is beyond is noise. */
export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** 1234567 as `1.23 M`; 12 as `12 `, ready for a unit. */
export function short(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${units[unit]}`;
}
