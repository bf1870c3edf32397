/* The page's words: English stands in the code, other languages in words.LANGUAGE.json, which a page in them carries. */

/** The text in the page's language, with what stands in its places: say(text, { layer: 2 }). */
export const say = (text, places = {}) => (globalThis.WORDS?.[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => places[name]);
