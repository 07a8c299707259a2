// Figures and names as text. Names come from strangers' files: into the page they go as text
// nodes only, and into plotly, which reads a little HTML and `%{…}`, with both spelled out.

const PART_WORDS = {
  edge: "device",
  encode: "encode",
  wire: "wire",
  rtt: "round trip",
  decode: "decode",
  tail: "cloud",
  answer: "answer",
};

function digits(value, count = 3) {
  if (!Number.isFinite(value)) return "–";
  const rounded = Number(value.toPrecision(count));
  return rounded.toLocaleString("en", { maximumFractionDigits: 6, useGrouping: rounded >= 1e4 });
}

const msWords = (ms) => (ms < 9995 ? `${digits(ms)} ms` : `${digits(ms / 1e3)} s`);
const timesWords = (factor) => `${digits(factor, factor < 10 ? 2 : 3)}×`;
const shareWords = (share) => share.toFixed(3);

function rateWords(bps, count = 3) {
  if (bps < 999.5e3) return `${digits(bps / 1e3, count)} kbit/s`;
  return bps < 999.5e6
    ? `${digits(bps / 1e6, count)} Mbit/s`
    : `${digits(bps / 1e9, count)} Gbit/s`;
}

function bytesWords(bytes) {
  if (bytes < 999.5) return `${digits(bytes)} B`;
  return bytes < 999.5e3 ? `${digits(bytes / 1e3)} KB` : `${digits(bytes / 1e6)} MB`;
}

const costWords = (ms, view) =>
  view.objective === "period" ? `${digits(1e3 / ms)} frames/s` : msWords(ms);

// Control characters and bidirectional overrides would rearrange what stands around a name.
const plain = (name) =>
  String(name).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0).toString(16)}}`,
  );

const shortened = (name, length) => {
  const characters = [...plain(name)];
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length - 1).join("")}…`;
};

const SPELLED = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;" };
const forPlotly = (name, length = 60) =>
  shortened(name, length).replace(/[&<>%]/g, (character) => SPELLED[character]);

const byId = (id) => document.getElementById(id);

// An element with text or children; attributes by name.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

const name = (text) => element("bdi", {}, plain(text));
