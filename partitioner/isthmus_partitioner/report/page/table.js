// The tables, and what is written only once.

const CANDIDATE_COLUMNS = [
  ["candidate", "name"], ["now", "figure"], ["wire", ""], ["device ms", "figure"], ["bytes", "figure"],
  ["p95", "figure"], ["cloud ms", "figure"], ["agreement", "figure"], ["divergence", "figure"], ["why", "why"],
];

function headOf(columns) {
  const cells = columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title));
  return element("thead", {}, element("tr", {}, ...cells));
}

const cell = (kind, ...content) => element("td", { class: kind }, ...content);

function candidateRow(candidate) {
  const interval = `${shareWords(candidate.agreement_low)}–${shareWords(candidate.agreement_high)}`;
  const belowFloor = meetsFloor(candidate) ? "" : " below";
  const device = candidate.edge_ms + candidate.encode_ms;
  const precision = candidate.precision === "none" ? "no head" : `${candidate.precision} head`;
  const row = element(
    "tr", { "data-candidate": candidate.id, class: candidate.kept ? "kept" : "left-out" },
    element("th", { scope: "row", class: "name" }, name(candidate.id), element("small", {}, candidate.kept ? precision : "not kept")),
    cell("figure now-ms"),
    cell("encoding", plain(candidate.encoding)),
    cell("figure", digits(device), element("small", {}, `${digits(candidate.edge_ms)} + ${digits(candidate.encode_ms)}`)),
    cell("figure", candidate.payload_bytes.toLocaleString("en")),
    cell("figure", candidate.payload_bytes_p95.toLocaleString("en")),
    cell("figure", digits(candidate.decode_ms + candidate.tail_ms), element("small", {}, `${digits(candidate.decode_ms)} + ${digits(candidate.tail_ms)}`)),
    cell(`figure${belowFloor}`, shareWords(candidate.agreement), element("small", {}, interval)),
    cell("figure", digits(candidate.divergence, 2)),
    cell("why", plain(candidate.reason)),
  );
  return row;
}

const candidateRows = new Map(report.candidates.map((candidate) => [candidate, candidateRow(candidate)]));

function showCandidates() {
  const winner = winnerAt(view);
  const ranked = [...report.candidates].sort(
    (a, b) => b.kept - a.kept || costMs(a, view) - costMs(b, view) || order(a) - order(b));
  for (const [candidate, row] of candidateRows) {
    row.querySelector(".now-ms").textContent = costWords(costMs(candidate, view), view);
    row.classList.toggle("best", candidate === winner);
  }
  const body = byId("candidates").tBodies[0];
  ranked.forEach((candidate, index) => {
    const row = candidateRows.get(candidate);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
}

function cutRow(cut) {
  const own = kept.filter((candidate) => candidate.cut === cut.id);
  const least = own.length && !cut.is_local ? bytesWords(leastBytes(cut)) : "";
  const head = page.heads[cut.id].length;
  const depth = layers.length ? `${head} of ${layers.length} layers` : "";
  return element(
    "tr", own.length ? {} : { class: "left-out" }, element("th", { scope: "row", class: "name" }, name(cut.id), ...(own.length ? [] : [element("small", {}, "no candidate kept")])), cell("", plain(cut.title)), cell("figure", depth),
    cell("tensors", ...cut.tensors.map((tensor) => element("div", {}, name(tensor)))), cell("figure", least),
  );
}

function layerRow(layer, index) {
  const memory = layer.memory_bytes === null ? "" : bytesWords(layer.memory_bytes);
  return element(
    "tr", {}, cell("figure", index + 1), element("th", { scope: "row", class: "name" }, name(layer.name)), cell("", plain(layer.op)),
    cell("", layer.shape.join("×")), cell("figure", digits(layer.macs / 1e6)), cell("figure", digits(layer.edge_ms)),
    cell("figure", digits(layer.cloud_ms)), cell("figure", bytesWords(layer.output_bytes)), cell("figure", memory),
  );
}

const LAYER_COLUMNS = [
  ["", "figure"], ["layer", "name"], ["op", ""], ["output", ""], ["MMAC", "figure"], ["device ms", "figure"],
  ["cloud ms", "figure"], ["bytes", "figure"], ["memory", "figure"],
];
const CUT_COLUMNS = [["cut", "name"], ["", ""], ["on the device", "figure"], ["what crosses", ""], ["least bytes", "figure"]];

function showOnce() {
  byId("model").textContent = plain(report.model_name);
  byId("facts").append(
    `${kept.length} of ${report.candidates.length} candidates kept · agreement floor ${digits(report.agreement_floor)} · measured on `,
    name(report.machine));
  byId("candidates").append(headOf(CANDIDATE_COLUMNS), element("tbody"));
  byId("cuts").append(headOf(CUT_COLUMNS), element("tbody", {}, ...report.cuts.map(cutRow)));
  byId("network-section").hidden = !layers.length;
  const skips = connections().filter(([from, to]) => to - from > 1).length;
  byId("network-intro").textContent = `${layers.length} layers from left to right, ${skips} connections that skip some drawn as arcs. A bead is as large as its time. Vertical lines are the cuts of the plan; a diamond is what a cut sends.${canZoom ? " Drag to zoom, double-click to go back." : ""}`;
  byId("layers").closest("details").addEventListener("toggle", showLayers, { once: true });
  showBasis();
}

// A thousand rows are made when somebody wants to see them.
function showLayers() {
  byId("layers").append(headOf(LAYER_COLUMNS), element("tbody", {}, ...layers.map(layerRow)));
}

function showBasis() {
  const facts = [
    ["Machine", report.machine],
    ["The device", `${timesWords(report.edge_factor)} the time of that machine; the edge slow-down multiplies it once more`],
    ["Agreement", `${report.metric}; against the unsplit fp32 model, on inputs from sources that calibration has not seen; in brackets the 95 % confidence interval`],
    ["Floor", `${digits(report.agreement_floor)}; a candidate below it is never best`],
    ["Latency", "device + encode, both times the edge slow-down, + bytes on the link + round trip + decode + cloud times the server load; medians of one frame"],
    ["Frames/s", "a pipelined stream is as fast as its slowest stage: device, wire or cloud"],
    ["Staying on the device", `needs no link: another way has to save ${digits(page.localAdvantage * 100)} % to count as better`],
    ["Bundle", report.fingerprint],
  ];
  byId("basis").append(...facts.flatMap(([term, meaning]) => [element("dt", {}, term), element("dd", {}, plain(meaning))]));
  byId("notes").append(...report.notes.map((note) => element("li", {}, plain(note))));
  byId("notes").hidden = !report.notes.length;
}
