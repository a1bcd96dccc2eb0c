// Filling texts, and making visible what strangers hide in them.

/** Without the characters at either end that `outside` matches; a regular expression that looks for the end of a run looks again from each of its places. */
export function trimmed(text, outside) {
  let [start, end] = [0, text.length];
  while (start < end && outside.test(text[start])) start += 1;
  while (start < end && outside.test(text[end - 1])) end -= 1;
  return text.slice(start, end);
}

/** A text in each language. */
export const both = (vi, en) => ({ vi, en });

/** The text with its `{names}` filled in. */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

// Controls, and whatever is not shown or turns the direction of the text: embeddings make `fdp.exe` look like `exe.pdf`.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\u115f\u1160\u3164\uffa0]/gu;

/** What a stranger wrote, with everything visible and not endless. */
export function visible(text, charsMax = 300) {
  const shown = String(text).slice(0, 4 * charsMax).replace(HIDDEN, (hidden) => `⟦U+${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟧`);
  return [...shown].length > charsMax ? `${[...shown].slice(0, charsMax).join('')}…` : shown;
}
