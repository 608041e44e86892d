// The table of miners, as src/pages/miners.rs has it: a row for each open channel, the newest on top.

import { grouped, hashrate } from './format.js';
import { Table, write } from './table.js';

/** Vardiff aims at a share every ten seconds: a miner that works is hardly ever silent for so long. */
const QUIET_MS = 180_000;

const byId = (id) => document.getElementById(id);

const COLUMNS = [
  { label: 'Hashrate', of: (miner) => miner.hashrate, cell: (miner) => (miner.hashrate === null ? null : hashrate(miner.hashrate)) },
  { label: 'Accepted', of: (miner) => miner.accepted, cell: (miner) => grouped(miner.accepted) },
  { label: 'Rejected', of: (miner) => miner.rejected, cell: (miner) => grouped(miner.rejected) },
  { label: 'Quotes', of: (miner) => miner.quotes, cell: (miner) => grouped(miner.quotes) },
  {
    label: 'Last share',
    of: (miner) => miner.last_share_age_ms,
    cell: ({ last_share_age_ms: ageMs }) => (ageMs === null ? 'none yet' : { ageMs }),
  },
  { label: 'Connected for', of: (miner) => miner.connected_for_ms, cell: (miner) => ({ ageMs: miner.connected_for_ms }) },
  { label: 'Channel', of: (miner) => miner.kind, up: true, cell: (miner) => miner.kind },
  { label: 'Earns', of: (miner) => Number(miner.earns), cell: (miner) => (miner.earns ? 'ehash' : 'nothing: no key') },
];

let table = null;

function mark(row, miner) {
  row.dataset.earns = miner.earns;
  row.dataset.quiet = miner.last_share_age_ms > QUIET_MS;
}

/** Shows the open channels; ages are left to whoever counts them on. */
export function showMiners({ channels, channels_list: list }) {
  table ??= new Table(byId('miners-table'), { key: (miner) => miner.id, name: (miner) => miner.identity, columns: COLUMNS, mark });
  table.show([...list].sort((a, b) => b.id - a.id));
  byId('miners-empty').hidden = list.length > 0;
  write(byId('miners-empty'), channels === null ? 'This pool does not tell of its miners yet.' : 'No miner is connected. Connect one as told below: it appears here by itself.');
  const all = channels === null || channels <= list.length || list.length === 0;
  write(byId('miners-note'), all ? 'A row for each open channel, the newest first' : `The ${grouped(list.length)} channels with the newest shares, of ${grouped(channels)}`);
}
