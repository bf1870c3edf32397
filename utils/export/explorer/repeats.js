/* Translations that loop, as in utils/repeats.py. */

/** How often a source says the same: the most copies of two characters, or of one in a row. */
function sourceCopies(source) {
  const said = source.replace(/[^\p{L}\p{N}]+/gu, " "), characters = [...said];
  const runs = [...said.matchAll(/([\p{L}\p{N}])\1*/gu)].map(([run]) => [...run].length);
  const chunks = new Set(characters.slice(1).map((after, i) => characters[i] + after));
  return Math.max(1, ...runs, ...[...chunks].filter((chunk) => !chunk.includes(" ")).map((chunk) => said.split(chunk).length - 1));
}

/** How often a translation says the same in a way that people hardly do; 1 if it does not. */
function outputCopies(output) {
  const words = output.toLowerCase().match(/[\p{L}\p{N}]+(?:'[\p{L}\p{N}]+)?/gu) ?? [];
  const same = (i, j, n) => j + n <= words.length && words.slice(i, i + n).every((word, k) => word === words[j + k]);
  let copies = 1;
  for (let n = 1; n <= words.length / 2; n++) {
    for (let i = 0; i + 2 * n <= words.length; i++) {
      let times = 1;
      while (same(i, i + times * n, n)) times++;
      if (times >= (n === 1 ? 3 : 2)) copies = Math.max(copies, times);
    }
  }
  for (let i = 0; i + 8 <= words.length; i++) {
    let times = 1;
    for (let at = i + 4; at + 4 <= words.length;) {
      const again = same(i, at, 4);
      times += again;
      at += again ? 4 : 1;
    }
    copies = Math.max(copies, times);
  }
  const inside = [...output.toLowerCase().matchAll(/([a-z]{2,}?)\1{3,}/g)].map(([all, part]) => all.length / part.length);
  return Math.max(copies, ...inside);
}

/** Whether a translation repeats what its source does not. */
export const loops = (source, output) => outputCopies(output) > sourceCopies(source);

/** The tokens that would complete n ids that stand there before; of n = 0 there are none. */
export function repeating(ids, n) {
  const found = [], newest = ids.length - n + 1;
  for (let i = 0; n && i + n <= ids.length; i++) {
    if (ids.slice(i, i + n - 1).every((id, k) => id === ids[newest + k])) found.push(ids[i + n - 1]);
  }
  return found;
}
