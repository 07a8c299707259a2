// One function for each section: the board's records into rows.

function tableBody(id, columns) {
  const table = byId(id);
  if (!table.tHead) {
    const cells = columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title));
    table.append(element("thead", {}, element("tr", {}, ...cells)), element("tbody"));
  }
  return table.tBodies[0];
}

// A cell with a line and a smaller one below it; they are written by `line` and `note`.
const cell = (kind, ...content) =>
  element("td", { class: kind }, ...(content.length ? content : [element("bdi", { class: "value" }), element("small")]));
const titleCell = () => element("th", { scope: "row", class: "name" }, element("bdi", { class: "value" }), element("small"));

function writeCell(node, text, note = "") {
  write(node.querySelector(".value"), text);
  write(node.querySelector("small"), note);
}

function showTotals(board) {
  keyed(byId("totals"), board.totals, (total) => total.name,
    () => element("div", {}, element("dt"), element("dd")),
    (tile, total) => {
      tile.className = `card tile ${total.tone}`;
      write(tile.firstElementChild, total.name);
      write(tile.lastElementChild, figureWords(total.value, total.unit));
    });
}

function showTrends(board) {
  keyed(byId("trends"), board.trends, (trend) => trend.name,
    () => element("figure", { class: "card trend" }, element("figcaption", {}, element("b"), element("span"), element("small")), sparkline()),
    (figure, trend) => {
      const known = trend.values.filter((value) => value !== null);
      const now = trend.values.at(-1);
      const most = known.length ? Math.max(...known) : null;
      write(figure.querySelector("b"), trend.name);
      write(figure.querySelector("span"), figureWords(now, trend.unit));
      write(figure.querySelector("small"), `most ${figureWords(most, trend.unit)}`);
      const chart = figure.querySelector("svg");
      chart.setAttribute("aria-label", `${trend.name} over the last minute: now ${figureWords(now, trend.unit)}, most ${figureWords(most, trend.unit)}`);
      fillSparkline(chart, trend);
    });
}

const CANDIDATE_COLUMNS = [["candidate", "name"], ["share", "share"], ["answers", "figure"], ["where the time goes", "split"], ["mean", "figure"], ["bytes", "figure"]];

function showCandidates(board) {
  keyed(byId("legend"), board.stages, (stage) => stage,
    (stage) => {
      const key = element("span", { class: "key" });
      key.style.setProperty("--own", stageColour(stage));
      return key;
    },
    (key, stage) => write(key, stage));
  const all = board.candidates.reduce((sum, share) => sum + share.frames, 0);
  const slowest = Math.max(...board.candidates.map((share) => share.mean_ms), 0);
  keyed(tableBody("candidates", CANDIDATE_COLUMNS), board.candidates, (share) => share.name,
    () => element("tr", {}, titleCell(), cell("share", partsBar("thin"), element("span")), cell("figure"), cell("split", partsBar(), element("small")), cell("figure"), cell("figure")),
    (row, share) => fillCandidate(row, share, board.stages, all, slowest));
}

function fillCandidate(row, share, stages, all, slowest) {
  const [title, part, frames, split, mean, bytes] = row.children;
  const spent = stages.map((stage, index) => [stage, share.parts_ms[index] ?? 0]);
  const words = spent.filter(([, ms]) => ms >= 0.005).map(([stage, ms]) => `${stage} ${digits(ms, 2)}`).join(" · ");
  writeCell(title, share.name);
  fillParts(part.firstElementChild, [[candidateColour(share.name), share.frames]], all);
  part.firstElementChild.setAttribute("aria-hidden", "true");
  write(part.lastElementChild, shareWords(share.frames / all));
  writeCell(frames, countWords(share.frames));
  fillParts(split.firstElementChild, spent.map(([stage, ms]) => [stageColour(stage), ms]), slowest);
  split.firstElementChild.setAttribute("aria-label", words);
  write(split.lastElementChild, words ? `${words} ms` : "");
  writeCell(mean, msWords(share.mean_ms));
  writeCell(bytes, bytesWords(share.mean_bytes));
}

const DEVICE_COLUMNS = [["device", "name"], ["link", "figure"], ["candidate", "mix"], ["answers", "figure"], ["errors", "figure"], ["model", ""], ["here", "figure"]];

function showDevices(board) {
  const here = board.devices.filter((device) => device.until_s === null).length;
  const out = board.devices_left_out ? `, ${countWords(board.devices_left_out)} more not shown` : "";
  write(byId("devices-count"), `${here} here${out}`);
  keyed(tableBody("devices", DEVICE_COLUMNS), board.devices, (device) => device.session,
    () => element("tr", {}, titleCell(), cell("figure"), cell("mix", element("bdi", { class: "value" }), partsBar("thin"), element("small")), cell("figure"), cell("figure"), cell(""), cell("figure")),
    fillDevice);
}

const MOST_MIXED = 5;

function fillDevice(row, device) {
  const [title, link, mix, answers, errors, model, here] = row.children;
  const isGone = device.until_s !== null;
  row.className = isGone ? "gone" : "";
  writeCell(title, device.identity || device.session, [device.identity && device.session, device.peer].filter(Boolean).join(" · "));
  const rtt = device.rtt_ms === null ? "" : `${msWords(device.rtt_ms)} round trip`;
  writeCell(link, rateWords(device.bandwidth_bps), rtt);
  const used = Object.entries(device.shares).sort(([, a], [, b]) => b - a).slice(0, MOST_MIXED);
  const all = used.reduce((sum, [, frames]) => sum + frames, 0);
  fillParts(mix.children[1], used.map(([name, frames]) => [candidateColour(name), frames]), all);
  mix.children[1].hidden = used.length < 2;
  mix.children[1].setAttribute("aria-hidden", "true");
  writeCell(mix, device.candidate ?? "none yet", used.length < 2 ? "" : used.map(([name, frames]) => `${name} ${shareWords(frames / all)}`).join(" · "));
  writeCell(answers, countWords(device.answered), `${digits(device.answers_per_s)}/s`);
  writeCell(errors, countWords(device.errors));
  errors.classList.toggle("bad", device.errors > 0);
  writeCell(model, device.model, device.version);
  writeCell(here, isGone ? "gone" : spanWords(device.since_s), isGone ? [agoWords(device.until_s), device.why].filter(Boolean).join(": ") : "");
}

function showBatches(board) {
  const most = Math.max(...board.batches.map((batch) => batch.runs), 0);
  keyed(byId("batches"), board.batches, (batch) => batch.size, barRow, (row, batch) => {
    fillParts(row.children[1], [["var(--part-tail)", batch.runs]], most);
    writeBar(row, batch.size === 1 ? "1 frame" : `${batch.size} frames`, `${countWords(batch.runs)} runs`);
  });
}

function showAgreement(board) {
  keyed(byId("agreement"), board.agreement, (each) => each.name, barRow, (row, each) => {
    const share = each.compared ? each.agreed / each.compared : null;
    row.classList.toggle("bad", each.has_drifted);
    fillParts(row.children[1], [["var(--part-tail)", each.agreed], ["var(--below)", each.compared - each.agreed]], each.compared);
    const left = each.not_compared ? `, ${countWords(each.not_compared)} not compared` : "";
    const drifted = each.has_drifted ? ", drifted: not trusted any more" : "";
    writeBar(row, each.name || "all", `${share === null ? "–" : shareWords(share)} of ${countWords(each.compared)}${left}${drifted}`);
  });
}

const barRow = () => element("li", {}, element("bdi"), partsBar("thin"), element("span", { class: "figure" }));

function writeBar(row, title, words) {
  write(row.children[0], title);
  row.children[1].setAttribute("aria-hidden", "true");
  write(row.children[2], words);
}

const MODEL_COLUMNS = [["model", "name"], ["version", ""], ["", ""], ["streams", "figure"], ["answers", "figure"]];

function showModels(board) {
  keyed(tableBody("models", MODEL_COLUMNS), board.models, (each) => JSON.stringify([each.model, each.version]),
    () => element("tr", {}, titleCell(), cell("version"), cell("badge"), cell("figure"), cell("figure")),
    (row, each) => {
      const [model, version, badge, streams, answers] = row.children;
      writeCell(model, each.model);
      writeCell(version, each.version);
      writeCell(badge, each.is_active ? "active" : "ending");
      row.classList.toggle("active", each.is_active);
      writeCell(streams, countWords(each.streams));
      writeCell(answers, countWords(each.answered));
    });
}

function showEvents(board) {
  const newest = [...board.events].reverse();
  // The clock of an event is the server's uptime: it stays the same while its age grows.
  keyed(byId("events"), newest, (event) => `${Math.round(10 * (board.uptime_s - event.at_s))} ${event.text}`,
    () => element("li", {}, element("time"), element("b"), element("bdi"), element("small")),
    (row, event) => {
      row.className = event.level;
      const [when, level, text, count] = row.children;
      write(when, agoWords(event.at_s));
      write(level, event.level === "info" ? "" : event.level);
      write(text, event.text);
      write(count, event.count > 1 ? `×${countWords(event.count)}` : "");
    });
}
