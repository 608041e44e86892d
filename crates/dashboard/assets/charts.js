// The charts: the server's history of a range, and its newest slot kept going by what the page hears meanwhile.

/* global uPlot */

import { age, compact, grouped, hashrate, rate } from './format.js';
import { write } from './table.js';

const HEIGHT = 190;
/** How often the server's own history is asked for again: it knows what this page did not hear. */
const REFRESH_MS = { 3600: 60_000, 86400: 300_000, 2592000: 900_000 };
/** How soon after no answer: what is drawn may be of another range. */
const RETRY_MS = 5_000;
const DRAW_MS = 2_000;

const root = document.getElementById('charts');
const hours = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });

/** Steps of an axis that counts things. */
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** Steps of an axis of ages, in milliseconds: those that `age` writes whole. */
const AGES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 172800, 432000].map((s) => s * 1000);

/** What a chart shows: its series, each with its name, its colour's class, how it is written, and how it is made. */
const CHARTS = {
  rate: {
    series: [
      { name: 'requested', column: 'requested', colour: 'requested', form: rate, make: perMinute, poolOnly: true },
      { name: 'redeemed', column: 'redeemed', colour: 'issued', form: rate, make: perMinute, fill: true },
    ],
    axis: compact,
  },
  states: {
    series: [
      { name: 'issued', column: 'issued', colour: 'issued', form: grouped, fill: true },
      { name: 'paid', column: 'paid', colour: 'paid', form: grouped, right: true },
      { name: 'unpaid', column: 'unpaid', colour: 'unpaid', form: grouped, right: true },
    ],
    axis: compact,
    steps: WHOLE,
    free: true,
  },
  age: {
    series: [
      { name: 'greatest age', column: 'age_ms', colour: 'issued', form: age, fill: true },
      { name: 'stale beyond', column: 'stale_ms', colour: 'paid', form: age, dash: [4, 4], still: true },
    ],
    axis: (ms) => (ms === 0 ? '0' : age(ms)),
    steps: AGES,
  },
  hashrate: {
    series: [{ name: 'all miners', column: 'hashrate', colour: 'issued', form: hashrate, fill: true }],
    axis: hashrate,
  },
};

/** The newest slot is not over: it has a rate once so much of it is. */
const ENOUGH_SECONDS = 20;

/** Totals to rates: what was added within a minute at least. A total that fell has no rate. */
function perMinute(totals, slots) {
  const { step, length } = slots;
  const back = Math.max(1, Math.round(60 / step));
  return totals.map((total, index) => {
    const before = totals[index - back];
    if (total === null || before === undefined || before === null || total < before) return null;
    const seconds = index < length - 1 ? back * step : (back - 1) * step + slots.open();
    return seconds < ENOUGH_SECONDS ? null : ((total - before) * 60) / seconds;
  });
}

/** The slots of one range: the server's, and newer ones as time goes on. Never more than the server would have. */
class Slots {
  constructor(history) {
    this.now = history.now;
    this.asked = performance.now();
    this.step = history.step;
    this.from = history.from;
    this.columns = {};
    for (const [name, column] of Object.entries(history)) {
      if (Array.isArray(column) && name !== 'rates') this.columns[name] = column;
    }
    this.length = history.redeemed.length;
  }

  /** The server's time, in Unix seconds. */
  present() {
    return this.now + (performance.now() - this.asked) / 1000;
  }

  /** How many seconds of the newest slot are over. */
  open() {
    return this.present() % this.step;
  }

  /** Opens the slots that have begun meanwhile, and closes the oldest. */
  advance() {
    const last = Math.floor(this.present() / this.step) * this.step;
    const missing = Math.max(0, (last - this.from) / this.step - this.length + 1);
    for (const column of Object.values(this.columns)) {
      column.splice(0, Math.min(missing, this.length));
      while (column.length < this.length) column.push(null);
    }
    this.from += missing * this.step;
  }

  note(name, value, merge = (_, next) => next) {
    const column = this.columns[name];
    if (!column || value === null || value === undefined) return;
    const last = column.length - 1;
    column[last] = column[last] === null ? value : merge(column[last], value);
  }

  times() {
    return Array.from({ length: this.length }, (_, index) => this.from + index * this.step);
  }
}

const translucent = (colour) => colour.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.13)');

/** A value between two gaps makes no line: it is a point. */
function lonely({ data }, series) {
  const column = data[series];
  const known = (index) => column[index] !== null && column[index] !== undefined;
  return [...column.keys()].filter((index) => known(index) && !known(index - 1) && !known(index + 1));
}

/** One chart in its figure. */
class Chart {
  constructor(figure, spec) {
    this.figure = figure;
    this.box = figure.querySelector('.plot');
    this.spec = spec;
    this.values = [];
    this.keys = figure.querySelector('ul');
    this.at = figure.querySelector('.at');
    for (const { name, colour } of spec.series) {
      const key = document.createElement('span');
      key.className = `key ${colour}`;
      key.ariaHidden = 'true';
      const value = document.createElement('b');
      const item = document.createElement('li');
      item.append(key, `${name} `, value);
      this.keys.append(item);
      this.values.push({ key, value });
    }
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(this.box);
  }

  /** Draws these columns; makes the plot anew where there is none. */
  draw(slots, range) {
    const series = this.spec.series.map(({ column, make }) => {
      const values = slots.columns[column] ?? Array(slots.length).fill(null);
      return make ? make(values, slots) : values;
    });
    this.range = range;
    const data = [slots.times(), ...series];
    if (this.plot) this.plot.setData(data);
    else this.plot = new uPlot(this.options(), data, this.box);
    this.tell();
  }

  /** Other colours hold: the canvas does not know. */
  forget() {
    this.plot?.destroy();
    this.plot = null;
  }

  /** The legend: the values under the cursor, or the newest ones. The newest slot may have just begun. */
  tell() {
    const { data, cursor } = this.plot;
    this.spec.series.forEach(({ form }, index) => {
      const column = data[index + 1];
      const value = cursor.idx == null ? column.at(-1) ?? column.at(-2) ?? null : column[cursor.idx] ?? null;
      write(this.values[index].value, value === null ? '–' : form(value));
    });
    write(this.at, cursor.idx == null ? '' : moment.format(data[0][cursor.idx] * 1000));
  }

  options() {
    const style = getComputedStyle(this.keys);
    const line = getComputedStyle(this.figure).borderTopColor;
    const axis = { stroke: style.color, font: `12px ${style.fontFamily}`, ticks: { show: false }, grid: { stroke: line, width: 1 } };
    // Where nothing is known the numbers of a scale mean nothing.
    const numbers = (plot, splits) => {
      const known = plot.data.slice(1).some((column) => column.some((value) => value !== null));
      if (!known) return splits.map(() => '');
      const texts = splits.map(this.spec.axis);
      // Beside each other, short numbers may all read the same.
      return new Set(texts).size === texts.length ? texts : splits.map(grouped);
    };
    const incrs = this.spec.steps;
    const colours = this.values.map(({ key }) => getComputedStyle(key).backgroundColor);
    const right = this.spec.series.some((series) => series.right);
    const fromZero = (_, low, high) => [0, high > 0 ? high * 1.1 : 4];
    const free = (_, low, high) => {
      if (low === null) return [0, 4];
      const room = Math.max((high - low) * 0.08, high === low ? 1 : 0);
      return [Math.max(0, low - room), high + room];
    };
    return {
      width: this.box.clientWidth,
      height: HEIGHT,
      padding: [12, right ? 0 : 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, sync: { key: 'time' }, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: this.spec.free ? free : fromZero }, right: { range: fromZero } },
      axes: [
        { ...axis, size: 30, grid: { show: false }, space: 64, incrs: [60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000], splits: localSplits, values: (_, splits) => splits.map((at) => (this.range > 86400 ? days : hours).format(at * 1000)) },
        { ...axis, size: this.spec.axis === hashrate ? 74 : 66, space: 34, incrs, values: numbers },
        ...(right ? [{ ...axis, side: 1, scale: 'right', size: 44, space: 34, incrs, grid: { show: false }, values: numbers }] : []),
      ],
      series: [
        {},
        ...this.spec.series.map((series, index) => ({
          label: series.name,
          scale: series.right ? 'right' : 'y',
          stroke: colours[index],
          fill: series.fill ? translucent(colours[index]) : undefined,
          width: 1.75,
          dash: series.dash,
          points: { show: true, size: 4, width: 0, fill: colours[index], filter: lonely },
        })),
      ],
      hooks: { setCursor: [() => this.plot && this.tell()] },
    };
  }
}

/** Splits at round local times: uPlot's own are round in UTC. */
function localSplits(_, __, min, max, increment) {
  const shift = new Date(min * 1000).getTimezoneOffset() * -60;
  const first = Math.ceil((min + shift) / increment) * increment - shift;
  const splits = [];
  for (let at = first; at <= max; at += increment) splits.push(at);
  return splits;
}

/**
 * Draws the charts while `whileVisible` says so. `ask` gets JSON of a path of the API. Returns what tells them news:
 * `tell(values)` of the newest slot, and `repaint()`.
 */
export function startCharts({ ask, whileVisible }) {
  // The mint's page is about the mint alone, and so are its charts.
  const isPool = root.querySelector('[data-chart="hashrate"]') !== null;
  const charts = [...root.querySelectorAll('[data-chart]')].map((figure) => {
    const spec = CHARTS[figure.dataset.chart];
    return new Chart(figure, { ...spec, series: spec.series.filter((series) => isPool || !series.poolOnly) });
  });
  let range = 3600;
  let slots = null;
  let staleAfter = null;
  /** What was told of the present: a history that comes later may lack it. */
  let heard = {};
  let restart = () => {};

  const noteHeard = () => {
    const { redeemed, states, requested, hashrate: work } = heard;
    slots.note('redeemed', redeemed);
    for (const state of ['issued', 'paid', 'unpaid']) slots.note(state, states?.[state]);
    slots.note('requested', requested);
    slots.note('hashrate', work);
  };

  const draw = () => {
    if (!slots) return;
    slots.advance();
    slots.columns.stale_ms = Array(slots.length).fill(staleAfter);
    for (const chart of charts) chart.draw(slots, range);
  };

  whileVisible(() => {
    let stopped = false;
    let timer;
    const load = async () => {
      clearTimeout(timer);
      const asked = range;
      // What is there is kept if there is no answer; the badge says that nothing is heard.
      const history = await ask(`mint/stats/history?from=-${asked}`).catch(() => null);
      // Another question is on its way where another range was chosen meanwhile.
      if (stopped || asked !== range) return;
      timer = setTimeout(load, history ? REFRESH_MS[asked] : RETRY_MS);
      if (!history) return;
      slots = new Slots(history);
      slots.advance();
      noteHeard();
      draw();
    };
    restart = load;
    load();
    const drawing = setInterval(draw, DRAW_MS);
    return () => {
      stopped = true;
      heard = {};
      restart = () => {};
      clearTimeout(timer);
      clearInterval(drawing);
    };
  });

  const buttons = [...root.querySelectorAll('[data-range]')];
  for (const button of buttons) {
    button.addEventListener('click', () => {
      range = Number(button.dataset.range);
      for (const other of buttons) other.ariaPressed = String(other === button);
      restart();
    });
  }

  return {
    tell({ ageMs, staleAfterMs, ...totals }) {
      Object.assign(heard, totals);
      const drawnOtherwise = staleAfterMs !== undefined && staleAfterMs !== staleAfter;
      if (drawnOtherwise) staleAfter = staleAfterMs;
      if (!slots) return;
      slots.advance();
      noteHeard();
      slots.note('age_ms', ageMs, Math.max);
      if (drawnOtherwise) draw();
    },
    repaint() {
      for (const chart of charts) chart.forget();
      draw();
    },
  };
}
