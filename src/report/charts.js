// SPDX-License-Identifier: Apache-2.0

// Counts over time as steps, one panel a series under one axis: blocks and sectors do not share a scale. And the bar
// of the spare.

const kChart = {left: 62, right: 14, panel: 76, title: 36, axis: 30};
const kHour = 3600e3;
const kDay = 24 * kHour;
const kTimeSteps = [kHour, 3 * kHour, 6 * kHour, 12 * kHour, kDay, 2 * kDay, 7 * kDay, 14 * kDay];
const kMonthSteps = [1, 3, 6, 12, 24, 60, 120];

// The next round number at or above a maximum that gives two whole steps.
function niceMaximum(value) {
  if (value <= 2) return 2;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const factor of [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10]) {
    const rounded = Math.round(factor * power * 10) / 10;
    if (rounded >= value && Number.isInteger(rounded) && rounded % 2 === 0) return rounded;
  }
  return 10 * power;
}

// Times and words of the ticks between two times, at most `most` of them; in UTC.
function timeTicks(begin, end, most) {
  const ticks = [];
  const step = kTimeSteps.find((each) => (end - begin) / each <= most);
  if (step) {
    for (let at = Math.ceil(begin / step) * step; at <= end; at += step) {
      const date = new Date(at);
      const day = `${date.getUTCDate()} ${kMonths[date.getUTCMonth()].slice(0, 3)}`;
      ticks.push([at, at % kDay === 0 ? day : `${two(date.getUTCHours())}:00`]);
    }
    return ticks;
  }
  const months = (end - begin) / (30.4 * kDay);
  const stride = kMonthSteps.find((each) => months / each <= most) || 240;
  const first = new Date(begin);
  const origin = first.getUTCFullYear() * 12 + first.getUTCMonth();
  for (let month = Math.ceil(origin / stride) * stride; ; month += stride) {
    const at = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (at > end) return ticks;
    const name = stride >= 12 ? '' : `${kMonths[month % 12].slice(0, 3)} `;
    if (at >= begin) ticks.push([at, `${name}${Math.floor(month / 12)}`]);
  }
}

class StepChart {
  // series: [{name, one, tone, values}], all as long as `times`; null is a value nobody read.
  constructor(host, name, times, end, series) {
    this.times = times;
    this.series = series;
    // The last values hold until the report was made; a single moment gets a day, or there were no axis.
    this.end = Math.max(end, times[times.length - 1]);
    this.begin = this.end - times[0] < kHour ? this.end - kDay : times[0];
    this.index = times.length - 1;
    this.picture = drawing('svg', {'aria-hidden': 'true'});
    this.readout = element('p', {class: 'readout', role: 'status', 'aria-live': 'polite'});
    this.frame = element('div', {class: 'chart', tabindex: '0', role: 'application', 'aria-label': name}, this.picture);
    host.append(this.frame, this.readout);
    this.listen();
    this.draw(this.frame.clientWidth);
    new ResizeObserver(() => this.draw(this.frame.clientWidth)).observe(this.frame);
  }

  listen() {
    this.frame.addEventListener('pointermove', (event) => {
      const box = this.picture.getBoundingClientRect();
      const x = (event.clientX - box.left) * this.width / box.width;
      const at = this.begin + (x - kChart.left) / (this.width - kChart.left - kChart.right) * (this.end - this.begin);
      const after = this.times.findIndex((time) => time > at);
      this.read(Math.max(0, (after < 0 ? this.times.length : after) - 1));
    });
    this.frame.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const last = this.times.length - 1;
      const moves = {ArrowLeft: this.index - 1, ArrowRight: this.index + 1, Home: 0, End: last};
      if (!Object.hasOwn(moves, event.key)) return;
      event.preventDefault();
      this.read(Math.min(last, Math.max(0, moves[event.key])));
    });
  }

  x(at) {
    const room = this.width - kChart.left - kChart.right;
    return kChart.left + (at - this.begin) / (this.end - this.begin) * room;
  }

  draw(width) {
    if (width <= 0 || width === this.width) return;
    this.width = width;
    const height = this.series.length * (kChart.panel + kChart.title) + kChart.axis;
    this.picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.cursor = drawing('line', {class: 'cursor', y1: 0, y2: height - kChart.axis});
    const base = height - kChart.axis;
    const ticks = timeTicks(this.begin, this.end, Math.max(2, Math.floor((width - kChart.left) / 84)));
    const parts = ticks.flatMap(([at, words]) => [
      drawing('line', {class: 'grid-line', x1: this.x(at), x2: this.x(at), y1: kChart.title, y2: base}),
      drawing('text', {class: 'tick', x: Math.min(this.x(at), width - 28), y: base + 18, 'text-anchor': 'middle'},
        words)]);
    this.series.forEach((series, i) => parts.push(...this.panel(series, i * (kChart.panel + kChart.title))));
    this.picture.replaceChildren(...parts, this.cursor);
    this.read(this.index);
  }

  panel(series, offset) {
    const base = offset + kChart.title + kChart.panel;
    const most = niceMaximum(Math.max(0, ...series.values.filter((value) => value !== null)));
    const y = (value) => base - value / most * kChart.panel;
    const right = this.width - kChart.right;
    const parts = [drawing('text', {class: 'title', x: kChart.left, y: base - kChart.panel - 10}, series.name)];
    for (const value of [0, most / 2, most]) {
      const place = {x1: kChart.left, x2: right, y1: y(value), y2: y(value)};
      parts.push(drawing('line', {class: value === 0 ? 'base-line' : 'grid-line', ...place}),
        drawing('text', {class: 'tick', x: kChart.left - 8, y: y(value) + 4, 'text-anchor': 'end'}, digits(value)));
    }
    const known = this.times.map((at, i) => [at, series.values[i]]).filter(([, value]) => value !== null);
    if (known.length === 0) return parts;
    const at = (time) => this.x(time).toFixed(1);
    const line = known.slice(1).map(([time, value]) => `H${at(time)}V${y(value).toFixed(1)}`).join('');
    const [x, top] = [at(known[0][0]), y(known[0][1]).toFixed(1)];
    parts.push(
      drawing('path', {class: `fill ${series.tone}`, d: `M${x} ${base}V${top}${line}H${at(this.end)}V${base}z`}),
      drawing('path', {class: `line ${series.tone}`, d: `M${x} ${top}${line}H${at(this.end)}`}));
    return parts;
  }

  read(index) {
    this.index = index;
    const x = this.x(Math.max(this.begin, this.times[index]));
    this.cursor.setAttribute('x1', x);
    this.cursor.setAttribute('x2', x);
    const words = this.series.map(({values, one}) =>
      (values[index] === null ? `${one}s unknown` : plural(values[index], one)));
    this.readout.replaceChildren(time(this.times[index] / 1000), ` UTC: ${words.join(', ')}`);
  }
}

// "From 3 to 27 lost sectors", and which of the kinds there were none of.
function growthInWords(times, end, series) {
  const changes = series.filter(({values}) => values.some((value) => value)).map(({values, one}) => {
    const [first, last] = [values[0], values[values.length - 1]];
    return first === last ? `${plural(last, one)} all the time` : `${digits(first)} to ${plural(last, one)}`;
  });
  const none = series.filter(({values}) => !values.some((value) => value)).map(({one}) => `${one}s`);
  const period = `From ${dateText(times[0])} to ${dateText(end)} (UTC)`;
  return `${period}: ${changes.join('; ') || 'no change'}${none.length ? `; no ${none.join(' and no ')}` : ''}.`;
}

function showGrowth(host, growth, end) {
  if (growth.length === 0) {
    host.append(element('p', {class: 'summary'}, 'There are no entries, so nothing has grown.'));
    return;
  }
  const times = growth.map(([at]) => Date.parse(at));
  const series = [['Lost sectors', 'lost sector', 'lost', 2], ['Remapped blocks', 'remapped block', 'remapped', 1],
    ['Weak blocks', 'weak block', 'weak', 3]]
    .map(([name, one, tone, column]) => ({name, one, tone, values: growth.map((row) => row[column])}));
  host.append(element('p', {class: 'summary'}, growthInWords(times, end, series)));
  host.append(element('p', {class: 'note'}, 'Counted are the entries that exist today, by when they appeared.'));
  const there = series.filter(({values}) => values.some((value) => value > 0));
  if (there.length > 0) new StepChart(host, 'Chart of the growth: arrow keys read its values', times, end, there);
}

// The same steps as in the forecast of `remapfs status --watch`.
function rateText(perDay) {
  if (perDay >= 10) return `${digits(Math.round(perDay))} slots a day`;
  return perDay >= 0.95 ? `${perDay.toFixed(1)} slots a day` : `${(perDay * 7).toFixed(1)} slots a week`;
}

function forecastSentence(forecast) {
  const {slots_free: free, slots_total: total, slots_per_day: rate, runs_out_at: end, basis} = forecast;
  if (total === 0) return 'The volume has no slots: nothing can be remapped.';
  if (free === 0) return 'The spare is full: nothing more can be remapped until a spare is added.';
  // "rate of the last 7 days" or "rate since the volume was made".
  const period = basis.replace(/^rate of /, 'in ').replace(/^rate /, '');
  if (rate === null || rate === 0) return `No slot was taken ${period}.`;
  const start = `At ${rateText(rate)}`;
  if (end === null) return `${start} the spare lasts for more than a century.`;
  return `${start} the spare is full about ${dateText(Date.parse(end))}.`;
}

function showSpare(host, forecast) {
  const {slots_free: free, slots_total: total, basis} = forecast;
  const used = total - free;
  host.append(element('p', {class: 'summary', id: 'forecast'}, forecastSentence(forecast)));
  const share = total === 0 ? 0 : 100 * used / total;
  // One used slot of a million is seen, and so is the last free one.
  const shown = used === 0 ? 0 : free === 0 ? 100 : Math.min(99.5, Math.max(0.5, share));
  host.append(drawing('svg', {class: 'bar', 'aria-hidden': 'true'},
    drawing('rect', {class: 'area free', x: '0', y: '0', width: '100%', height: '100%'}),
    drawing('rect', {class: 'area used', x: '0', y: '0', width: `${shown}%`, height: '100%'})));
  host.append(element('p', {class: 'bar-ends'}, element('span', {}, number(used), ` used (${percent(used, total)})`),
    element('span', {}, number(free), ' free of ', number(total))));
  if (forecast.slots_per_day) {
    host.append(element('p', {class: 'note'}, `Basis: ${basis}. It is a guess, not a promise.`));
  }
}
