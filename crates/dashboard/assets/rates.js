// The redeem rate and the bars of the last hour, as src/pages/rates.rs has them.

import { age, grouped } from './format.js';
import { write } from './table.js';

const byId = (id) => document.getElementById(id);
const IDS = ['rate-5m', 'rate-1h', 'rate-24h'];

/** An hour, one minute more to begin from, and the one that is not over. */
export const LAST_HOUR = 'mint/stats/history?step=60&from=-3660';

/** Quotes of each complete minute; `null` where one is not known. */
function minutes({ redeemed }) {
  return redeemed.slice(1, -1).map((after, index) => {
    const before = redeemed[index];
    return after === null || before === null || after < before ? null : after - before;
  });
}

/** Shows what `LAST_HOUR` tells. */
export function showRates(history) {
  history.rates.forEach(({ window_s: window, over_s: over }, index) => {
    const known = over !== null && over * 10 >= window * 9;
    write(document.querySelector(`[data-rate="${IDS[index]}"]`), known ? '' : over === null ? 'not known now' : `${age(over * 1000)} known`);
  });
  const each = minutes(history);
  const highest = each.some((count) => count !== null) ? Math.max(...each) : null;
  const bar = (count, minute) => {
    if (count === null) return '';
    const height = (2 + (count / Math.max(highest, 1)) * 98).toFixed(1);
    return `M${minute * 10 + 1} 100v-${height}h8v${height}z`;
  };
  document.querySelector('#minutes .bars').setAttribute('d', each.map(bar).join(''));
  write(byId('minutes-note'), `each minute of the last hour: ${highest === null ? 'not known yet' : `${grouped(highest)} at most`}`);
}
