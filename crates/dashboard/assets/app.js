// Keeps the page going: the mint's statistics from the stream, the rest by polling, the ages by counting.

import { startCharts } from './charts.js';
import { switchColours } from './colours.js';
import { ask, follow, poll, whileVisible } from './feed.js';
import { showLinks } from './links.js';
import { LAST_HOUR, showRates } from './rates.js';
import { countAges, fill, showAge, showPool, showStats, showStatus } from './view.js';

/** The rates and the bars of the last hour change slowly. */
const RATES_MS = 10_000;

// Relative to this script, so that the page works under any path that a reverse proxy gives it.
const api = (path) => new URL(`../api/v1/${path}`, import.meta.url);

const charts = startCharts({ ask: (path) => ask(api(path)), whileVisible });
switchColours(charts.repaint);

/** How old the numbers were when the server last told, and when that was by this page's own steady clock. */
let told = { age: null, at: 0 };
const atLoad = document.getElementById('age').dataset.ageMs;
if (atLoad !== undefined) told = { age: Number(atLoad), at: 0 };

function tellAge(ms) {
  told = { age: ms, at: performance.now() };
  countAge();
}

/** The server tells something every 5 s at least, by stream or when asked. */
const SILENCE_MS = 6_000;

function countAge() {
  const silence = performance.now() - told.at;
  const age = told.age === null ? null : told.age + silence;
  showAge(age);
  // Numbers beyond their own limit are not live, although nobody is heard to say so.
  if (latest?.status === 'live' && age > latest.stale_after_ms && silence > SILENCE_MS) showStatus('offline');
}

let latest = null;

setInterval(countAge, 500);

/** The charts get totals while they are live, as the server's history does. */
function chart({ status, quotes_redeemed: redeemed, quotes_by_state: states, stale_after_ms: staleAfterMs }, ageMs) {
  const live = status === 'live';
  charts.tell({ redeemed: live ? redeemed : null, states: live ? states : null, ageMs, staleAfterMs });
}

follow({
  stream: api('mint/stats/stream'),
  stats: api('mint/stats'),
  onStats(stats) {
    latest = stats;
    showStats(stats);
    tellAge(stats.age_ms);
    chart(stats, stats.age_ms);
  },
  onAge(beat) {
    if (latest) {
      latest = { ...latest, status: beat.status };
      showStats(latest);
      chart(latest, beat.age_ms);
    }
    tellAge(beat.age_ms);
  },
  onLost: () => showStatus('offline'),
});

poll(
  api(LAST_HOUR),
  (history) => {
    fill('history', history);
    showRates(history);
  },
  RATES_MS,
);

if (document.getElementById('links')) {
  poll(api('links'), (links) => {
    fill('links', links);
    showLinks(links);
  });
}

if (document.getElementById('miners-table')) {
  // The page's own ages were told when it was loaded, which its clock counts from.
  let toldAt = 0;
  const count = () => countAges(performance.now() - toldAt);
  setInterval(count, 500);
  poll(api('pool'), (pool) => {
    toldAt = performance.now();
    showPool(pool);
    count();
    charts.tell({ requested: pool.quotes.requested, hashrate: pool.hashrate });
  });
}
