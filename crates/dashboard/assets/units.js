// The table of units, as src/pages.rs has it: the newest on top.

import { grouped } from './format.js';
import { Table, write } from './table.js';

const byId = (id) => document.getElementById(id);

const quotes = (state) => ({ label: `Quotes ${state}`, of: (unit) => unit.quotes[state], cell: (unit) => grouped(unit.quotes[state]) });
// Amounts may pass 2^53.
const amounts = (state) => ({ label: `Amount ${state}`, of: (unit) => BigInt(unit.amounts[state]), cell: (unit) => grouped(unit.amounts[state]) });

const COLUMNS = [
  ...['issued', 'paid', 'unpaid'].map(quotes),
  ...['issued', 'paid', 'unpaid'].map(amounts),
  {
    label: 'Last issued',
    of: (unit) => (unit.last_issued_at === null ? null : Date.parse(unit.last_issued_at)),
    cell: ({ last_issued_at: at }) => (at === null ? 'never' : { time: at }),
  },
];

let table = null;

/** Shows the units, on the page that has their table. */
export function showUnits({ units, units_total: total }) {
  if (!byId('units')) return;
  const list = [...(units ?? [])].reverse();
  table ??= new Table(byId('units'), { key: ({ unit }) => unit, name: ({ unit }) => unit, columns: COLUMNS });
  table.show(list);
  write(byId('units-note'), total > list.length ? `the newest ${list.length} of ${total}` : 'the newest first');
  byId('units-empty').hidden = list.length > 0;
}
