// The mint's links to its pools, as src/pages/links.rs has them.

import { grouped } from './format.js';
import { Table } from './table.js';

const byId = (id) => document.getElementById(id);

function extensions({ state, extensions: on }) {
  if (state !== 'connected') return null;
  return on.length === 0 ? 'none' : on.join(', ');
}

const COLUMNS = [
  { label: 'State', of: (link) => link.state, up: true, cell: (link) => link.state },
  { label: 'Since', of: (link) => link.since, cell: ({ since }) => (since === null ? null : { time: since }) },
  { label: 'Extensions', of: extensions, up: true, cell: extensions },
  { label: 'Sessions', of: (link) => link.sessions, cell: (link) => grouped(link.sessions) },
  { label: 'Failures in a row', of: (link) => link.failures_in_a_row, cell: (link) => grouped(link.failures_in_a_row) },
  { label: 'Last ended because', of: (link) => link.last_error, up: true, cell: (link) => link.last_error },
];

let table = null;

/** Shows the links as `/api/v1/links` tells them. */
export function showLinks({ links }) {
  const mark = (row, link) => {
    row.dataset.state = link.state;
  };
  table ??= new Table(byId('links'), { key: (link) => link.pool, name: (link) => link.pool, columns: COLUMNS, mark });
  table.show(links);
  byId('links-empty').hidden = links.length > 0;
}
