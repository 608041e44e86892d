// Keeps the page going: the mint's statistics from the stream, the pool's own figures by polling, the age by counting.

import { follow, poll } from './feed.js';
import { countAges, showAge, showPool, showStats, showStatus } from './view.js';

// Relative to this script, so that the page works under any path that a reverse proxy gives it.
const api = (path) => new URL(`../api/v1/${path}`, import.meta.url);

/** How old the numbers were when the server last told, and when that was by this page's own steady clock. */
let told = { age: null, at: 0 };
const atLoad = document.getElementById('age').dataset.ageMs;
if (atLoad !== undefined) told = { age: Number(atLoad), at: 0 };

function tellAge(ms) {
  told = { age: ms, at: performance.now() };
  countAge();
}

function countAge() {
  showAge(told.age === null ? null : told.age + performance.now() - told.at);
}

setInterval(countAge, 500);

let latest = null;

follow({
  stream: api('mint/stats/stream'),
  stats: api('mint/stats'),
  onStats(stats) {
    latest = stats;
    showStats(stats);
    tellAge(stats.age_ms);
  },
  onAge(beat) {
    if (latest) {
      latest = { ...latest, status: beat.status };
      showStats(latest);
    }
    tellAge(beat.age_ms);
  },
  onLost: () => showStatus('offline'),
});

if (document.querySelector('[data-source="pool"]')) {
  // The page's own ages were told when it was loaded, which its clock counts from.
  let toldAt = 0;
  const count = () => countAges(performance.now() - toldAt);
  setInterval(count, 500);
  poll(api('pool'), (pool) => {
    toldAt = performance.now();
    showPool(pool);
    count();
  });
}
