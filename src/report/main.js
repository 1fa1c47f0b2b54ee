// SPDX-License-Identifier: Apache-2.0

// The page from the data: what each section says.

const kMostRows = 200;
const kStates = {healthy: 'good', degraded: 'warning', suspended: 'wait', failed: 'bad'};
const kVerdicts = {'replace-now': ['bad', 'replace now'], 'replace-soon': ['warning', 'replace soon'],
  fine: ['good', 'fine'], unknown: ['unknown', 'unknown']};

function showHeader({status, generated_at: made, program}) {
  const name = status.volume.label || status.volume.uuid;
  document.title = `${name}: remapfs report`;
  document.getElementById('name').append(name);
  document.getElementById('made').append('made ', time(made), ` UTC by ${program}`);
  definitions(document.getElementById('identity'), [
    ['Volume', element('span', {class: 'code'}, status.volume.uuid)],
    ['Mounted', status.mounted ? element('span', {class: 'code'}, orNothing(status.mountpoint)) : 'no',
      [status.read_only ? 'read-only' : '', status.degraded_mount ? 'without a missing spare' : ''].filter(Boolean)
        .join(', ')],
  ]);
  const state = document.getElementById('state');
  state.append(badge(kStates[status.state] || 'unknown', status.state));
  if (status.reasons.length > 0) {
    state.append(element('ul', {'aria-label': 'Reasons'}, status.reasons.map((reason) => element('li', {}, reason))));
  } else {
    state.append(element('p', {}, 'Nothing needs attention.'));
  }
}

function scrubNote(scrub) {
  if (scrub.state === 'never') return 'the volume was not scrubbed yet';
  const found = [[scrub.lost_sectors, 'lost sector'], [scrub.weak_blocks, 'weak block'],
    [scrub.moved_blocks, 'moved block'], [scrub.unread_blocks, 'unread block']]
    .filter(([count]) => count > 0).map(([count, one]) => plural(count, one));
  const parts = [`${humanSize(scrub.bytes_done)} of ${humanSize(scrub.bytes_total)}`];
  if (scrub.bytes_per_second > 0) parts.push(`${humanSize(scrub.bytes_per_second)} a second`);
  if (scrub.seconds_left !== null) parts.push(`${duration(scrub.seconds_left)} left`);
  parts.push(found.length ? `found ${found.join(', ')}` : 'found nothing');
  if (scrub.updated_at) parts.push(`${timeText(Date.parse(scrub.updated_at))} UTC`);
  if (scrub.trouble) parts.push(scrub.trouble);
  return parts.join('; ');
}

function showFigures({status, smart, forecast}) {
  const {volume, io, spare, scrub} = status;
  const requests = status.mounted
    ? [number(io.reads + io.writes), [number(io.reads), ' reads, ', number(io.writes), ' writes; ',
      number(io.read_errors), ' and ', number(io.write_errors), ' answered with an error']]
    : [kNothing, 'not mounted'];
  const entries = [
    ['Size', humanSize(volume.size_bytes), [number(Math.ceil(volume.size_bytes / volume.block_size)),
      ` blocks of ${humanSize(volume.block_size)}`]],
    ['Remapped blocks', number(status.remapped_blocks), 'served from a spare'],
    ['Lost sectors', number(status.lost_sectors), 'unreadable, not yet rewritten'],
    ['Weak blocks', number(status.weak_blocks), 'readable only after a retry'],
    ['Spare', [number(spare.slots_free), ' free'], ['of ', number(spare.slots_total), ' slots',
      forecast.runs_out_at ? `; full about ${dateText(Date.parse(forecast.runs_out_at))}` : '']],
    ['Requests', ...requests],
    ['Scrub', scrub.state, scrubNote(scrub)],
    ['SMART', smart ? badge(...verdictOf(smart)) : kNothing, smart ? 'verdict on the primary' : 'nothing was read'],
  ];
  definitions(document.getElementById('figures'), entries);
}

function showDisk({status, regions}) {
  const model = new DiskModel(status.volume, regions);
  const summary = document.getElementById('disk-summary');
  summary.append(model.regions.length === 0 ? 'No block has an entry: every block is where it always was. '
    : `${plural(model.regions.length, 'region')} with entries. A cell shows the worst of what is in it. `);
  if (model.mergedUnit > 1) {
    summary.append('There are very many entries, so neighbouring ones are put together in steps of ',
      `${plural(model.mergedUnit, 'block')}: a region then holds blocks without an entry too.`);
  }
  new DiskView(document.getElementById('disk'), model);
  showRegions(document.getElementById('regions'), model);
}

function showRegions(host, model) {
  const shown = model.regions.slice(0, kMostRows);
  if (shown.length === 0) {
    host.append(element('p', {class: 'summary'}, 'None.'));
    return;
  }
  const caption = shown.length < model.regions.length
    ? `The first ${digits(shown.length)} of ${digits(model.regions.length)}, from the start of the disk. ` +
      '\u201cremapfs list\u201d prints every entry.'
    : `All ${digits(shown.length)}, from the start of the disk.`;
  const columns = [['First block', 'number'], ['Blocks', 'number'], ['First sector (LBA)', 'number'],
    ['Byte offset', 'number'], ['Lost sectors', 'number'], ['Remapped', 'number'], ['Weak', 'number'],
    ['Cause', 'words'], ['First seen, UTC', 'moment'], ['Last seen, UTC', 'moment']];
  const rows = shown.map((region) => [number(region.begin), number(region.end - region.begin),
    number(region.begin * model.blockBytes / kSectorBytes), number(region.begin * model.blockBytes),
    number(region.lost), number(region.remapped), number(region.weak), region.causes,
    time(region.first, false), time(region.last, false)]);
  host.append(table('Table of regions', caption, columns, rows));
}

function verdictOf(smart) {
  return kVerdicts[smart.verdict] || ['unknown', smart.verdict];
}

function showSmart(host, smart, end) {
  if (!smart) {
    host.append(element('p', {class: 'summary'}, 'Nothing was read from the drive.'));
    return;
  }
  host.append(element('p', {class: 'verdict'}, badge(...verdictOf(smart)),
    element('span', {}, smart.read_at ? ['read ', time(smart.read_at), ' UTC'] : 'not read yet')));
  if (smart.reasons.length > 0) {
    host.append(element('ul', {'aria-label': 'Reasons'}, smart.reasons.map((reason) => element('li', {}, reason))));
  }
  if (smart.history.length === 0) return;
  const times = smart.history.map(({at}) => Date.parse(at));
  const series = [['Reallocated sectors', 'reallocated sector', 'remapped', 'reallocated'],
    ['Pending sectors', 'pending sector', 'weak', 'pending'],
    ['Uncorrectable sectors', 'uncorrectable sector', 'lost', 'uncorrectable']]
    .map(([name, one, tone, key]) => ({name, one, tone, values: smart.history.map((row) => row[key])}))
    .filter(({values}) => values.some((value) => value));
  if (times.length > 1 && series.length > 0) {
    new StepChart(host, 'Chart of the SMART history: arrow keys read its values', times, end, series);
  }
  const columns = [['Read, UTC', 'moment'], ['Reallocated', 'number'], ['Pending', 'number'],
    ['Uncorrectable', 'number'], ['Temperature, \u00b0C', 'number']];
  const rows = smart.history.slice(-kMostRows).reverse().map((row) => [time(row.at), countOrNothing(row.reallocated),
    countOrNothing(row.pending), countOrNothing(row.uncorrectable), countOrNothing(row.temperature)]);
  host.append(table('Table of the SMART history', 'Counters of the drive, newest first.', columns, rows));
}

function showDevices(host, devices) {
  const columns = [['ID', 'number'], ['Role', 'words'], ['Path', 'path'], ['UUID', 'path'], ['Slots', 'number'],
    ['Free', 'number'], ['Retired', 'number'], ['Note', 'words']];
  const rows = devices.map((device) => [number(device.id), device.role, device.path, orNothing(device.uuid),
    countOrNothing(device.slots), countOrNothing(device.slots_free), countOrNothing(device.slots_retired),
    device.missing ? 'missing' : device.retiring ? 'being retired' : '']);
  host.append(table('Table of devices', 'The primary and its spares.', columns, rows));
}

function showEvents(host, events) {
  if (events.length === 0) {
    host.append(element('p', {class: 'summary'}, 'None are kept.'));
    return;
  }
  const columns = [['Time, UTC', 'moment'], ['Kind', 'words'], ['Block', 'number'], ['Detail', 'words wide']];
  const rows = events.slice().reverse()
    .map(({at, kind, block, detail}) => [time(at), kind, countOrNothing(block), detail]);
  host.append(table('Table of events', `The last ${digits(events.length)}, newest first.`, columns, rows));
}

function showService(host, status) {
  const code = (value) => element('span', {class: 'code'}, orNothing(value));
  const survival = status.crash_survival;
  const milliseconds = (status.commits.longest_us / 1000).toFixed(1);
  definitions(host, [
    ['Map', code(status.map)],
    ['Engine', orNothing(status.engine)],
    ['Daemon', status.daemon_pid === null ? kNothing
      : `process ${status.daemon_pid}${status.worker_pid === null ? '' : `, worker ${status.worker_pid}`}`],
    ['When a device is gone', {fail: 'requests fail', wait: 'requests wait'}[status.on_loss] || kNothing],
    ['Relocated', status.mounted ? `${plural(status.io.relocations, 'block')} since the mount` : kNothing],
    ['Commits', status.commits.count === 0 ? '0'
      : `${digits(status.commits.count)}, the longest took ${milliseconds} ms`],
    ['Survives a crash', !survival ? kNothing : survival.granted
      ? `yes; ${plural(survival.restarts, 'restart')}, ${plural(survival.upgrades, 'upgrade')}`
      : `no: ${orNothing(survival.reason)}`],
    ['Hardening', status.hardening && status.hardening.length > 0 ? status.hardening.join('; ') : kNothing],
  ]);
}

// A part that cannot be shown says so and leaves the others alone.
function part(id, show) {
  const host = document.getElementById(id);
  try {
    show(host);
  } catch (error) {
    host.append(element('p', {class: 'trouble'}, `This part cannot be shown: ${error.message}`));
  }
}

function showReport() {
  const data = JSON.parse(document.getElementById('data').textContent);
  const end = Date.parse(data.generated_at);
  part('state', () => showHeader(data));
  part('figures', () => showFigures(data));
  part('disk', () => showDisk(data));
  part('growth', (host) => showGrowth(host, data.growth, end));
  part('spare', (host) => showSpare(host, data.forecast));
  part('smart', (host) => showSmart(host, data.smart, end));
  part('devices', (host) => showDevices(host, data.status.devices));
  part('events', (host) => showEvents(host, data.events));
  part('service', (host) => showService(host, data.status));
}

part('state', showReport);
