/* Text as utils/text.py and utils/tokenizer.py treat it: cleaned, cut into sentences, made ids, and ids made text.
   All tables and patterns come from Python, through utils/export/browser.py. */

export const PAD = 0, BOS = 1, EOS = 2, UNK = 3;

export class Text {
  constructor(tables) {
    const { source, src, tgt, spaces, lines, longest, unify, opencc, quotes, patterns } = tables;
    const pattern = ([source, flags]) => new RegExp(source, flags);
    Object.assign(this, { chinese: source === "zh", src, tgt, longest, quotes });
    this.ids = new Map(src.map((token, id) => [token, id]));
    this.spaces = new RegExp(`[${spaces}]+`, "u");
    this.lines = new RegExp(`\r\n|[${lines}]`, "u");
    this.unify = unify.map(([old, spelling]) => [pattern(old), spelling]);
    this.dictionaries = opencc.map((words) => ({
      words: new Map(Object.entries(words)),
      longest: Math.max(...Object.keys(words).map((word) => [...word].length)),
    }));
    for (const [name, found] of Object.entries(patterns)) this[name] = pattern(found);
    this.onlyForeign = new RegExp(`^(?:${this.FOREIGN.source})$`, this.FOREIGN.flags.replace("g", ""));
    this.anywhere = new RegExp(`[^]{1,${longest}}(?!(?<=\\w)\\w)|[^]{1,${longest}}`, "gu");
  }

  /** NFKC, no invisible format characters, every run of white space one space. */
  normalize(text) {
    return text.normalize("NFKC").replace(this.INVISIBLE, "").split(this.spaces).filter(Boolean).join(" ");
  }

  /** Traditional characters made simplified: the longest word of the dictionary first, then left and right of it. */
  simplify(characters, dictionary = 0) {
    if (!characters.length || dictionary === this.dictionaries.length) return characters.join("");
    const { words, longest } = this.dictionaries[dictionary];
    for (let n = Math.min(longest, characters.length); n > 0; n--) {
      for (let at = 0; at + n <= characters.length; at++) {
        const simple = words.get(characters.slice(at, at + n).join(""));
        if (simple === undefined) continue;
        const [left, right] = [characters.slice(0, at), characters.slice(at + n)];
        return this.simplify(left, dictionary) + simple + this.simplify(right, dictionary);
      }
    }
    return this.simplify(characters, dictionary + 1);
  }

  clean(text) {
    const characters = [...this.normalize(text)];
    if (!this.chinese) return characters.map((character) => this.quotes[character] ?? character).join("");
    return this.normalize(this.simplify(characters));
  }

  /** Whether a piece of clean text is in the source language. */
  reads(piece) {
    return !this.onlyForeign.test(piece) && (this.chinese ? piece.search(this.HAN) >= 0 : piece.length > 0);
  }

  /** A text -> for each line its pieces: clean sentences to translate, and what stays as it is. */
  pieces(text) {
    return text.replace(/\p{Cs}/gu, "?").split("\n").map((line) => {
      const found = [];
      for (const part of line.split(this.lines)) {
        const cleaned = this.clean(part);
        if (this.reads(cleaned)) found.push(...this.sentences(cleaned));
        else found.push(part.split(this.spaces).filter(Boolean).join(" "));
      }
      return found.map((piece) => piece.trim()).filter(Boolean);
    });
  }

  /** Clean text -> its sentences. A URL, an e-mail address or a tag is a piece of its own. */
  sentences(text) {
    const pieces = [];
    let start = 0;
    for (const foreign of text.matchAll(this.FOREIGN)) {
      pieces.push(...this.cut(text.slice(start, foreign.index)), foreign[0]);
      start = foreign.index + foreign[0].length;
    }
    return pieces.concat(this.cut(text.slice(start)));
  }

  /** At the ends of sentences; what is still too long at commas and spaces; what is still too long anywhere. */
  cut(text) {
    const masked = text.replace(this.NO_END, (found) => "_".repeat(found.length)), size = (part) => [...part].length;
    const parts = [];
    const anywhere = (part) => parts.push(...(part.match(this.anywhere) ?? []));
    for (const [sentence] of masked.matchAll(this.SENTENCE)) {
      let part = "";
      for (const clause of size(sentence) > this.longest ? sentence.match(this.CLAUSE) : [sentence]) {
        if (size(part) + size(clause) > this.longest) {
          anywhere(part);
          part = "";
        }
        part += clause;
      }
      anywhere(part);
    }
    let start = 0;
    return parts.map((part) => text.slice(start, (start += part.length)));
  }

  /** A clean sentence -> its characters. In Chinese a blank means nothing; elsewhere it is a character, too. */
  characters(sentence) {
    for (const [old, spelling] of this.unify) sentence = sentence.replace(old, spelling);
    return [...sentence.split(this.spaces).join(this.chinese ? "" : "▁")];
  }

  /** A clean sentence -> ids, <eos> at the end. */
  encode(sentence) {
    return this.characters(sentence).map((character) => this.ids.get(character) ?? UNK).concat(EOS);
  }

  /** Ids of English -> text; marks vanish. */
  decode(ids) {
    return ids.filter((id) => id > UNK).map((id) => this.tgt[id]).join("").replaceAll("▁", " ").trim();
  }
}
