// SPDX-License-Identifier: Apache-2.0

// How cells become shapes. Drawings are SVG, not a canvas: they take their colours from the style sheet, so dark
// screens and white paper need no second drawing, and they stay sharp at any size.

const kTallestGrid = 520;
const kSmallestPitch = 8;
const kLargestPitch = 40;

function cellGap(pitch) {
  return pitch >= 20 ? 2 : 1;
}

function cellSize(pitch) {
  return pitch - cellGap(pitch);
}

// Columns, rows and pitch (cell and gap) for a whole disk in `width` pixels; a cell is 2^level blocks, so the rows
// begin at round offsets. The finest cells win, then the largest.
function gridShape(blocks, width) {
  const margin = width < 500 ? 58 : 70;
  let best = null;
  for (const columns of [8, 16, 32, 64]) {
    const pitch = Math.min(kLargestPitch, Math.floor((width - margin) / columns));
    if (best && pitch < kSmallestPitch) continue;
    const mostRows = Math.max(1, Math.floor(kTallestGrid / Math.max(1, pitch)));
    let level = 0;
    while (Math.ceil(blocks / (columns * 2 ** level)) > mostRows) ++level;
    const rows = Math.ceil(blocks / (columns * 2 ** level));
    if (!best || level < best.level || (level === best.level && pitch > best.pitch)) {
      // The right edge is that of the page, unless the cells are few and large.
      const left = pitch === kLargestPitch ? margin : width - columns * pitch + cellGap(pitch);
      best = {columns, rows, pitch, level, left};
    }
  }
  return best;
}

// How much of a cell: pale is little of it, and vague is somewhere in it or in its neighbours.
const kManners = ['dense', 'pale', 'vague'];
const kPaleBelow = 0.1;

// A cell at (x, y): `area` is filled, `mark` is drawn over it. Each kind has its own mark, for eyes and printers that
// do not tell the colours apart: lost a cross, remapped a stroke, weak a dot.
function cellShape(kind, manner, x, y, size) {
  const low = size * 0.28;
  const high = size - low;
  const middle = size / 2;
  const line = (x1, y1, x2, y2) => `M${x + x1} ${y + y1}L${x + x2} ${y + y2}`;
  const area = `M${x} ${y}h${size}v${size}h${-size}z`;
  if (manner === 'vague') return {area, mark: ''};
  switch (kKinds[kind]) {
    case 'lost':
      return {area, mark: `${line(low, low, high, high)}${line(high, low, low, high)}`};
    case 'remapped': return {area, mark: line(low, high, high, low)};
    case 'weak': return {area, mark: `M${x + middle} ${y + middle}h.01`};
    default: return {area, mark: ''};
  }
}


// The paths of many cells at once: one path a kind is fast where two thousand elements are not.
class CellPaths {
  constructor() {
    this.group = drawing('g');
    this.paths = new Map();
    const names = kManners.flatMap((manner) => kKinds.slice(1).map((kind) => `${manner} ${kind}`));
    for (const name of ['none', ...names]) {
      const area = drawing('path', {class: `area ${name}`});
      const mark = drawing('path', {class: `mark ${name}`});
      this.paths.set(name, {area, mark});
      this.group.append(area, mark);
    }
  }

  draw(cells, columns, pitch, left) {
    const text = new Map([...this.paths.keys()].map((name) => [name, {area: [], mark: []}]));
    const size = cellSize(pitch);
    this.group.setAttribute('stroke-width', Math.max(1, size / 8).toFixed(2));
    cells.kinds.forEach((kind, i) => {
      const x = left + (i % columns) * pitch;
      const y = Math.floor(i / columns) * pitch;
      const manner = cells.vague[i] === 1 ? 'vague' : cells.shares[i] < kPaleBelow ? 'pale' : 'dense';
      // A frame of one pixel lies on whole pixels inside its cell.
      const inset = kind === 0 || manner === 'dense' ? 0 : 0.5;
      const shape = cellShape(kind, manner, x + inset, y + inset, size - 2 * inset);
      const parts = text.get(kind === 0 ? 'none' : `${manner} ${kKinds[kind]}`);
      parts.area.push(shape.area);
      parts.mark.push(shape.mark);
    });
    for (const [name, {area, mark}] of this.paths) {
      area.setAttribute('d', text.get(name).area.join(''));
      mark.setAttribute('d', text.get(name).mark.join(''));
    }
  }
}

// One cell on its own, for the key.
function sampleCell(kind, share, vague = 0) {
  const paths = new CellPaths();
  paths.draw({kinds: Uint8Array.of(kind), shares: Float64Array.of(share), vague: Uint8Array.of(vague)}, 1, 17, 0);
  return drawing('svg', {viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true'}, paths.group);
}

const kStripHeight = 24;
const kStripMark = 3;

// The whole disk in one line, with a frame around what the grid shows. Height tells the kinds apart too.
class DiskStrip {
  constructor(model) {
    this.model = model;
    this.marks = new Map(kKinds.slice(1).map((kind) => [kind, drawing('path', {class: `area dense ${kind}`})]));
    this.ground = drawing('rect', {class: 'area none', x: 0, y: 2, height: kStripHeight - 4});
    // Dark on light: the frame is seen on a strip that is full of marks too.
    this.frames = ['halo', 'frame-of-view']
      .map((name) => drawing('rect', {class: name, y: 1, height: kStripHeight - 2}));
    this.element = drawing('svg', {class: 'strip', id: 'strip', 'aria-hidden': 'true'}, this.ground,
      ...this.marks.values(), ...this.frames);
  }

  resize(width) {
    this.width = width;
    this.element.setAttribute('viewBox', `0 0 ${width} ${kStripHeight}`);
    this.ground.setAttribute('width', width);
    const columns = Math.min(this.model.blocks, Math.floor(width / kStripMark));
    const step = width / columns;
    const {kinds} = this.model.cells(0, this.model.blocks / columns, columns);
    const text = new Map(kKinds.map((kind) => [kind, []]));
    kinds.forEach((kind, i) => {
      const height = Math.round((kStripHeight - 4) * kind / 3);
      const x = (i * step).toFixed(2);
      text.get(kKinds[kind]).push(`M${x} ${kStripHeight - 2}v${-height}h${step.toFixed(2)}v${height}z`);
    });
    for (const [kind, path] of this.marks) path.setAttribute('d', text.get(kind).join(''));
  }

  // The frame is never narrower than can be seen and taken hold of.
  show(begin, end) {
    const scale = this.width / this.model.blocks;
    const wide = Math.max(6, (Math.min(end, this.model.blocks) - begin) * scale);
    const x = Math.min(begin * scale, this.width - wide);
    for (const frame of this.frames) {
      frame.setAttribute('x', (x + 0.75).toFixed(2));
      frame.setAttribute('width', (wide - 1.5).toFixed(2));
    }
  }

  blockAt(clientX) {
    const box = this.element.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - box.left) / box.width));
    return Math.min(this.model.blocks - 1, Math.floor(share * this.model.blocks));
  }
}

// The part of the disk that is shown, as a page of text: row after row of cells, offsets at the left.
class DiskGrid {
  constructor(model) {
    this.model = model;
    this.paths = new CellPaths();
    this.offsets = drawing('g', {class: 'offsets'});
    this.chosen = drawing('path', {class: 'chosen'});
    this.pointed = drawing('path', {class: 'pointed'});
    this.element = drawing('svg', {class: 'grid', id: 'grid', 'aria-hidden': 'true'},
      this.offsets, this.paths.group, this.chosen, this.pointed);
  }

  resize(width) {
    Object.assign(this, gridShape(this.model.blocks, width));
    this.wholeLevel = this.level;
    this.width = width;
    this.element.setAttribute('viewBox', `0 0 ${width} ${this.rows * this.pitch}`);
  }

  // Rows begin at multiples of their length, and the last row stays at the bottom.
  clampBegin(block, level) {
    const row = this.columns * 2 ** level;
    const last = Math.max(0, Math.ceil(this.model.blocks / row) - this.rows);
    return Math.min(last, Math.max(0, Math.floor(block / row))) * row;
  }

  show(begin, level) {
    this.begin = begin;
    this.level = level;
    this.cellBlocks = 2 ** level;
    this.end = Math.min(this.model.blocks, begin + this.rows * this.columns * this.cellBlocks);
    const count = Math.ceil((this.end - begin) / this.cellBlocks);
    this.paths.draw(this.model.cells(begin, this.cellBlocks, count), this.columns, this.pitch, this.left);
    this.drawOffsets();
    const facts = {begin, end: this.end, cellBlocks: this.cellBlocks, columns: this.columns, rows: this.rows,
      pitch: this.pitch, left: this.left};
    for (const [name, value] of Object.entries(facts)) this.element.dataset[name] = value;
  }

  // The first row says where it is; the others how far they are from it, or deep in a disk all would look the same.
  drawOffsets() {
    const rowBytes = this.columns * this.cellBlocks * this.model.blockBytes;
    const step = this.pitch >= 24 ? 1 : 4;
    const labels = [];
    for (let row = 0; row < Math.ceil((this.end - this.begin) / (this.columns * this.cellBlocks)); row += step) {
      const origin = this.begin * this.model.blockBytes;
      const words = row === 0 ? (origin === 0 ? '0' : humanSize(origin))
        : (origin === 0 ? '' : '+') + humanSize(row * rowBytes);
      labels.push(drawing('text', {x: this.left - 8, y: row * this.pitch + cellSize(this.pitch) / 2 + 4}, words));
    }
    this.offsets.replaceChildren(...labels);
  }

  // A frame around the cells of a range, as a text editor marks a selection: whole rows between two ends.
  outline(path, begin, end) {
    const first = Math.max(0, Math.floor((begin - this.begin) / this.cellBlocks));
    const last = Math.floor((Math.min(end, this.end) - 1 - this.begin) / this.cellBlocks);
    const [row, lastRow] = [first, last].map((cell) => Math.floor(cell / this.columns));
    const [from, to] = [first % this.columns, last % this.columns + 1];
    const gap = cellGap(this.pitch);
    const place = ([column, atRow]) => `${this.left + column * this.pitch - gap / 2} ${atRow * this.pitch - gap / 2}`;
    const shape = (...corners) => `M${corners.map(place).join('L')}z`;
    const box = (left, right, atRow) => shape([left, atRow], [right, atRow], [right, atRow + 1], [left, atRow + 1]);
    const all = this.columns;
    const around = () => {
      if (last < first) return '';
      if (row === lastRow) return box(from, to, row);
      if (row + 1 === lastRow && to <= from) return box(from, all, row) + box(0, to, lastRow);
      return shape([from, row], [all, row], [all, lastRow], [to, lastRow], [to, lastRow + 1], [0, lastRow + 1],
        [0, row + 1], [from, row + 1]);
    };
    path.setAttribute('d', around());
  }

  // The range of the cell at a place on the screen, or null beside the cells.
  cellAt(clientX, clientY) {
    const box = this.element.getBoundingClientRect();
    const scale = this.width / box.width;
    const column = Math.floor(((clientX - box.left) * scale - this.left) / this.pitch);
    const row = Math.floor((clientY - box.top) * scale / this.pitch);
    if (column < 0 || column >= this.columns || row < 0 || row >= this.rows) return null;
    const begin = this.begin + (row * this.columns + column) * this.cellBlocks;
    return begin < this.end ? this.cellOf(begin) : null;
  }

  cellOf(block) {
    const begin = Math.floor(block / this.cellBlocks) * this.cellBlocks;
    return {begin, end: Math.min(this.model.blocks, begin + this.cellBlocks)};
  }
}
