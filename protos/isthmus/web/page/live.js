// The stream of events, what the page says of it, pause and theme.

const SILENT_MS = 5000;
const AGAIN_MS = [1000, 2000, 4000, 8000];

let source = null;
let latest = null;
let heardMs = 0;
let failures = 0;
let isPaused = false;

function become(state, words) {
  document.documentElement.dataset.state = state;
  write(byId("state"), words);
}

function show(board) {
  document.title = `${plain(board.title)} · Isthmus live`;
  write(byId("kind"), board.kind);
  write(byId("title"), board.title);
  const facts = board.facts.map((fact) => `${fact.name} ${fact.text}`);
  write(byId("facts"), [board.state, `up ${spanWords(board.uptime_s)}`, `version ${board.version}`, ...facts].join(" · "));
  showTotals(board);
  showTrends(board);
  showCandidates(board);
  const sections = { devices: showDevices, batches: showBatches, agreement: showAgreement, models: showModels };
  for (const [name, fill] of Object.entries(sections)) {
    byId(`${name}-section`).hidden = board[name] === null;
    if (board[name] !== null) fill(board);
  }
  showEvents(board);
  byId("board").hidden = false;
}

function heard(event) {
  latest = JSON.parse(event.data);
  heardMs = performance.now();
  failures = 0;
  if (isPaused) return;
  become("live", "live");
  show(latest);
}

// A browser tries again by itself while nobody listens at the port; after a refusal it does not.
async function lost() {
  become("lost", "connection lost, trying again");
  if (source.readyState !== EventSource.CLOSED) return;
  source = null;
  try {
    const reply = await fetch(location.pathname, { method: "HEAD" });
    if (reply.status === 401) location.reload();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // nobody there: that is what is said already
  }
  setTimeout(connect, AGAIN_MS[Math.min(failures++, AGAIN_MS.length - 1)]);
}

function connect() {
  if (source !== null || document.hidden) return;
  heardMs = performance.now();
  source = new EventSource("events");
  source.addEventListener("message", heard);
  source.addEventListener("error", lost);
}

// Who does not look costs the server nothing.
function lookedAt() {
  if (document.hidden && source !== null) {
    source.close();
    source = null;
  }
  connect();
}

setInterval(() => {
  const silentMs = performance.now() - heardMs;
  if (isPaused || document.documentElement.dataset.state !== "live" || silentMs < SILENT_MS) return;
  become("silent", `silent for ${spanWords(silentMs / 1000)}`);
}, 1000);

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  if (isPaused) become("paused", "paused");
  else if (latest !== null) {
    become("live", "live");
    show(latest);
  }
});

// The theme: what the system wants until the reader wants something else.
const THEMES = ["auto", "light", "dark"];
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";

function applyTheme() {
  const isDark = theme === "dark" || (theme === "auto" && systemIsDark.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  write(byId("theme"), `theme: ${theme}`);
}

byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  applyTheme();
});
systemIsDark.addEventListener("change", applyTheme);
document.addEventListener("visibilitychange", lookedAt);

applyTheme();
become("connecting", "connecting");
connect();
