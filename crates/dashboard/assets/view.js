// Writes what was told into the page. The server has rendered the same elements: each names its field and its form.

import { UNKNOWN, age, grouped, kinds, zoned } from './format.js';
import { showMiners } from './miners.js';
import { write } from './table.js';
import { showUnits } from './units.js';

const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const at = (data, path) => path.split('.').reduce((value, name) => value?.[name], data);

const words = new Map([...byId('reasons').children].map((item) => [item.dataset.status, item]));

/** Fills the fields of the sections that show `source`, and says why one is not known: `unknown`, or as its note has it. */
export function fill(source, data, unknown) {
  for (const section of document.querySelectorAll(`[data-source="${source}"]`)) {
    for (const element of section.querySelectorAll('[data-field]')) {
      // A section may hold one of another source.
      if (element.closest('[data-source]') !== section) continue;
      const value = at(data, element.dataset.field);
      const text = known(value) ? kinds[element.dataset.as](value) : UNKNOWN;
      if (element.dataset.as === 'age' && known(value)) {
        element.dataset.ageMs = value;
        continue;
      }
      delete element.dataset.ageMs;
      write(element, text);
      if (element.dataset.as === 'count') element.dataset.size = text.length < 11 ? '' : text.length < 16 ? 'long' : 'huge';
      if (element.dataset.as === 'time' && known(value)) element.title = zoned(value);
    }
    for (const note of section.querySelectorAll('[data-note-for]')) {
      const value = at(data, byId(note.dataset.noteFor).dataset.field);
      if (!known(value)) write(note, unknown ?? note.dataset.unknown);
      else if (!('noteFollows' in note.dataset)) write(note, note.dataset.note);
    }
  }
}

/** The parts of the bar in thousandths, as src/pages.rs has it: a state that has any quotes can be seen. */
function widths(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return counts.map(() => 0);
  const parts = counts.map((count) => (count > 0 ? Math.max(6, Math.floor((count * 1000) / total)) : 0));
  const widest = parts.indexOf(Math.max(...parts));
  parts[widest] += 1000 - parts.reduce((sum, part) => sum + part, 0);
  return parts;
}

function showBar(quotes) {
  const states = ['issued', 'paid', 'unpaid'];
  let start = 0;
  widths(states.map((state) => quotes?.[state] ?? 0)).forEach((width, index) => {
    const part = document.querySelector(`.bar [data-state="${states[index]}"]`);
    part.setAttribute('x', start);
    part.setAttribute('width', width);
    start += width;
  });
}

/** Shows the mint's statistics as `/api/v1/mint/stats` tells them. */
export function showStats(stats) {
  const key = stats.status === 'never' && stats.mint.connected ? 'waiting' : stats.status;
  fill('mint', stats, words.get(key)?.dataset.short ?? '');
  showBar(stats.quotes_by_state);
  showUnits(stats);
  showStatus(key);
  const redeemed = known(stats.quotes_redeemed) ? grouped(stats.quotes_redeemed) : UNKNOWN;
  document.title = `${redeemed} quotes redeemed · ehash ${document.documentElement.dataset.host}`;
}

/** Shows the pool's own figures as `/api/v1/pool` tells them, but for ages: see `countAges`. */
export function showPool(pool) {
  fill('pool', pool);
  const { channels, shares, quotes, template } = pool;
  if (known(pool.miners)) note('miners', channelsNote(channels));
  if (known(shares.accepted)) note('shares-accepted', shares.without_key ? `${grouped(shares.without_key)} earn nothing: no key` : 'since the pool started');
  if (known(quotes.waiting)) note('quotes-waiting', waitingNote(quotes));
  if (known(quotes.refused)) {
    const given = Object.entries(quotes.refused).filter(([, count]) => count > 0);
    const reasons = given.map(([reason, count]) => `${reason.replaceAll('_', ' ')}: ${grouped(count)}`);
    note('quotes-refused', reasons.join(', ') || 'none');
  }
  byId('templates').dataset.away = template?.connected === false;
  byId('start').hidden = quotes.requested !== 0;
  byId('step-miner').dataset.done = pool.miners > 0;
  showMiners(pool);
}

function waitingNote({ full, oldest_waiting_ms: oldest }) {
  if (full) return 'no room for more: shares are refused';
  return known(oldest) ? `the oldest for ${age(oldest)}` : 'everything is answered';
}

function channelsNote(channels) {
  if (!known(channels)) return 'connected now';
  return channels === 1 ? 'on 1 channel' : `on ${grouped(channels)} channels`;
}

/** Writes the ages in the pool's own figures: as told, and `since` milliseconds more. */
export function countAges(since) {
  for (const element of document.querySelectorAll('[data-source="pool"] [data-age-ms]')) {
    write(element, age(Number(element.dataset.ageMs) + since));
  }
}

const note = (id, text) => write(document.querySelector(`[data-note-for="${id}"]`), text);

/** Shows a status, or `offline`, in the badge and in words. */
export function showStatus(key) {
  const text = words.get(key);
  document.documentElement.dataset.status = key;
  write(byId('status'), text?.dataset.label ?? key);
  write(byId('reason'), text?.textContent ?? '');
  const mint = byId('step-mint');
  if (mint && key !== 'offline') mint.dataset.done = key !== 'never';
}

/** Shows how old the numbers are; `null` where there are none. */
export function showAge(ms) {
  byId('age').parentElement.hidden = ms === null;
  write(byId('age'), ms === null ? UNKNOWN : age(ms));
}
