// SPDX-License-Identifier: Apache-2.0

// Drives a report inside the browser and compares what is shown with its data. The test appends this as a last script;
// the outcome is in the element #checks, a line a check, `ok NAME` or `FAIL NAME: why`, and a last line,
// `checks: N passed, M failed`. What is expected is computed from the data, with none of the functions of the page.

window.addEventListener('load', () => {
  const outcomes = [];
  const data = JSON.parse(document.getElementById('data').textContent);
  const {status, forecast} = data;
  const regions = data.regions.list.map(([begin, end, remapped, lost, weak, first, last, causes]) =>
    ({begin, end, remapped, lost, weak, first, last, causes, kind: lost ? 'lost' : remapped ? 'remapped' : 'weak'}));
  const blocks = Math.ceil(status.volume.size_bytes / status.volume.block_size);
  const sectors = status.volume.block_size / 512;
  const months = 'January February March April May June July August September October November December'.split(' ');

  const by = (id) => document.getElementById(id);
  const plain = (node) => node.textContent.replaceAll('\u202f', '');
  const shown = () => plain(by('shown'));
  const detail = () => plain(by('detail'));
  const view = () => Object.fromEntries(Object.entries(by('grid').dataset).map(([name, text]) => [name, Number(text)]));
  const rowsOf = (id) => [...by(id).querySelectorAll('tbody tr')];
  const cellsOf = (row) => [...row.children].map(plain);
  const date = (text) => {
    const at = new Date(text);
    return `${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
  };
  const figure = (term) => [...by('figures').children].find((each) => each.firstChild.textContent === term);

  const usual = {bubbles: true, cancelable: true};
  const press = (key, target = by('surface')) => target.dispatchEvent(new KeyboardEvent('keydown', {key, ...usual}));
  const pointer = (type, clientX, clientY, target = by('surface')) => target.dispatchEvent(
    new PointerEvent(type, {clientX, clientY, button: 0, pointerType: 'mouse', ...usual}));
  const wheel = (deltaY) => {
    const [clientX, clientY] = placeOf(view().begin);
    return by('surface').dispatchEvent(new WheelEvent('wheel', {deltaY, clientX, clientY, ...usual}));
  };
  // The middle of the cell of a block, on the screen.
  const placeOf = (block) => {
    const {begin, cellBlocks, columns, pitch, left} = view();
    const cell = Math.floor((block - begin) / cellBlocks);
    const box = by('grid').getBoundingClientRect();
    return [box.left + left + (cell % columns) * pitch + pitch / 2 - 1,
      box.top + Math.floor(cell / columns) * pitch + pitch / 2 - 1];
  };
  const whole = () => {
    press('0');
    pointer('pointerleave', 0, 0);
  };

  const expect = (condition, why) => {
    if (!condition) throw new Error(why);
  };
  const same = (found, wanted, what) => expect(String(found) === String(wanted), `${what}: ${found}, not ${wanted}`);
  const holds = (text, part, what) => expect(text.includes(String(part)), `${what}: no "${part}" in "${text}"`);
  const check = (name, run) => {
    try {
      run();
      outcomes.push(`ok ${name}`);
    } catch (error) {
      outcomes.push(`FAIL ${name}: ${error.message.replaceAll('\n', ' ').slice(0, 400)}`);
    }
  };
  // Each of these begins with the whole disk.
  const checkView = (name, run) => check(name, () => {
    whole();
    run();
  });

  check('nothing-is-loaded', () => {
    const loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
    same(loaded.join(' '), '', 'loaded');
    for (const each of document.querySelectorAll('[src], [href], [srcset], [data], [action]')) {
      for (const name of ['src', 'href', 'srcset', 'data', 'action']) {
        const value = each.getAttribute(name);
        expect(value === null || value.startsWith('data:') || value.startsWith('#'), `${each.tagName} loads ${value}`);
      }
    }
    const policy = document.querySelector('meta[http-equiv="Content-Security-Policy"]');
    same(policy && policy.content, "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; " +
      'img-src data:', 'policy');
    const after = policy.compareDocumentPosition(document.querySelector('style, script, link'));
    expect(after & Node.DOCUMENT_POSITION_FOLLOWING, 'the policy is not before what it is about');
  });

  check('language-title-and-headings-are-there', () => {
    same(document.documentElement.lang, 'en', 'language');
    holds(document.title, status.volume.label || status.volume.uuid, 'title');
    const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((each) => Number(each.tagName[1]));
    same(levels.lastIndexOf(1), 0, 'the place of the only h1');
    levels.forEach((level, i) => expect(i === 0 || level <= levels[i - 1] + 1, `h${level} after h${levels[i - 1]}`));
    for (const each of document.querySelectorAll('section')) {
      expect(by(each.getAttribute('aria-labelledby')).textContent !== '', 'a section without a name');
    }
  });

  check('text-of-the-data-makes-no-elements', () => {
    const known = new Set(('HTML HEAD META LINK TITLE STYLE NOSCRIPT BODY HEADER MAIN SECTION H1 H2 P SPAN DIV DL DT ' +
      'DD UL LI TABLE CAPTION THEAD TBODY TR TH TD BUTTON FORM INPUT SELECT OPTION KBD SCRIPT ' +
      'svg g path rect line text').split(' '));
    const strange = [...document.querySelectorAll('*')].find((each) => !known.has(each.tagName));
    expect(!strange, `there is a ${strange && strange.tagName}`);
    same(document.querySelectorAll('main script, header script').length, 0, 'scripts in the text');
    for (const each of document.querySelectorAll('*')) {
      expect(!each.getAttributeNames().some((name) => name.startsWith('on')), `${each.tagName} has a handler`);
    }
    expect(document.title !== 'owned', 'a script of the data ran');
  });

  check('name-state-and-reasons-are-shown', () => {
    const trouble = document.querySelector('.trouble');
    expect(!trouble, trouble && trouble.textContent);
    same(by('name').textContent, status.volume.label || status.volume.uuid, 'name');
    holds(by('identity').textContent, status.volume.uuid, 'identity');
    holds(by('identity').textContent, status.mounted ? status.mountpoint : 'no', 'mount point');
    same(by('state').querySelector('.badge').textContent, status.state, 'state');
    const reasons = [...by('state').querySelectorAll('li')].map((each) => each.textContent);
    same(JSON.stringify(reasons), JSON.stringify(status.reasons), 'reasons');
    holds(by('made').textContent, `${data.generated_at.replace('T', ' ').replace('Z', '')} UTC`, 'made');
  });

  check('key-figures-equal-the-data', () => {
    const value = (term) => plain(figure(term).querySelector('dd'));
    same(value('Remapped blocks'), status.remapped_blocks, 'remapped');
    same(value('Lost sectors'), status.lost_sectors, 'lost');
    same(value('Weak blocks'), status.weak_blocks, 'weak');
    same(value('Spare'), `${status.spare.slots_free} free`, 'free');
    holds(plain(figure('Spare')), `of ${status.spare.slots_total} slots`, 'slots');
    holds(plain(figure('Size')), `${blocks} blocks`, 'blocks');
    const [amount, unit] = value('Size').split(' ');
    const scale = 1024 ** 'bytes KiB MiB GiB TiB PiB'.split(' ').indexOf(unit);
    const near = Math.abs(amount * scale - status.volume.size_bytes) <= 0.051 * scale;
    expect(near && amount >= 1 && amount <= 1024, `size: ${value('Size')}`);
    const {reads, writes, read_errors: readErrors, write_errors: writeErrors} = status.io;
    const requests = `${reads} reads, ${writes} writes; ${readErrors} and ${writeErrors} answered`;
    holds(plain(figure('Requests')), status.mounted ? requests : 'not mounted', 'requests');
    same(value('Scrub'), status.scrub.state, 'scrub');
  });

  check('devices-equal-the-data', () => {
    const rows = rowsOf('devices').map(cellsOf);
    same(rows.length, status.devices.length, 'rows');
    status.devices.forEach(({id, role, path}, i) => same(rows[i].slice(0, 3), [id, role, path], 'device'));
  });

  check('regions-equal-the-data', () => {
    const rows = rowsOf('regions').map(cellsOf);
    same(rows.length, Math.min(200, regions.length), 'rows');
    rows.forEach((cells, i) => {
      const {begin, end, lost, remapped, weak, causes} = regions[i];
      const [sector, byte] = [begin * sectors, begin * status.volume.block_size];
      same(cells.slice(0, 8), [begin, end - begin, sector, byte, lost, remapped, weak, causes], `region ${i}`);
    });
    if (regions.length > 200) holds(plain(by('regions')), regions.length, 'caption');
  });

  check('events-are-shown-newest-first', () => {
    const rows = rowsOf('events').map(cellsOf);
    same(rows.length, data.events.length, 'rows');
    rows.forEach((cells, i) => {
      const {at, kind, block, detail: words} = data.events[data.events.length - 1 - i];
      same(cells, [at.replace('T', ' ').replace('Z', ''), kind, block === null ? '\u2014' : block, words], `row ${i}`);
    });
  });

  check('forecast-is-a-sentence', () => {
    const words = plain(by('forecast'));
    expect(words.endsWith('.'), words);
    if (forecast.slots_free === 0) holds(words, 'full', 'forecast');
    else if (!forecast.slots_per_day) holds(words, 'No slot was taken', 'forecast');
    else if (forecast.runs_out_at) holds(words, `full about ${date(forecast.runs_out_at)}`, 'forecast');
    holds(plain(by('spare')), `${forecast.slots_free} free of ${forecast.slots_total}`, 'bar');
    const used = forecast.slots_total - forecast.slots_free;
    const width = parseFloat(by('spare').querySelector('.used').getAttribute('width'));
    expect(Math.abs(width - 100 * used / Math.max(1, forecast.slots_total)) <= 0.51, `bar: ${width} %`);
    expect(used === 0 || width > 0, 'what is used is not seen');
  });

  check('growth-is-drawn-and-read', () => {
    if (data.growth.length === 0) return holds(plain(by('growth')), 'nothing has grown', 'growth');
    const chart = by('growth').querySelector('.chart');
    const columns = [1, 2, 3].filter((column) => data.growth.some((row) => row[column] > 0));
    same(chart.querySelectorAll('.line').length, columns.length, 'lines');
    for (const line of chart.querySelectorAll('.line')) {
      same(line.getAttribute('d').split('V').length, data.growth.length, 'points of a line');
    }
    const reads = (row) => {
      const words = plain(by('growth').querySelector('.readout'));
      holds(words, row[0].replace('T', ' ').replace('Z', ''), 'time');
      const counts = words.match(/\d+/g);
      for (const column of columns) expect(counts.includes(String(row[column])), `${words}: no ${row[column]}`);
    };
    reads(data.growth[data.growth.length - 1]);
    press('Home', chart);
    reads(data.growth[0]);
    press('ArrowRight', chart);
    reads(data.growth[Math.min(1, data.growth.length - 1)]);
    pointer('pointermove', 9999, 0, chart);
    reads(data.growth[data.growth.length - 1]);
    holds(plain(by('growth').querySelector('.summary')), date(data.growth[0][0]), 'summary');
  });

  check('smart-equals-the-data', () => {
    if (!data.smart) return expect(!by('smart').querySelector('.badge'), 'a verdict on nothing');
    same(by('smart').querySelector('.badge').textContent, data.smart.verdict.replace('-', ' '), 'verdict');
    const reasons = [...by('smart').querySelectorAll('li')].map((each) => each.textContent);
    same(JSON.stringify(reasons), JSON.stringify(data.smart.reasons), 'reasons');
    const rows = rowsOf('smart').map(cellsOf);
    same(rows.length, Math.min(200, data.smart.history.length), 'rows');
    const newest = data.smart.history[data.smart.history.length - 1];
    if (newest) same(rows[0][1], newest.reallocated === null ? '\u2014' : newest.reallocated, 'reallocated');
  });

  check('the-whole-disk-is-shown-at-first', () => {
    holds(shown(), 'the whole disk', 'shown');
    holds(shown(), `blocks 0\u2013${blocks - 1}`, 'shown');
    same([view().begin, view().end], [0, blocks], 'range');
  });

  // Where the shapes are, against the data: a bad block of a large disk must not fall between the cells.
  const compareCells = () => {
    const {begin, end, cellBlocks, columns, pitch, left} = view();
    const weight = {weak: 1, remapped: 2, lost: 3};
    const wanted = new Map();
    for (const region of regions) {
      if (region.end <= begin || region.begin >= end) continue;
      const first = Math.max(0, Math.floor((region.begin - begin) / cellBlocks));
      const last = Math.floor((Math.min(region.end, end) - 1 - begin) / cellBlocks);
      for (let cell = first; cell <= last; ++cell) {
        if (!(weight[wanted.get(cell)] >= weight[region.kind])) wanted.set(cell, region.kind);
      }
    }
    const drawn = new Map();
    for (const path of by('grid').querySelectorAll('.area')) {
      const kind = [...path.classList].pop();
      for (const [, x, y] of (path.getAttribute('d') || '').matchAll(/M([\d.]+) ([\d.]+)/g)) {
        const cell = Math.floor(y / pitch) * columns + Math.floor((x - left) / pitch);
        expect(!drawn.has(cell), `two shapes in cell ${cell}`);
        drawn.set(cell, kind);
      }
    }
    same(drawn.size, Math.ceil((end - begin) / cellBlocks), 'cells');
    for (const [cell, kind] of drawn) same(kind, wanted.get(cell) || 'none', `cell ${cell}`);
  };
  check('every-region-has-its-cell', compareCells);

  check('strip-shows-every-kind-there-is', () => {
    for (const kind of ['lost', 'remapped', 'weak']) {
      const marks = by('strip').querySelector(`.${kind}`).getAttribute('d') || '';
      expect(kind !== 'lost' || (marks !== '') === (status.lost_sectors > 0), 'lost sectors are not in the strip');
      for (const [, wide] of marks.matchAll(/h([\d.]+)v/g)) expect(wide >= 2, `a mark of ${wide} pixels`);
    }
  });

  const namesRegion = (index) => {
    const {begin, end, remapped, lost, weak, causes} = regions[index];
    holds(detail(), `Region ${index + 1} of ${regions.length}`, 'detail');
    const place = end - begin === 1 ? `Block${begin}` : `Blocks${begin}\u2013${end - 1} (${end - begin})`;
    holds(detail(), `${place}Byte offset${begin * sectors * 512}`, 'detail');
    holds(detail(), `Sectors (LBA)${begin * sectors}`, 'detail');
    for (const [count, word] of [[remapped, 'remapped'], [lost, 'lost'], [weak, 'weak']]) {
      if (count > 0) holds(detail(), `${count} ${word}`, 'detail');
    }
    holds(detail(), causes, 'detail');
    for (const at of [regions[index].first, regions[index].last]) {
      holds(detail(), new Date(at * 1000).toISOString().slice(0, 19).replace('T', ' '), 'detail');
    }
  };

  check('n-and-p-go-through-the-regions', () => {
    by('surface').focus();
    press('n');
    if (regions.length === 0) return holds(detail(), 'No entry', 'detail');
    namesRegion(0);
    press('n');
    namesRegion(Math.min(1, regions.length - 1));
    press('p');
    namesRegion(0);
    press('p');
    namesRegion(regions.length - 1);
    by('next').click();
    namesRegion(0);
    by('previous').click();
    namesRegion(regions.length - 1);
  });

  checkView('zoom-changes-the-range-and-0-brings-it-back', () => {
    const before = shown();
    press('-');
    same(shown(), before, 'farther than the whole disk');
    const canZoom = view().cellBlocks > 1;
    const [key, click] = [(name) => () => press(name), (id) => () => by(id).click()];
    for (const [zoom, times, back] of [[key('+'), 3, key('0')], [key('='), 3, key('Escape')],
      [key('+'), 3, click('whole')], [key('+'), 1, key('-')], [click('zoom-in'), 1, click('zoom-out')]]) {
      for (let i = 0; i < times; ++i) zoom();
      expect(!canZoom || shown() !== before, 'closer changed nothing');
      expect(!canZoom || view().end - view().begin < blocks, 'the range is no smaller');
      holds(shown(), view().begin, 'shown');
      compareCells();
      back();
      same(shown(), before, 'the way back');
    }
  });

  checkView('closest-is-a-block-a-cell', () => {
    press('Home');
    press('p');
    const [block] = detail().match(/(?<=Blocks?)\d+/);
    for (let i = 0; i < 30; ++i) press('+');
    same(view().cellBlocks, 1, 'blocks of a cell');
    expect(Number(block) >= view().begin && Number(block) < view().end, `block ${block} went out of view`);
    compareCells();
  });

  checkView('enter-goes-close-to-what-is-chosen', () => {
    if (regions.length === 0) return;
    press('n');
    const region = regions[Number(detail().match(/Region (\d+)/)[1]) - 1];
    press('Enter');
    const {begin, end, cellBlocks} = view();
    expect(region.begin >= begin && region.begin < end, 'it is not in view');
    expect(cellBlocks === 1 || end - begin <= 8 * (region.end - region.begin), 'it is not close');
  });

  checkView('arrows-home-and-end-move', () => {
    const {cellBlocks, columns} = view();
    const place = (block) => {
      const outline = by('grid').querySelector('.chosen').getAttribute('d').match(/M([-\d.]+) ([-\d.]+)/);
      const [x, y] = placeOf(block);
      const [box, half] = [by('grid').getBoundingClientRect(), view().pitch / 2];
      expect(Math.abs(Number(outline[1]) + half - (x - box.left)) < half, `the frame is not in the column of ${block}`);
      expect(Math.abs(Number(outline[2]) + half - (y - box.top)) < half, `the frame is not in the row of ${block}`);
    };
    press('Home');
    holds(detail(), regions.length > 0 && regions[0].begin < cellBlocks ? 'egion' : 'No entry', 'detail');
    place(0);
    press('ArrowRight');
    place(Math.min(cellBlocks, Math.floor((blocks - 1) / cellBlocks) * cellBlocks));
    press('ArrowLeft');
    place(0);
    if (blocks > columns * cellBlocks) {
      press('ArrowDown');
      place(columns * cellBlocks);
      press('ArrowUp');
      place(0);
    }
    press('End');
    place(blocks - 1);
    press('+');
    press('+');
    expect(view().end === blocks, 'the end is not in view');
    press('Home');
    same(view().begin, 0, 'the start');
  });

  checkView('pointing-at-a-region-shows-it', () => {
    const chosen = detail();
    for (const kind of ['lost', 'remapped', 'weak']) {
      const region = regions.find((each) => each.kind === kind);
      if (!region) continue;
      const {cellBlocks} = view();
      const begin = Math.floor(region.begin / cellBlocks) * cellBlocks;
      const inside = regions.filter((each) => each.begin < begin + cellBlocks && each.end > begin);
      pointer('pointermove', ...placeOf(region.begin));
      const lost = inside.reduce((sum, each) => sum + each.lost, 0);
      if (inside.length === 1) namesRegion(regions.indexOf(region));
      else holds(detail(), `${inside.length} regions in this cell`, 'detail');
      if (lost > 0) holds(detail(), `${lost} lost sector`, 'detail');
    }
    pointer('pointerleave', 0, 0);
    same(detail(), chosen, 'after the pointer left');
  });

  checkView('dragging-and-the-strip-move-the-view', () => {
    press('Home');
    press('+');
    const {columns, rows, cellBlocks, pitch} = view();
    const row = columns * cellBlocks;
    const [x, y] = placeOf(0);
    pointer('pointerdown', x, y + 4 * pitch);
    pointer('pointermove', x, y + pitch);
    pointer('pointerup', x, y + pitch);
    same(view().begin, Math.min(3, Math.max(0, Math.ceil(blocks / row) - rows)) * row, 'after a drag by three rows');
    const box = by('strip').getBoundingClientRect();
    pointer('pointerdown', box.right - 1, box.top + 5, by('strip'));
    pointer('pointerup', box.right - 1, box.top + 5, by('strip'));
    same(view().end, blocks, 'at the end of the strip');
  });

  checkView('wheel-zooms-only-with-the-focus', () => {
    if (view().cellBlocks === 1) return;
    by('place').focus();
    expect(wheel(-120), 'the page may not scroll');
    same(view().end - view().begin, blocks, 'zoomed without the focus');
    by('surface').focus();
    expect(!wheel(-120), 'the page scrolls too');
    expect(view().end - view().begin < blocks, 'did not zoom');
    whole();
    expect(wheel(120), 'the page does not scroll on at the whole disk');
  });

  checkView('go-to-finds-blocks-sectors-and-bytes', () => {
    const target = regions.length > 0 ? regions[regions.length - 1].begin : blocks - 1;
    const bytes = target * status.volume.block_size;
    for (const [unit, count] of [['block', target], ['sector', target * sectors], ['byte', bytes + 1]]) {
      whole();
      by('unit').value = unit;
      by('place').value = `${count}`;
      by('go').click();
      if (regions.length > 0) namesRegion(regions.length - 1);
      else holds(detail(), target, 'detail');
      same(view().cellBlocks, 1, 'blocks of a cell');
    }
    for (const wrong of ['', 'x', '-1', `${blocks * sectors * 512}`]) {
      by('place').value = wrong;
      by('go').click();
      holds(detail(), 'no such place', `"${wrong}"`);
    }
  });

  check('details-are-announced', () => {
    for (const each of document.querySelectorAll('#detail, .readout')) same(each.ariaLive, 'polite', 'aria-live');
  });

  check('everything-to-use-is-reached-by-tab-and-named', () => {
    const all = [...document.querySelectorAll('a, button, input, select, textarea, [tabindex], [role="application"]')];
    expect(all.length >= 9, `only ${all.length}`);
    for (const each of all.filter((one) => !one.disabled)) {
      const what = each.outerHTML.slice(0, 60);
      expect(each.tabIndex === 0, `${what}: not in the order of Tab`);
      each.focus();
      expect(document.activeElement === each, `${what}: takes no focus`);
      const {outlineStyle, outlineWidth} = getComputedStyle(each);
      expect(outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, `${what}: its focus is not seen`);
      const name = each.getAttribute('aria-label') || (each.matches('button, a') ? each.textContent : '');
      expect(name.trim() !== '', `${what}: has no name`);
    }
    for (const each of document.querySelectorAll('main *')) {
      const larger = each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight;
      const scrolls = larger && /auto|scroll/.test(getComputedStyle(each).overflow);
      expect(!scrolls || each.tabIndex === 0, `${each.className} scrolls, but not by keyboard`);
    }
    document.activeElement.blur();
  });

  check('nothing-is-wider-than-the-page', () => {
    const wide = document.documentElement.scrollWidth;
    expect(wide <= window.innerWidth, `${wide} of ${window.innerWidth} pixels`);
    for (const each of document.querySelectorAll('p, dd, dt, li, h1, h2, button, .frame, .chart')) {
      const {left, right} = each.getBoundingClientRect();
      const outside = !each.matches('.frame *') && (left < -0.5 || right > window.innerWidth + 0.5);
      expect(!outside, `${each.outerHTML.slice(0, 80)}: from ${left} to ${right}`);
    }
  });

  check('labels-of-drawings-do-not-overlap', () => {
    for (const picture of document.querySelectorAll('svg')) {
      const boxes = [...picture.querySelectorAll('text')]
        .map((each) => [each.textContent, each.getBoundingClientRect()]);
      const outer = picture.getBoundingClientRect();
      boxes.forEach(([words, box], i) => {
        expect(box.left >= outer.left - 1 && box.right <= outer.right + 1, `"${words}" leaves the drawing`);
        for (const [other, near] of boxes.slice(i + 1)) {
          const beside = box.right <= near.left || near.right <= box.left;
          expect(beside || box.bottom <= near.top || near.bottom <= box.top, `"${words}" over "${other}"`);
        }
      });
    }
  });

  check('text-has-contrast', () => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => channels(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (each) => {
      const {backgroundColor} = getComputedStyle(each);
      return channels(backgroundColor)[3] === 0 ? ground(each.parentElement) : backgroundColor;
    };
    for (const each of document.querySelectorAll('body *')) {
      const own = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
      if (!own || each.disabled || each.matches('script, noscript')) continue;
      const {color, fill} = getComputedStyle(each);
      const [one, two] = [light(each.tagName === 'text' ? fill : color), light(ground(each))].sort((a, b) => b - a);
      const ratio = (one + 0.05) / (two + 0.05);
      expect(ratio >= 4.5, `"${each.textContent.slice(0, 30)}": ${ratio.toFixed(2)}`);
    }
  });

  whole();
  const failed = outcomes.filter((line) => line.startsWith('FAIL')).length;
  const report = document.createElement('pre');
  report.id = 'checks';
  report.textContent = [...outcomes, `checks: ${outcomes.length - failed} passed, ${failed} failed`].join('\n');
  report.style.whiteSpace = 'pre-wrap';
  document.body.append(report);
  // A test of a narrow page puts it into a frame: no window is as narrow as a telephone.
  if (window.parent !== window) window.parent.postMessage(report.textContent, '*');
});
