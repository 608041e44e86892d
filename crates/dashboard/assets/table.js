// A table whose rows sort by a click on a column's head, are filtered by a text, and are shown in full on demand. The
// server has rendered its head and its first rows; rows are told apart by `data-key`.

import { UNKNOWN, age, grouped, shortened, time, zoned } from './format.js';

/** Rows shown at first, as the style has it: fewer where rows are cards. */
const FIRST = matchMedia('(max-width: 60rem)').matches ? 8 : 25;

/** Texts are compared as people do: rig9 before rig10. */
const { compare: compareTexts } = new Intl.Collator('en', { numeric: true });

/** Touches the page only where something changed. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Unknown values come last, whichever way round. */
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === 'string' ? compareTexts(a, b) : a < b ? -1 : a > b ? 1 : 0;
  return descending ? -order : order;
}

/** A cell: a text, or `{ ageMs }` that whoever counts ages writes, or `{ time }`. */
function fill(cell, value) {
  const span = cell.firstElementChild;
  if (value?.ageMs !== undefined) {
    if (span.dataset.ageMs === undefined) write(span, age(value.ageMs));
    span.dataset.ageMs = value.ageMs;
    return;
  }
  delete span.dataset.ageMs;
  if (value?.time !== undefined) {
    write(span, time(value.time));
    if (span.title === '' || span.dataset.time !== value.time) span.title = zoned(value.time);
    span.dataset.time = value.time;
    return;
  }
  write(span, value ?? UNKNOWN);
}

/**
 * `key` and `name` of an item, its `cells` in the order of the `columns` after the first, each with its `label` and the
 * value that it is sorted by (`null`: unknown); `mark` sets what a row looks like.
 */
export class Table {
  constructor(table, { key, name, columns, mark = () => {} }) {
    Object.assign(this, { table, key, name, columns, mark });
    this.body = table.tBodies[0];
    this.rows = new Map([...this.body.rows].map((row) => [row.dataset.key, row]));
    this.items = [];
    this.sorting = null;
    this.filter = '';
    this.heads();
    this.tools();
  }

  /** A button in each head. */
  heads() {
    this.sorts = [{ label: 'Name', of: this.name, up: true }, ...this.columns];
    const heads = [...this.table.tHead.rows].at(-1).cells;
    this.sorts.forEach((sort, index) => {
      const button = element('button', { type: 'button', className: 'sort', textContent: heads[index].textContent });
      button.addEventListener('click', () => this.sortBy(index));
      heads[index].replaceChildren(button);
    });
    this.headCells = heads;
  }

  /** The field to filter by, and for phones, which show no heads, a choice of what to sort by. */
  tools() {
    const tools = document.querySelector(`.tools[data-for="${this.table.id}"]`);
    if (!tools) return;
    const { things } = tools.dataset;
    const field = element('input', { type: 'search', placeholder: `Filter ${things}`, ariaLabel: `Filter ${things}`, autocomplete: 'off', spellcheck: false });
    field.addEventListener('input', () => {
      this.filter = field.value.trim().toLowerCase();
      this.draw();
    });
    this.choice = element('select', { ariaLabel: `Sort ${things} by` }, element('option', { value: '', textContent: 'Sort by …' }));
    this.sorts.forEach(({ label }, index) => this.choice.append(element('option', { value: index, textContent: label })));
    this.choice.addEventListener('change', () => {
      this.sorting = null;
      if (this.choice.value === '') this.draw();
      else this.sortBy(Number(this.choice.value));
    });
    tools.append(field, this.choice);
    this.toolBar = tools;
    this.found = element('p', { className: 'note found', role: 'status' });
    this.more = element('button', { type: 'button', className: 'more', hidden: true });
    this.more.addEventListener('click', () => {
      this.table.toggleAttribute('data-all');
      this.draw();
    });
    this.table.after(this.found, this.more);
  }

  /** By this column: the useful way round first, then the other, then as the server has it. */
  sortBy(index) {
    const up = this.sorts[index].up === true;
    const present = this.sorting?.index === index ? this.sorting : null;
    if (present === null) this.sorting = { index, descending: !up };
    else if (present.descending !== up) this.sorting = { index, descending: up };
    else this.sorting = null;
    [...this.headCells].forEach((head, at) => {
      if (at !== this.sorting?.index) head.removeAttribute('aria-sort');
      else head.setAttribute('aria-sort', this.sorting.descending ? 'descending' : 'ascending');
    });
    if (this.choice) this.choice.value = this.sorting?.index ?? '';
    this.draw();
  }

  newRow(item) {
    const row = element('tr', { role: 'row' });
    row.dataset.key = this.key(item);
    const name = this.name(item);
    row.append(element('th', { scope: 'row', role: 'rowheader', title: name, textContent: shortened(name) }));
    for (const { label, cellLabel } of this.columns) {
      const cell = element('td', { role: 'cell' }, document.createElement('span'));
      cell.dataset.label = cellLabel ?? label;
      row.append(cell);
    }
    return row;
  }

  /** Shows these items; rows of others go. */
  show(items) {
    this.items = items;
    const kept = new Map();
    for (const item of items) {
      const key = String(this.key(item));
      const row = this.rows.get(key) ?? this.newRow(item);
      this.columns.forEach(({ cell }, index) => fill(row.cells[index + 1], cell(item)));
      this.mark(row, item);
      kept.set(key, row);
    }
    this.rows = kept;
    this.draw();
  }

  draw() {
    const fits = (item) => this.filter === '' || this.name(item).toLowerCase().includes(this.filter);
    const found = this.items.filter(fits);
    if (this.sorting) {
      const { index, descending } = this.sorting;
      const { of } = this.sorts[index];
      found.sort((a, b) => compare(of(a), of(b), descending));
    }
    const wanted = found.map((item) => this.rows.get(String(this.key(item))));
    const present = this.body.rows;
    if (wanted.length !== present.length || wanted.some((row, index) => present[index] !== row)) this.body.replaceChildren(...wanted);
    this.table.hidden = this.items.length === 0;
    if (!this.toolBar) return;
    this.toolBar.hidden = this.items.length < 2;
    const all = this.table.hasAttribute('data-all');
    this.more.hidden = found.length <= FIRST;
    write(this.more, all ? 'Show fewer' : `Show all ${grouped(found.length)}`);
    write(this.found, this.filter === '' ? '' : `${grouped(found.length)} of ${grouped(this.items.length)}`);
  }
}
