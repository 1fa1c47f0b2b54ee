// SPDX-License-Identifier: Apache-2.0
'use strict';

// Numbers, sizes and times as text, and elements around them. Nothing asks the browser for its locale: whoever opens
// the file sees the same report. All text of the data goes into text nodes, since labels and paths may hold markup.

const kSectorBytes = 512;
const kDash = '\u2013';
const kNothing = '\u2014';
const kMonths = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October',
  'November', 'December'];

function append(element, children) {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== '') element.append(child);
  }
  return element;
}

// `element('td', {class: 'number'}, 'text', otherElement)`: strings become text nodes.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return append(made, children);
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return append(made, children);
}

function groups(count) {
  const [whole, fraction] = String(count).split('.');
  const parts = whole.split(/\B(?=(?:\d{3})+$)/);
  if (fraction) parts[parts.length - 1] += `.${fraction}`;
  return parts;
}

// For sentences, names of controls and drawings.
function digits(count) {
  return groups(count).join('\u202f');
}

// For everything that is copied into a shell: the gaps are margins, so the copy is a plain number.
function number(count) {
  return element('span', {class: 'num'}, groups(count).map((part) => element('span', {}, part)));
}

// "8\u201315 (8)" of a half-open range, or "8" of one; people count to the last one.
function range(begin, end) {
  if (end - begin === 1) return number(begin);
  return [number(begin), kDash, number(end - 1), ' (', number(end - begin), ')'];
}

function plural(count, one, many = `${one}s`) {
  return `${digits(count)} ${count === 1 ? one : many}`;
}

// The same steps and rounding as sizes in `remapfs status`.
function humanSize(bytes) {
  if (bytes < 1024) return plural(bytes, 'byte');
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let unit = 0;
  while (unit + 1 < units.length && bytes >= 1024 ** (unit + 2)) ++unit;
  const size = bytes / 1024 ** (unit + 1);
  return `${Number.isInteger(size) ? size : size.toFixed(1)} ${units[unit]}`;
}

function percent(part, whole) {
  if (whole === 0) return '0 %';
  const share = 100 * part / whole;
  if (part > 0 && share < 0.1) return 'under 0.1 %';
  if (part < whole && share >= 99.95) return 'over 99.9 %';
  return `${Number.isInteger(share) ? share : share.toFixed(1)} %`;
}

function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0 s';
  const words = [];
  for (const [size, unit] of parts.slice(first, first + 2)) {
    const count = Math.floor(seconds / size);
    if (count > 0) words.push(`${count} ${unit}`);
    seconds -= count * size;
  }
  return words.join(' ');
}

function two(count) {
  return String(count).padStart(2, '0');
}

// `2026-11-28 05:55:00`, in UTC: whoever shows it says so, beside it or in the head of the column.
function timeText(milliseconds) {
  const at = new Date(milliseconds);
  if (Number.isNaN(at.getTime())) return 'unknown';
  return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ` +
    `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

// A moment is text of the data, or seconds since 1970. Tables that are short of room leave the seconds out.
function time(moment, seconds = true) {
  if (moment === null || moment === undefined) return kNothing;
  const text = timeText(typeof moment === 'number' ? moment * 1000 : Date.parse(moment));
  return element('span', {class: 'time'}, seconds ? text : text.slice(0, -':00'.length));
}

function dateText(milliseconds) {
  const at = new Date(milliseconds);
  if (Number.isNaN(at.getTime())) return 'an unknown day';
  return `${at.getUTCDate()} ${kMonths[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
}

function orNothing(value) {
  return value === null || value === undefined || value === '' ? kNothing : String(value);
}

function countOrNothing(value) {
  return value === null || value === undefined ? kNothing : number(value);
}

// A table that scrolls inside its frame; the frame can be reached by keyboard, or it could not be scrolled with one.
// Columns: [heading, class]; rows: lists of text or elements; the first cell of a row names it.
function table(name, caption, columns, rows) {
  const head = element('tr', {}, columns.map(([heading, kind]) => element('th', {scope: 'col', class: kind}, heading)));
  const body = rows.map((row) => element('tr', {}, row.map((cell, index) => {
    const attributes = {class: columns[index][1]};
    if (index === 0) attributes.scope = 'row';
    return element(index === 0 ? 'th' : 'td', attributes, cell);
  })));
  return element('div', {class: 'frame', tabindex: '0', role: 'region', 'aria-label': name},
    element('table', {}, element('caption', {}, caption), element('thead', {}, head), element('tbody', {}, body)));
}

// Rows of a definition list: [term, value, note].
function definitions(list, entries) {
  for (const [term, value, note] of entries) {
    list.append(element('div', {}, element('dt', {}, term), element('dd', {}, value),
      note ? element('dd', {class: 'note'}, note) : null));
  }
}

// Shape and word tell what the colour tells.
const kBadgeShapes = {
  good: 'M6 1a5 5 0 1 0 .01 0z',
  warning: 'M6 1L11.5 11H.5z',
  wait: 'M2 1h3v10H2zM7 1h3v10H7z',
  bad: 'M2.5 1L6 4.5 9.5 1 11 2.5 7.5 6 11 9.5 9.5 11 6 7.5 2.5 11 1 9.5 4.5 6 1 2.5z',
  unknown: 'M1 5h10v2H1z',
};

function badge(tone, words) {
  const shape = drawing('svg', {viewBox: '0 0 12 12', width: 12, height: 12, 'aria-hidden': 'true'},
    drawing('path', {d: kBadgeShapes[tone]}));
  return element('span', {class: `badge ${tone}`}, shape, words);
}
