// Figures and names as text. Names come from strangers: they enter the page as text nodes only.

const byId = (id) => document.getElementById(id);

// An element with text or children; attributes by name.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Control characters and bidirectional overrides would rearrange what stands around a name.
const plain = (text) =>
  String(text).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0).toString(16)}}`,
  );

// Text is written only where it changed: a selection in the rest of the page stays.
function write(node, text) {
  const wanted = plain(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

function digits(value, count = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  const rounded = Number(value.toPrecision(count));
  return rounded.toLocaleString("en", { maximumFractionDigits: 6, useGrouping: rounded >= 1e4 });
}

const countWords = (value) => (value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 1 }));
const shareWords = (share) => `${digits(100 * share)} %`;

const scaled = (steps) => (value) => {
  if (value === null) return "–";
  const [factor, unit] = steps.find(([from]) => Math.abs(value) >= 0.9995 * from) ?? steps.at(-1);
  return `${digits(value / factor)} ${unit}`;
};

const msWords = scaled([[1e3, "s"], [1, "ms"]]);
const bytesWords = scaled([[1e9, "GB"], [1e6, "MB"], [1e3, "KB"], [1, "B"]]);
const rateWords = scaled([[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]]);

const UNITS = { ms: msWords, B: bytesWords, "bit/s": rateWords, "": countWords, share: shareWords };

function figureWords(value, unit) {
  if (value === null) return "–";
  return unit in UNITS ? UNITS[unit](value) : `${digits(value)} ${plain(unit)}`;
}

// Seconds as people say them: the two largest units.
function spanWords(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const agoWords = (seconds) => (seconds < 1 ? "now" : `${spanWords(seconds)} ago`);
