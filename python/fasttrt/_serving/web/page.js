// The page: it asks the server each second, and shows the answer. Text only ever becomes text.

const PERIOD_MS = 1000;
const SURE_MS = 4000;
const KEY = "fasttrt-api-key";
const BASE = location.pathname.replace(/\/ui\/?$/, "/");

const byId = (id) => document.getElementById(id);
const history_ = new History();
const cards = new Map();
const busy = new Map();  // models that are being loaded or unloaded here
const failures = new Map();  // what came of it

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(BASE + path, { ...options, headers, cache: "no-store", redirect: "error" });
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.error === "string" ? body.error : `status ${response.status}`;
}

async function press(parts) {
  const { name, state } = parts.model;
  const isUnload = state === "READY";
  if (isUnload && !parts.isSure) {
    parts.isSure = true;
    showButton(parts, parts.model, true);
    setTimeout(() => { parts.isSure = false; showButton(parts, parts.model, !parts.button.hidden); }, SURE_MS);
    return;
  }
  parts.isSure = false;
  failures.delete(name);
  busy.set(name, isUnload ? "Unloading …" : "Loading …");
  showButton(parts, parts.model, true);
  const action = isUnload ? "unload" : "load";
  try {
    const path = `v2/repository/models/${encodeURIComponent(name)}/${action}`;
    const response = await ask(path, { method: "POST" });
    if (!response.ok) failures.set(name, await errorOf(response));
  } catch (error) {
    failures.set(name, `cannot ${action}: ${error.message}`);
  }
  busy.delete(name);
}

// Brings a section's cards in line with what there is, in its order.
function arrange(section, keys, create, show) {
  for (const [key, parts] of cards) {
    if (parts.section === section && !keys.includes(key)) { parts.card.remove(); cards.delete(key); }
  }
  keys.forEach((key, index) => {
    const parts = cards.get(key) ?? Object.assign(create(), { section });
    cards.set(key, parts);
    if (section.children[index] !== parts.card) section.insertBefore(parts.card, section.children[index] ?? null);
    show(parts, index);
  });
}

function show(state) {
  history_.add(state);
  const now = state.uptime_seconds;
  const { models, gpus } = state;
  setText(byId("version"), state.server.version);
  document.title = `${state.server.name} · ${location.host}`;
  const mood = make("b", state.ready ? "READY" : "UNAVAILABLE", state.ready ? "ready" : "not ready");
  byId("status").replaceChildren(mood, ` · up ${duration(now)} · model control: ${state.model_control}`);
  const all = models.map((model) => history_.rates(model)).filter((rates) => rates !== null);
  const sum = (read) => significant(all.reduce((total, rates) => total + (read(rates) ?? 0), 0));
  facts(byId("totals"), [
    ["models ready", `${models.filter((model) => model.state === "READY").length} of ${models.length}`],
    ["requests/s", sum((rates) => rates.requests)],
    ["rows/s", sum((rates) => rates.rows)],
    ["failures/s", sum((rates) => rates.failures)],
    ["waiting", models.reduce((total, model) => total + (model.pending ?? 0), 0).toLocaleString("en")],
  ]);
  byId("content").hidden = false;
  arrange(byId("gpus"), gpus.map((gpu) => gpu.uuid), newGpuCard, (parts, i) => showGpu(parts, gpus[i], now));
  arrange(byId("models"), models.map(keyOf), newModelCard, (parts, i) => {
    const isLast = models[i + 1]?.name !== models[i].name;
    showModel(parts, models[i], state.model_control === "explicit" && isLast, now);
  });
}

function showProblem(text) {
  setText(byId("problem"), text);
  byId("problem").hidden = !text;
  for (const id of ["content", "status"]) byId(id).classList.toggle("stale", Boolean(text));
}

// Whether the server may be asked again, or a key is to come first.
async function look() {
  try {
    const response = await ask("v2/overview");
    if (response.status === 401) {
      showProblem(sessionStorage.getItem(KEY) ? "The server refuses this key." : "");
      return false;
    }
    if (response.ok) show(await response.json());
    showProblem(response.ok ? "" : `The server answers: ${await errorOf(response)}. Trying again …`);
  } catch {
    showProblem("The server cannot be reached. Trying again …");
  }
  return true;
}

async function run() {
  const mayGoOn = document.hidden || await look();
  byId("key-form").hidden = mayGoOn;
  byId("forget").hidden = !mayGoOn || sessionStorage.getItem(KEY) === null;
  if (mayGoOn) {
    setTimeout(run, PERIOD_MS);
  } else {
    byId("content").hidden = true;
    byId("key").focus();
  }
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key").value.trim());
  byId("key").value = "";
  run();
});
byId("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
run();
