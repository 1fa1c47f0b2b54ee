// SPDX-License-Identifier: Apache-2.0

// The picture of the disk that can be walked through: strip, grid, controls and the line of details.

const kCoarse = 2;  // levels a key or button zooms: four times closer
const kWheelStep = 40;
const kDragStart = 5;

class DiskView {
  constructor(host, model) {
    this.model = model;
    this.strip = new DiskStrip(model);
    this.grid = new DiskGrid(model);
    // What is chosen: a region by its index, or the cell of a block. Nothing at first.
    this.chosen = null;
    this.wheel = 0;
    this.shown = element('p', {id: 'shown'});
    this.detail = element('div', {id: 'detail', role: 'status', 'aria-live': 'polite', 'aria-atomic': 'true'});
    this.surface = element('div', {id: 'surface', tabindex: '0', role: 'application',
      'aria-label': 'Picture of the disk', 'aria-describedby': 'keys'}, this.grid.element);
    host.append(this.key(), this.strip.element, this.controls(), this.surface, this.shown, this.detail, this.keys());
    this.describe(null);
    this.listen(host);
    this.resize(this.surface.clientWidth);
    new ResizeObserver(() => this.resize(this.surface.clientWidth)).observe(this.surface);
  }

  key() {
    const meanings = [[0, 'no entry'], [1, 'weak: readable after a retry'], [2, 'remapped: has a slot'],
      [3, 'lost: unreadable']];
    const items = meanings.map(([kind, words]) => element('li', {}, sampleCell(kind, 1), words));
    items.push(element('li', {}, sampleCell(3, 0), 'pale: less than a tenth of the cell'));
    if (this.model.mergedUnit > 1) {
      items.push(element('li', {}, sampleCell(3, 0, 1), 'no mark: somewhere in these cells'));
    }
    return element('ul', {class: 'key', 'aria-label': 'Key'}, items);
  }

  controls() {
    const button = (words, id, action) => {
      const made = element('button', {type: 'button', id}, words);
      made.addEventListener('click', action);
      return made;
    };
    const none = this.model.regions.length === 0;
    const step = [button('Previous region', 'previous', () => this.step(-1)),
      button('Next region', 'next', () => this.step(1))];
    if (none) step.forEach((each) => each.setAttribute('disabled', ''));
    return element('div', {class: 'controls', role: 'group', 'aria-label': 'Controls of the picture'}, step,
      button('Zoom in', 'zoom-in', () => this.zoom(-kCoarse)), button('Zoom out', 'zoom-out', () => this.zoom(kCoarse)),
      button('Whole disk', 'whole', () => this.whole()), this.search());
  }

  // Kernel messages name sectors, other tools bytes: both are found without arithmetic.
  search() {
    const place = element('input', {id: 'place', type: 'text', inputmode: 'numeric', autocomplete: 'off', size: '12',
      'aria-label': 'Number of the place to go to'});
    const unit = element('select', {id: 'unit', 'aria-label': 'What the number counts'},
      element('option', {value: 'block'}, 'block'), element('option', {value: 'sector'}, 'sector (LBA)'),
      element('option', {value: 'byte'}, 'byte'));
    const form = element('form', {class: 'search'}, place, unit, element('button', {type: 'submit', id: 'go'}, 'Go'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.goTo(place.value, unit.value);
    });
    return form;
  }

  keys() {
    const key = (name) => element('kbd', {}, name);
    const keys = (...names) => names.flatMap((name) => [key(name), ' ']);
    return element('p', {id: 'keys'}, 'While the picture has the focus: ', keys('n', 'p'), 'next and previous region; ',
      keys('+', '\u2212'), 'or the wheel zoom; ', keys('Enter'), 'or a double click goes close; arrows, ',
      keys('Page Up', 'Page Down', 'Home', 'End'), 'move; ', keys('0'), 'or ', keys('Esc'),
      'shows the whole disk. Drag the grid, or the frame in the strip, to move.');
  }

  listen(host) {
    host.addEventListener('keydown', (event) => this.onKey(event));
    this.surface.addEventListener('focus', () => {
      if (!this.chosen) this.choose({block: this.grid.begin, untouched: true});
    });
    this.surface.addEventListener('wheel', (event) => this.onWheel(event), {passive: false});
    this.surface.addEventListener('dblclick', (event) => {
      const cell = this.grid.cellAt(event.clientX, event.clientY);
      if (cell) this.choose({block: cell.begin});
      this.approach();
    });
    this.listenToPointer();
    this.listenToStrip();
  }

  listenToPointer() {
    let drag = null;
    this.surface.addEventListener('pointerdown', (event) => {
      if (event.button === 0) drag = {y: event.clientY, begin: this.grid.begin, moved: false};
    });
    this.surface.addEventListener('pointermove', (event) => {
      const scale = this.grid.width / this.surface.getBoundingClientRect().width;
      const far = drag ? (drag.y - event.clientY) * scale : 0;
      if (drag && event.pointerType !== 'touch' && (drag.moved || Math.abs(far) > kDragStart)) {
        if (!drag.moved && event.isTrusted) this.surface.setPointerCapture(event.pointerId);
        drag.moved = true;
        const rows = Math.round(far / this.grid.pitch);
        this.show(drag.begin + rows * this.grid.columns * this.grid.cellBlocks, this.grid.level);
      }
      this.point(this.grid.cellAt(event.clientX, event.clientY));
    });
    this.surface.addEventListener('pointerup', (event) => {
      const cell = this.grid.cellAt(event.clientX, event.clientY);
      if (drag && !drag.moved && cell) this.choose({block: cell.begin});
      drag = null;
    });
    for (const end of ['pointercancel', 'pointerleave']) {
      this.surface.addEventListener(end, () => {
        drag = null;
        this.point(null);
      });
    }
  }

  listenToStrip() {
    let held = false;
    const move = (event) => {
      const half = this.grid.rows * this.grid.columns * this.grid.cellBlocks / 2;
      if (held) this.show(this.strip.blockAt(event.clientX) - half, this.grid.level);
    };
    this.strip.element.addEventListener('pointerdown', (event) => {
      held = true;
      if (event.isTrusted) this.strip.element.setPointerCapture(event.pointerId);
      move(event);
    });
    this.strip.element.addEventListener('pointermove', move);
    for (const end of ['pointerup', 'pointercancel']) {
      this.strip.element.addEventListener(end, () => { held = false; });
    }
  }

  resize(width) {
    if (width <= 0 || width === this.grid.width) return;
    const wasWhole = this.grid.begin === undefined || this.grid.level === this.grid.wholeLevel;
    const {begin = 0, level} = this.grid;
    this.grid.resize(width);
    this.strip.resize(width);
    this.show(begin, wasWhole ? this.grid.wholeLevel : Math.min(level, this.grid.wholeLevel));
  }

  show(begin, level) {
    this.grid.show(this.grid.clampBegin(begin, level), level);
    this.strip.show(this.grid.begin, this.grid.end);
    const whole = this.grid.begin === 0 && this.grid.end === this.model.blocks;
    this.shown.replaceChildren('Shown: blocks ', number(this.grid.begin), kDash, number(this.grid.end - 1),
      whole ? ', the whole disk' : '', '. One cell is ', number(this.grid.cellBlocks),
      this.grid.cellBlocks === 1 ? ' block (' : ' blocks (',
      humanSize(this.grid.cellBlocks * this.model.blockBytes), ').');
    this.mark();
  }

  // The outline of what is chosen, where it is in view.
  mark() {
    const chosen = this.chosenRange();
    if (chosen) this.grid.outline(this.grid.chosen, chosen.begin, chosen.end);
  }

  chosenRange() {
    if (!this.chosen) return null;
    const {block, region} = this.chosen;
    return region === undefined ? this.grid.cellOf(block) : this.model.regions[region];
  }

  choose(chosen) {
    this.chosen = chosen.region === undefined ? chosen
      : {region: chosen.region, block: this.model.regions[chosen.region].begin};
    this.reveal(this.chosen.block);
    this.describe(this.chosen);
  }

  // Moves as little as shows the block: a step down a row scrolls by a row; a leap puts it in the middle.
  reveal(block) {
    const row = this.grid.columns * this.grid.cellBlocks;
    const span = this.grid.rows * row;
    let begin = this.grid.begin;
    if (block < begin) begin = begin - block <= row ? begin - row : block - span / 2;
    else if (block >= begin + span) begin = block - begin - span < row ? begin + row : block - span / 2;
    this.show(begin, this.grid.level);
  }

  // Closer (negative) or farther, around a block that stays in its row.
  zoom(levels, anchor = this.chosen ? this.chosen.block : (this.grid.begin + this.grid.end) / 2) {
    const level = Math.min(this.grid.wholeLevel, Math.max(0, this.grid.level + levels));
    if (level === this.grid.level) return false;
    const before = this.grid.columns * this.grid.cellBlocks;
    const visible = anchor >= this.grid.begin && anchor < this.grid.end;
    const row = visible ? Math.floor((anchor - this.grid.begin) / before) : Math.floor(this.grid.rows / 2);
    const after = this.grid.columns * 2 ** level;
    this.show((Math.floor(anchor / after) - row) * after, level);
    if (this.chosen) this.describe(this.chosen);
    return true;
  }

  whole() {
    this.show(0, this.grid.wholeLevel);
    if (this.chosen) this.describe(this.chosen);
  }

  // So close that what is chosen fills a part of the grid, a cell a block if it can be.
  approach() {
    const chosen = this.chosenRange();
    if (!chosen) return;
    let level = 0;
    while ((chosen.end - chosen.begin) / 2 ** level > this.grid.rows * this.grid.columns / 2) ++level;
    this.zoom(level - this.grid.level, chosen.begin);
  }

  step(direction) {
    const count = this.model.regions.length;
    if (count === 0) return;
    let next = direction > 0 ? 0 : count - 1;
    if (this.chosen && this.chosen.region !== undefined) {
      next = this.chosen.region + direction;
    } else if (this.chosen) {
      const cell = this.grid.cellOf(this.chosen.block);
      const [first, last] = this.model.touching(cell.begin, cell.end);
      // A lone region of the cell is described already; of several the first one comes next.
      next = direction < 0 ? first - 1 : last - first > 1 || this.chosen.untouched ? first : last;
    }
    this.choose({region: (next + count) % count});
  }

  goTo(words, unit) {
    const plain = words.replace(/[\s,_\u202f]/g, '');
    const each = {block: 1, sector: this.model.blockBytes / kSectorBytes, byte: this.model.blockBytes}[unit];
    const block = /^(0x[0-9a-f]+|\d+)$/i.test(plain) ? Math.floor(Number(plain) / each) : NaN;
    if (!(block < this.model.blocks)) {
      this.detail.replaceChildren(element('p', {class: 'headline'}, 'There is no such place on this disk'),
        element('p', {}, 'The last block is ', number(this.model.blocks - 1), ', the last sector ',
          number(Math.max(0, this.model.sizeBytes / kSectorBytes - 1)), '.'));
      return;
    }
    this.show(block - this.grid.rows * this.grid.columns / 2, 0);
    this.choose({block});
  }

  move(cells) {
    const from = this.chosen ? this.chosen.block : this.grid.begin;
    const to = this.grid.cellOf(from).begin + cells * this.grid.cellBlocks;
    this.choose({block: Math.min(this.grid.cellOf(this.model.blocks - 1).begin, Math.max(0, to))});
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select')) return;
    const page = (this.grid.rows - 1) * this.grid.columns;
    const anywhere = {'+': () => this.zoom(-kCoarse), '=': () => this.zoom(-kCoarse), '-': () => this.zoom(kCoarse),
      '0': () => this.whole(), Escape: () => this.whole(), n: () => this.step(1), p: () => this.step(-1)};
    // On a button these keys belong to the button and to the page.
    const onSurface = {Enter: () => this.approach(), ArrowLeft: () => this.move(-1), ArrowRight: () => this.move(1),
      ArrowUp: () => this.move(-this.grid.columns), ArrowDown: () => this.move(this.grid.columns),
      PageUp: () => this.move(-page), PageDown: () => this.move(page),
      Home: () => this.choose({block: 0}), End: () => this.choose({block: this.model.blocks - 1})};
    const keys = event.target === this.surface ? {...anywhere, ...onSurface} : anywhere;
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  }

  // The wheel scrolls the page unless the picture was asked for, by a click or by Ctrl (a pinch is one too).
  onWheel(event) {
    if (document.activeElement !== this.surface && !event.ctrlKey) return;
    this.wheel += event.deltaMode === 0 ? event.deltaY : Math.sign(event.deltaY) * kWheelStep;
    const levels = Math.trunc(this.wheel / kWheelStep);
    const cell = this.grid.cellAt(event.clientX, event.clientY);
    const stuck = event.deltaY > 0 ? this.grid.level === this.grid.wholeLevel : this.grid.level === 0;
    if (stuck) this.wheel = 0;
    if (stuck && !event.ctrlKey) return;
    event.preventDefault();
    if (levels === 0) return;
    this.wheel -= levels * kWheelStep;
    this.zoom(Math.sign(levels), cell ? cell.begin : undefined);
    this.point(this.grid.cellAt(event.clientX, event.clientY));
  }

  // What is under the pointer is shown as long as it is there.
  point(cell) {
    const key = cell ? `${cell.begin}-${cell.end}` : '';
    if (key === this.pointedKey) return;
    this.pointedKey = key;
    if (cell) this.grid.outline(this.grid.pointed, cell.begin, cell.end);
    else this.grid.pointed.setAttribute('d', '');
    this.describe(cell ? {block: cell.begin} : this.chosen);
  }

  describe(what) {
    if (!what) {
      this.detail.replaceChildren(element('p', {class: 'headline'}, 'Point at a cell to see what is there'),
        element('p', {}, this.model.regions.length === 0 ? 'This volume has no entries.'
          : '\u201cNext region\u201d goes to the first region with entries.'));
      return;
    }
    const count = this.model.regions.length;
    const cell = this.grid.cellOf(what.block);
    const [first, last] = what.region === undefined ? this.model.touching(cell.begin, cell.end)
      : [what.region, what.region + 1];
    if (last === first) return this.fill('No entry here', cell, null);
    if (last === first + 1) {
      const region = this.model.regions[first];
      const name = `Region ${digits(first + 1)} of ${digits(count)}: ${countsInWords(region)}`;
      return this.fill(region.exact ? name : `${name}, the other blocks have no entry`, region, region);
    }
    const sum = this.model.sum(first, last);
    this.fill(`${digits(last - first)} regions in this cell: ${countsInWords(sum)}`, cell, sum);
  }

  fill(headline, what, found) {
    const {blockBytes} = this.model;
    const begin = what.begin * blockBytes;
    const end = this.model.byteEnd(what.end);
    const list = element('dl');
    definitions(list, [
      [what.end - what.begin === 1 ? 'Block' : 'Blocks', range(what.begin, what.end)],
      ['Byte offset', [number(begin), begin < 1024 ? '' : ` (${humanSize(begin)})`,
        `, ${humanSize(end - begin)} long`]],
      ['Sectors (LBA)', range(begin / kSectorBytes, Math.ceil(end / kSectorBytes))],
    ]);
    if (found) {
      definitions(list, [['Cause', found.causes], ['First seen, UTC', time(found.first)],
        ['Last seen, UTC', time(found.last)]]);
    }
    this.detail.replaceChildren(element('p', {class: 'headline'}, headline), list);
  }
}
