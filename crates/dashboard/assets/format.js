// Numbers, ages and times as people read them. src/format.rs says the same on the server: change both.

export const UNKNOWN = '–';

/** Digits in groups of three. Amounts come as decimal strings and may pass 2^53: they are never made numbers. */
export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',');

const LONGEST_NAME = 48;

/** A name that finds room in a table: the middle of a longer one is left out, since names may differ at their ends. */
export function shortened(name) {
  const letters = [...name];
  if (letters.length <= LONGEST_NAME) return name;
  return `${letters.slice(0, 24).join('')}…${letters.slice(-20).join('')}`;
}

/** An age in its one or two largest units, cut off rather than rounded: an age is a lower bound. */
export function age(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 1) return '<1 s';
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

function span(ms) {
  if (ms < 1000) return `${ms} ms`;
  const fraction = ms % 1000 === 0 ? '' : `.${String(ms % 1000).padStart(3, '0').replace(/0+$/, '')}`;
  return `${grouped(Math.floor(ms / 1000))}${fraction} s`;
}

/** A difference of clocks: exact while it is small. */
function skew(ms) {
  const sign = ms < 0 ? '−' : ms > 0 ? '+' : '';
  const size = Math.abs(ms);
  return sign + (size < 10_000 ? `${grouped(size)} ms` : age(size));
}

const HASHRATES = ['H/s', 'kH/s', 'MH/s', 'GH/s', 'TH/s', 'PH/s', 'EH/s', 'ZH/s'];

/** Work in hashes per second, three digits of it. */
export function hashrate(perSecond) {
  let value = perSecond;
  let unit = 0;
  while (value >= 999.5 && unit < HASHRATES.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const decimals = value === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(decimals)} ${HASHRATES[unit]}`;
}

/** How many a minute, three digits of it or all that are whole. */
export function rate(perMinute) {
  if (perMinute === 0) return '0 / min';
  const decimals = perMinute < 9.995 ? 2 : perMinute < 99.95 ? 1 : 0;
  return `${decimals === 0 ? grouped(Math.round(perMinute)) : perMinute.toFixed(decimals)} / min`;
}

const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** A number where there is little room: `1.2K`. */
export const compact = (number) => short.format(number);

const listener = (address) => address.replace(/^(0\.0\.0\.0|\[::\]):(\d+)$/, "port $2 of this pool's host");

const local = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' });

/** A time in the reader's own zone. */
export const time = (rfc3339) => local.format(new Date(rfc3339));

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'full', hourCycle: 'h23' });

/** The same with its zone by name, and in UTC: for who wants to know exactly. */
export const zoned = (rfc3339) => `${exact.format(new Date(rfc3339))} (${rfc3339})`;

/** How a field is written, by the `data-as` of its element. */
export const kinds = {
  count: (value) => grouped(typeof value === 'object' ? sum(value) : value),
  text: String,
  yesno: (value) => (value ? 'yes' : 'no'),
  time,
  span,
  skew,
  age,
  hashrate,
  rate,
  listener,
  source: (connected) => (connected ? 'connected' : 'away, its last template serves'),
};

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
