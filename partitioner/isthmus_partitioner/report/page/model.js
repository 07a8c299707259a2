// What each candidate costs: the formulas of planning/envelope.py, at the sliders' position.
// Constants come with the data; none is written here twice.

const page = JSON.parse(document.getElementById("report-data").textContent);
const report = page.report;
const cuts = new Map(report.cuts.map((cut) => [cut.id, cut]));
const isLocal = (candidate) => cuts.get(candidate.cut)?.is_local ?? false;
const isInput = (candidate) => !isLocal(candidate) && candidate.edge_ms === 0;
const PARTS = ["edge", "encode", "wire", "rtt", "decode", "tail", "answer"];

// Milliseconds of each part of one frame; what stays on the device pays for the device alone.
function partsOf(candidate, view) {
  const edge = candidate.edge_ms * view.slowdown;
  if (isLocal(candidate)) return { edge, encode: 0, wire: 0, rtt: 0, decode: 0, tail: 0, answer: 0 };
  return {
    edge,
    encode: candidate.encode_ms * view.slowdown,
    wire: (candidate.payload_bytes * 8e3) / view.bandwidth,
    rtt: view.rtt,
    decode: candidate.decode_ms,
    tail: candidate.tail_ms * view.load,
    answer: (candidate.answer_bytes * 8e3) / view.bandwidth,
  };
}

const stagesOf = (parts) => [
  parts.edge + parts.encode, parts.wire, parts.decode + parts.tail, parts.answer,
];

// Latency of one frame, or the time between two answers of a pipelined stream.
function costMs(candidate, view) {
  const parts = partsOf(candidate, view);
  if (view.objective === "period") return Math.max(...stagesOf(parts));
  return PARTS.reduce((sum, part) => sum + parts[part], 0);
}

// Another way has to save a share of what staying on the device costs to count as better.
const weighedMs = (candidate, view) =>
  costMs(candidate, view) * (isLocal(candidate) ? 1 - page.localAdvantage : 1);

const offered = report.candidates.filter((candidate) => candidate.kept);
const kept = offered.length ? offered : report.candidates;
const meetsFloor = (candidate) => candidate.agreement >= report.agreement_floor;

// Those that the policy chooses from; where none meets the floor, the most faithful ones.
const eligible = (() => {
  const meeting = kept.filter(meetsFloor);
  const most = Math.max(...kept.map((candidate) => candidate.agreement));
  return meeting.length ? meeting : kept.filter((candidate) => candidate.agreement === most);
})();

// The first in the order of cost, then of bytes.
function winnerAt(view) {
  return eligible.reduce((best, candidate) => {
    const gain = weighedMs(best, view) - weighedMs(candidate, view);
    const fewer = candidate.payload_bytes < best.payload_bytes;
    return gain > 0 || (gain === 0 && fewer) ? candidate : best;
  });
}

// For each range of bandwidth its winner: costs are piecewise linear in 1/bandwidth, so the order
// changes only where two pieces cross, and one sample between crossings tells who is best.
function spansOf(view) {
  const inside = crossings(view).filter((at) => at > page.slowestBps && at < page.fastestBps);
  const edges = [page.slowestBps, ...new Set(inside.sort((a, b) => a - b)), page.fastestBps];
  const spans = [];
  for (let i = 1; i < edges.length; i++) {
    const middle = Math.sqrt(edges[i - 1] * edges[i]);
    const winner = winnerAt({ ...view, bandwidth: middle });
    if (spans.at(-1)?.winner === winner) spans.at(-1).high = edges[i];
    else spans.push({ winner, low: edges[i - 1], high: edges[i] });
  }
  return spans;
}

function crossings(view) {
  // At endless bandwidth only what does not depend on it is left.
  const isPeriod = view.objective === "period";
  const bytesOf = (up, down) => (isPeriod ? Math.max(up, down) : up + down);
  const fixed = eligible.map((candidate) => ({
    bits: bytesOf(candidate.payload_bytes, candidate.answer_bytes) * 8e3,
    ms: weighedMs(candidate, { ...view, bandwidth: Infinity }),
  }));
  if (isPeriod)
    return fixed.flatMap((one) => fixed.map((two) => one.bits / two.ms));
  return fixed.flatMap((one) => fixed.map((two) => (one.bits - two.bits) / (two.ms - one.ms)));
}
