// The table of miners, as src/pages/miners.rs has it: a row for each open channel, the newest on top.

import { UNKNOWN, grouped, hashrate } from './format.js';

const LABELS = ['Hashrate', 'Accepted', 'Rejected', 'Last share', 'Connected for', 'Channel', 'Earns'];

function newRow({ id, identity }) {
  const tr = document.createElement('tr');
  tr.dataset.channel = id;
  const head = document.createElement('th');
  head.scope = 'row';
  head.textContent = identity;
  tr.append(head);
  for (const label of LABELS) {
    const cell = document.createElement('td');
    cell.dataset.label = label;
    cell.append(document.createElement('span'));
    tr.append(cell);
  }
  return tr;
}

/** Text, or a number of milliseconds that counts on. */
function fields(miner) {
  return [
    miner.hashrate === null ? UNKNOWN : hashrate(miner.hashrate),
    grouped(miner.accepted),
    grouped(miner.rejected),
    miner.last_share_age_ms ?? 'none yet',
    miner.connected_for_ms,
    miner.kind,
    miner.earns ? 'ehash' : 'nothing: no key',
  ];
}

/** Shows the open channels. Rows of channels that are gone go too; ages are left to whoever counts them on. */
export function showMiners({ channels, channels_list: list }, write) {
  const byId = (id) => document.getElementById(id);
  const table = byId('miners-table');
  const body = table.tBodies[0];
  const rows = new Map([...body.rows].map((tr) => [tr.dataset.channel, tr]));
  const wanted = [...list]
    .sort((a, b) => b.id - a.id)
    .map((miner) => {
      const tr = rows.get(String(miner.id)) ?? newRow(miner);
      tr.dataset.earns = miner.earns;
      fields(miner).forEach((field, index) => {
        const element = tr.cells[index + 1].firstElementChild;
        if (typeof field === 'number') {
          element.dataset.ageMs = field;
        } else {
          delete element.dataset.ageMs;
          write(element, field);
        }
      });
      return tr;
    });
  if (wanted.length !== body.rows.length || wanted.some((tr, index) => body.rows[index] !== tr)) body.replaceChildren(...wanted);
  table.hidden = wanted.length === 0;
  byId('miners-empty').hidden = wanted.length > 0;
  write(byId('miners-empty'), channels === null ? 'This pool does not tell of its miners yet.' : 'No miner is connected. Connect one as told below: it appears here by itself.');
  const all = channels === null || channels <= wanted.length || wanted.length === 0;
  write(byId('miners-note'), all ? 'A row for each open channel, the newest first' : `The ${grouped(wanted.length)} channels with the newest shares, of ${grouped(channels)}`);
}
