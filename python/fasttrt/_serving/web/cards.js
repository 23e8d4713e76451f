// What is shown of a model, and of a GPU.

function newModelCard() {
  const card = make("article", "card");
  const parts = {
    card,
    name: make("h2"),
    state: make("span", "state"),
    device: make("span", "muted"),
    button: make("button"),
    facts: make("dl", "facts"),
    reason: make("p", "reason"),
    charts: make("div", "charts"),
    rate: figure(["requests/s"]),
    latency: figure(["latency, ms", "p50", "p90", "p99"], "p50 p90 p99"),
    sizes: figure(["batch sizes, % of runs"]),
  };
  parts.button.type = "button";
  parts.button.addEventListener("click", () => press(parts));
  parts.charts.append(parts.rate, parts.latency, parts.sizes);
  const actions = make("div", "actions", parts.button);
  const head = make("div", "head", parts.name, parts.state, parts.device, actions);
  card.append(head, parts.facts, parts.reason, parts.charts);
  return parts;
}

function showModel(parts, model, mayControl, now) {
  const rates = history_.rates(model);
  const isLoaded = rates !== null;
  setText(parts.name, model.version ? `${model.name}/${model.version}` : model.name);
  setText(parts.state, model.state);
  const isCalm = model.reason === "unloaded";
  parts.state.className = `state ${isCalm ? "" : model.state}`;
  setText(parts.device, model.in_memory === false ? "not in memory" : model.device ?? "");
  const reason = failures.get(model.name) ?? (isCalm ? "" : model.reason);
  setText(parts.reason, reason);
  parts.reason.hidden = !reason;
  parts.reason.classList.toggle("calm", model.state === "READY" && !failures.has(model.name));
  parts.facts.hidden = parts.charts.hidden = !isLoaded;
  showButton(parts, model, mayControl);
  if (!isLoaded) return;
  const [p50, p90, p99] = rates.milliseconds;
  const entries = [
    ["requests/s", significant(rates.requests)], ["rows/s", significant(rates.rows)],
    ["waiting", model.pending.toLocaleString("en")], ["failures/s", significant(rates.failures)],
    ["p50, ms", significant(p50)], ["p90, ms", significant(p90)], ["p99, ms", significant(p99)],
    ["mean batch", significant(rates.meanBatch)], ["requests", model.requests.toLocaleString("en")],
  ];
  const held = model.memory.GPU ?? model.memory.CPU;
  if (held) entries.push(["memory", bytes(held)]);
  facts(parts.facts, entries);
  const points = history_.chart(keyOf(model), [rates.requests, ...rates.milliseconds]);
  const of = `${model.name}: `;
  draw(parts.rate, (width) => lineChart(points.map(([time, rate]) => [time, rate]), ["p50"],
    { width, now, label: `${of}${significant(rates.requests)} requests per second`,
      scaleOf: (values) => linear(roundUp(Math.max(1, ...values))), fills: true }));
  draw(parts.latency, (width) => lineChart(points.map(([time, , ...ms]) => [time, ...ms]),
    ["p50", "p90", "p99"], { width, now, label: `${of}latency percentiles over time`,
      scaleOf: (values) => logarithmic(values.length ? values : [0.1, 1]) }));
  draw(parts.sizes, (width) => sizeChart(rates.sizes, { width, label: `${of}runs by batch size` }));
}

// A model has one button, at its last version: loading and unloading are for all of them.
function showButton(parts, model, mayControl) {
  parts.model = model;
  parts.button.hidden = !mayControl;
  const doing = busy.get(model.name);
  parts.button.disabled = doing !== undefined;
  const isLoaded = model.state === "READY";
  if (!isLoaded) parts.isSure = false;
  parts.button.classList.toggle("sure", Boolean(parts.isSure));
  setText(parts.button, doing ?? (isLoaded ? (parts.isSure ? "Really unload?" : "Unload") : "Load"));
}

function gauge(parts, share) {
  parts.style.width = `${Math.min(Math.max(share, 0), 1) * 100}%`;
}

function newGpuCard() {
  const parts = { card: make("article", "card"), name: make("h2"), use: make("span"), memory: make("span"), power: make("span") };
  parts.useBar = make("div");
  parts.memoryBar = make("div");
  const pair = (title, value) => make("div", "pair", make("span", "muted", title), value);
  parts.powerLine = pair("power", parts.power);
  parts.chart = figure(["% over time", "busy", "memory"], "p50 p99");
  parts.card.append(parts.name, pair("busy", parts.use), make("div", "gauge", parts.useBar),
    pair("memory", parts.memory), make("div", "gauge", parts.memoryBar), parts.powerLine, parts.chart);
  return parts;
}

function showGpu(parts, gpu, now) {
  const used = gpu.gpu_memory_used_bytes;
  const total = gpu.gpu_memory_total_bytes;
  const share = total ? used / total : null;
  setText(parts.name, gpu.name);
  parts.name.title = gpu.uuid;
  setText(parts.use, gpu.gpu_utilization === undefined ? "–" : `${Math.round(gpu.gpu_utilization * 100)} %`);
  setText(parts.memory, total ? `${bytes(used)} of ${bytes(total)}` : "–");
  gauge(parts.useBar, gpu.gpu_utilization ?? 0);
  gauge(parts.memoryBar, share ?? 0);
  parts.powerLine.hidden = gpu.gpu_power_usage === undefined;
  const limit = gpu.gpu_power_limit ? ` of ${Math.round(gpu.gpu_power_limit)} W` : "";
  setText(parts.power, `${Math.round(gpu.gpu_power_usage ?? 0)} W${limit}`);
  const percent = (value) => value === null || value === undefined ? null : value * 100;
  const points = history_.chart(gpu.uuid, [percent(gpu.gpu_utilization), percent(share)]);
  draw(parts.chart, (width) => lineChart(points, ["p50", "p99"],
    { width, now, label: `${gpu.name}: utilization and memory over time`, scaleOf: () => linear(100) }));
}
