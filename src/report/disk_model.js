// SPDX-License-Identifier: Apache-2.0

// What is known about the blocks of the disk. Ranges are half open; times are seconds since 1970.

// In order of weight: of several kinds in one cell the last one shows.
const kKinds = ['none', 'weak', 'remapped', 'lost'];
const kRegionFields = ['begin', 'end', 'remapped', 'lost', 'weak', 'first', 'last', 'causes', 'lostBlocks'];

class DiskModel {
  constructor(volume, regions) {
    this.blockBytes = volume.block_size;
    this.sizeBytes = volume.size_bytes;
    this.blocks = Math.max(1, Math.ceil(volume.size_bytes / volume.block_size));
    this.mergedUnit = regions.unit_blocks;
    this.regions = regions.list.map((row) => Object.fromEntries(kRegionFields.map((name, i) => [name, row[i]])));
    for (const region of this.regions) {
      region.kind = region.lost > 0 ? 3 : region.remapped > 0 ? 2 : 1;
      // Of a merged region it is not known which of its blocks have an entry.
      region.share = (region.remapped + region.weak + region.lostBlocks) / (region.end - region.begin);
      region.exact = region.share === 1;
    }
  }

  // The byte after the last one of a range: the last block may be partial.
  byteEnd(endBlock) {
    return Math.min(this.sizeBytes, endBlock * this.blockBytes);
  }

  // Index of the first region that ends after the block; as many as there are regions when none does.
  firstAfter(block) {
    let low = 0;
    let high = this.regions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.regions[middle].end > block) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  // Indices [first, last) of the regions that touch the range.
  touching(begin, end) {
    const first = this.firstAfter(begin);
    let last = first;
    while (last < this.regions.length && this.regions[last].begin < end) ++last;
    return [first, last];
  }

  // What several regions have together.
  sum(first, last) {
    const sum = {remapped: 0, lost: 0, weak: 0, first: Infinity, last: -Infinity, causes: ''};
    const causes = new Set();
    for (const region of this.regions.slice(first, last)) {
      sum.remapped += region.remapped;
      sum.lost += region.lost;
      sum.weak += region.weak;
      sum.first = Math.min(sum.first, region.first);
      sum.last = Math.max(sum.last, region.last);
      // A handful is read; a thousand different ones would not be.
      if (causes.size < 12) for (const cause of region.causes.split(', ')) causes.add(cause);
    }
    sum.causes = [...causes].sort().join(', ');
    return sum;
  }

  // For each of `count` cells: the weight of the worst in it (index into kKinds), the share of its blocks that have an
  // entry, and whether it is not known to have one: a merged region is over it that also holds blocks without.
  cells(begin, cellBlocks, count) {
    const kinds = new Uint8Array(count);
    const shares = new Float64Array(count);
    const vague = new Uint8Array(count);
    const end = begin + count * cellBlocks;
    for (let i = this.firstAfter(begin); i < this.regions.length && this.regions[i].begin < end; ++i) {
      const region = this.regions[i];
      const first = Math.max(0, Math.floor((region.begin - begin) / cellBlocks));
      const last = Math.min(count - 1, Math.floor((region.end - 1 - begin) / cellBlocks));
      const unsure = !region.exact && last > first ? 1 : 0;
      for (let cell = first; cell <= last; ++cell) {
        const from = begin + cell * cellBlocks;
        const overlap = Math.min(region.end, from + cellBlocks) - Math.max(region.begin, from);
        shares[cell] += region.share * overlap / Math.min(cellBlocks, this.blocks - from);
        if (region.kind > kinds[cell]) {
          kinds[cell] = region.kind;
          vague[cell] = unsure;
        } else if (region.kind === kinds[cell]) {
          vague[cell] &= unsure;
        }
      }
    }
    return {kinds, shares, vague};
  }
}

// "3 remapped blocks, 8 lost sectors": only what there is.
function countsInWords(counts) {
  const words = [];
  if (counts.lost > 0) words.push(plural(counts.lost, 'lost sector'));
  if (counts.remapped > 0) words.push(plural(counts.remapped, 'remapped block'));
  if (counts.weak > 0) words.push(plural(counts.weak, 'weak block'));
  return words.join(', ') || 'no entry';
}
